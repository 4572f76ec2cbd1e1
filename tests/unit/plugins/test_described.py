"""What is said of a method without running its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.plugins.described import Described, described
from fer_bench.plugins.registry import discover
from tests.helpers.plugins import LOSS, plugin_source


@pytest.mark.parametrize(
    ("source", "known"),
    [
        (plugin_source(LOSS).replace("Info(", 'Info(name="My Toy", '), Described("My Toy", baseline=True)),
        (plugin_source(LOSS), Described("toy", baseline=True)),
        (plugin_source(LOSS).replace('kind="baseline"', 'kind="imbalance", name=""'), Described("toy")),
        (plugin_source(LOSS).replace("Info(", 'Info(name=os.environ["HOME"], '), Described("toy", baseline=True)),
        ("raise SystemExit(3)", Described("toy")),
        ("not python (", Described("toy")),
        ("\0", Described("toy")),
    ],
)
def test_names_are_read_and_nothing_is_run(source: str, known: Described, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(source)
    assert described("toy", tmp_path / "toy.py") == known


def test_a_file_that_is_gone_leaves_the_key(tmp_path: Path) -> None:
    assert described("toy", tmp_path / "toy.py") == Described("toy")


def test_every_built_in_method_has_a_name_of_its_own() -> None:
    plugins = discover().values()
    names = [plugin.described.name for plugin in plugins]
    assert len(set(names)) == len(names)
    assert all(plugin.described.name == plugin.load().info.name for plugin in plugins), "what is read is what is said"
    assert {plugin.key for plugin in plugins if plugin.described.baseline} == {"ce"}
