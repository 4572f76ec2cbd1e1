"""The list of ``fer-bench methods``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.method import FAMILIES
from fer_bench.plugins.registry import choose, discover
from tests.helpers.plugins import LOSS, plugin_source


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "mine.py").write_text(plugin_source(LOSS))
    (folder / "wrong.py").write_text("def wrong(:")
    done = CliRunner().invoke(main, ["methods", "--plugins", str(folder)], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_methods_stand_below_their_family(lines: list[str]) -> None:
    headings = [f"{title}  family:{family}" for family, title in FAMILIES.items()]
    assert [line for line in lines if "  family:" in line] == headings
    starts = [lines.index(heading) for heading in (*headings, "Others", "Broken")]
    ends = [*starts[1:], len(lines)]
    sections = [lines[start + 1 : end] for start, end in zip(starts, ends, strict=True)]
    keys = [[line.split()[0] for line in section if line] for section in sections]
    found = discover()
    assert keys[: len(FAMILIES)] == [choose([f"family:{family}"], found) for family in FAMILIES]
    assert keys[len(FAMILIES)] == ["mine"] and keys[-1][0] == "wrong"


def test_a_method_takes_one_line(lines: list[str]) -> None:
    found = discover()
    assert all(sum(line.startswith(f"{key} ") for line in lines) == 1 for key in found)
    assert max(map(len, lines[: lines.index("Broken")])) <= 80


def test_columns(lines: list[str]) -> None:
    (row,) = (line for line in lines if line.startswith("coteaching "))
    assert row.split()[1:5] == ["2018", "label", "noise", "2x"] and "noise rate, 2 networks · " in row
    (row,) = (line for line in lines if line.startswith("ce "))
    assert row.split()[1:4] == ["baseline", "1x", "–"] and row.endswith("Cross-entropy")
    (row,) = (line for line in lines if line.startswith("wrong "))
    assert "broken: " in row
