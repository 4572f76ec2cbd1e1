"""The pages say what is: commands and options exist, links lead somewhere, lists are complete, numbers are stored."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.reference import page as results_page
from fer_bench import ops
from fer_bench.cli.main import main
from fer_bench.core.presets import PRESETS
from fer_bench.data.catalog import DATASETS
from fer_bench.data.noise.kinds import KINDS
from fer_bench.data.open import read_manifest
from fer_bench.models.catalog import FROM_NPM, PACKAGED
from fer_bench.plugins.registry import discover
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.testing.bench import Bench
from tests.docs import methods_table, ops_table
from tests.helpers.committed import committed_results
from tests.helpers.pages import PAGES, ROOT, blocks, commands, links, name
from tests.helpers.plugins import plugin_source

DOCS = ROOT / "docs"


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page):
        command: click.Command = main
        context = click.Context(main, info_name="fer-bench")
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            known = command.get_command(context, words[0])
            assert known is not None, f"{words[0]!r} is no command of {command.name}"
            command, words = known, words[1:]
        if isinstance(command, click.Group):
            continue
        parser = command.make_parser(click.Context(command))
        parser.parse_args(args=list(words))  # raises for an unknown option


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    missing = [target for target in links(page) if not (page.parent / target).exists()]
    assert missing == []


def test_there_are_examples() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 40


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/datasets.md", DATASETS),
        ("docs/concepts.md", [*(kind for kind in KINDS if kind != "none"), *SELECTIONS, *PRESETS]),
    ],
)
def test_lists_are_complete(page: str, names: list[str]) -> None:
    assert [each for each in names if f"`{each}`" not in text(page)] == []


def test_the_list_of_methods_is_that_of_the_registry() -> None:
    inside = text("docs/methods.md").split(methods_table.BEGIN)[1].split(methods_table.END)[0]
    assert inside.strip() == methods_table.table().strip(), "run: python -m tests.docs.methods_table"
    count = sum(plugin.origin == "built in" for plugin in discover().values())
    assert f"{count} methods are built in" in " ".join(text("README.md").split())


def test_the_page_of_weights_knows_each() -> None:
    page = text("docs/weights.md")
    for known, entry in {**PACKAGED, **FROM_NPM}.items():
        assert f"`{known}`" in page and f"`{entry.backbone}`" in page
    assert all(entry.package in page and entry.version in page for entry in FROM_NPM.values())


def test_every_operation_is_on_the_page_for_authors_of_methods() -> None:
    inside = text("docs/add-a-method.md").split(ops_table.BEGIN)[1].split(ops_table.END)[0]
    assert inside.strip() == ops_table.table().strip(), "run: python -m tests.docs.ops_table"
    assert [name for name in ops.__all__ if len(ops_table.first_sentence(name)) < 15] == []


def test_the_features_on_the_page_can_be_had(tmp_path: Path) -> None:
    (loss,) = [block for block in blocks(DOCS / "add-a-method.md", "python") if "maps = self.net" in block]
    (tmp_path / "page.py").write_text(plugin_source(loss))
    bench = Bench(tmp_path)
    plugin = discover([tmp_path / "page.py"])["page"]
    folder, _ = bench.train(plugin, bench.spec(plugin, epochs=1))
    assert folder.state == "done"


def test_the_makefile_explains_its_targets() -> None:
    makefile = text("Makefile")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert {"demo", "check", "test", "docs", "coverage", "golden", "speed"} <= targets
    for page in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"\bmake (\w+)", text(page))) <= targets


def test_the_version_is_the_same_everywhere() -> None:
    import tomllib

    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert f"## {version} " in text("CHANGELOG.md") or f"## [{version}]" in text("CHANGELOG.md")


def test_the_readme_is_one_page() -> None:
    assert len(text("README.md").splitlines()) <= 150


def test_the_page_of_results_is_what_the_records_say(tmp_path: Path) -> None:
    """Its tables, numbers and orders; a sentence that does not hold any more is an error."""
    again = results_page.text(results_page.Page(committed_results(tmp_path)))
    assert text("docs/results.md") == again, "run: python -m benchmarks.reference page"
    assert len(again.splitlines()) <= 400


# --- run for real -------------------------------------------------------------------------------------------------

TINY = ["--epochs", "1", "--train-size", "140", "--image-size", "32", "--device", "cpu", "--jobs", "2"]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.xdist_group("pages")
def test_the_quickstart_works_from_top_to_bottom(tmp_path: Path) -> None:
    """Its commands in one folder, sweeps on a small part and with one seed."""
    seen = []
    for words in commands(DOCS / "quickstart.md"):
        if words[0] == "run":
            words = [*_one_seed(words), *TINY]
        done = subprocess.run(
            [sys.executable, "-m", "fer_bench.cli", *words], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        seen.append(words[0])
    assert {"run", "table", "report", "export", "watch", "status"} <= set(seen)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.xdist_group("pages")
@pytest.mark.parametrize(
    ("page", "asked"),
    [("suspects.md", {"run": 3, "suspects": 4, "table": 2}), ("predict.md", {"run": 1, "predict": 1})],
)
def test_pages_on_suspects_and_models_work(
    page: str, asked: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their commands and their program, on drawn faces: in a data set of one's own, ``faces``, and in ``photos``."""
    _draw_faces(tmp_path)
    monkeypatch.chdir(tmp_path)
    seen: Counter[str] = Counter()
    for words in commands(DOCS / page):
        if words[0] == "run":
            words = [*words, *(TINY if "--dataset" not in words else TINY[:2] + TINY[4:])]
        words = [word.replace("data seed", "140 images, data seed") for word in words]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{words}: {result.output}"
        seen[words[0]] += 1
    assert seen == asked
    if programs := blocks(DOCS / page, "python"):
        Path("program.py").write_text("\n".join(programs))
        answered = runpy.run_path("program.py")
        probabilities = pd.read_csv("probabilities.csv")
        assert len(probabilities) == len(answered["frame"]) == 7
        assert probabilities.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(1)
    else:
        listed = pd.read_csv("suspects.csv")
        assert len(listed) == round(0.1 * 28) and all(Path(path).is_file() for path in listed["path"])


def _draw_faces(folder: Path) -> None:
    """Four training faces and a test face of each class in ``faces``, and a face of each class in ``photos``."""
    manifest = read_manifest("synthetic")
    for label, expression in enumerate(manifest.classes):
        rows = np.flatnonzero(manifest.label == label)[:6].tolist()
        photo = "face" if label == 0 else expression
        places = [f"faces/train/{expression}/{number}" for number in range(4)]
        places += [f"faces/test/{expression}/4", f"photos/{photo}"]
        for place, pixels in zip(places, manifest.source.pixels(rows, 48), strict=True):
            file = folder / f"{place}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(file)


def _one_seed(words: list[str]) -> list[str]:
    at = words.index("--seeds") if "--seeds" in words else len(words)
    return words[:at] + words[at + 2 :]


@pytest.mark.slow
@pytest.mark.e2e
def test_the_network_on_the_page_trains(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text("\n".join(blocks(DOCS / "backbones.md", "python")))
    for words in commands(DOCS / "backbones.md"):
        call = [sys.executable, "-m", "fer_bench.cli", *words, "--device", "cpu", "--jobs", "1"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0 and "[2/2]" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("page", [DOCS / "quickstart.md", DOCS / "api" / "run.md"], ids=name)
def test_programs_work(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("\n".join(blocks(page, "python")))
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
