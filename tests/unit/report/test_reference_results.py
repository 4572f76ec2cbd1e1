"""The committed reference results: tables and plots can be made from them, and they are what this version makes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from benchmarks.reference import quick_settings, validation
from fer_bench.plugins.registry import discover
from fer_bench.report.html.collect import collect
from fer_bench.report.outputs import outputs_of
from fer_bench.sweep.record import Sweep, find_sweep
from tests.helpers.committed import committed_results

ROOT = Path(__file__).parents[3]
RUNS = {
    "reference-ablation": 30, "reference-ablation-long": 15, "reference-defaults": 198, "reference-draws": 216,
    "reference-face-weights": 4, "reference-face-weights-imagenet": 4, "reference-face-weights-random": 4,
    "reference-faces": 38, "reference-ferplus": 40, "reference-grid": 342,
    "reference-kinds": 152, "reference-main": 36, "reference-nla-regulariser": 18,
    "reference-real": 6, "reference-real-defaults": 4, "tune-quick": 819, "tune-real": 20,
}  # fmt: skip


@pytest.fixture(autouse=True)
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed_results(tmp_path)
    monkeypatch.chdir(tmp_path)


def sweep(name: str) -> Sweep:
    return find_sweep(Path("results"), name)


@pytest.mark.parametrize("name", RUNS)
def test_tables_are_what_this_version_makes(name: str) -> None:
    found = sweep(name)
    assert len(found.records()) == RUNS[name] and found.unfinished() == []
    outputs = outputs_of(found, plugins=discover())
    again = f"fer-bench table {found.folder}"
    assert outputs.table.markdown() == (found.folder / "table.md").read_text(), again
    assert outputs.runs.to_csv(index=False, lineterminator="\n") == (found.folder / "runs.csv").read_text(), again


def test_nineteen_methods_with_four_metrics_are_one_float_of_latex() -> None:
    table = outputs_of(sweep("reference-faces"), plugins=discover()).table
    assert table.latex().count(r"\begin{table}") == 1 and r"\label{tab:reference-faces}" in table.latex()


def test_the_page_leaves_out_what_needs_arrays() -> None:
    content = collect(sweep("reference-face-weights"), {})
    assert not content["folders"] and content["galleries"] == [] and len(content["runs"]) == 4


@pytest.mark.parametrize("name", RUNS)
def test_commands_name_no_folder_of_the_machine_that_ran_them(name: str) -> None:
    words = shlex.split(sweep(name).content["command"])
    assert not [word for word in words if Path(word).is_absolute()], "write DATA_ROOT in its place"


def test_every_reference_sweep_is_here_and_they_are_small() -> None:
    folders = (ROOT / "results" / "sweeps").glob("*")
    assert {path.name for path in folders if path.name.startswith(("reference-", "tune-"))} == set(RUNS)
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files) < 8_000_000


def test_the_settings_of_quick_are_those_that_the_search_chose() -> None:
    found = sweep(quick_settings.SWEEP)
    again = "run: python -m benchmarks.reference settings"
    assert quick_settings.text(found) == quick_settings.FILE.read_text(encoding="utf-8"), again


def test_methods_that_are_not_ahead_say_what_experiments_showed() -> None:
    cells = validation.accuracies(sweep(validation.SWEEP).records())
    built_in = {key: plugin.load().info for key, plugin in discover().items() if plugin.origin == "built in"}
    assert cells.keys() == built_in.keys()
    behind = [key for key in cells for column in validation.CONDITIONS
              if validation.misses(key, column, built_in[key], cells)]  # fmt: skip
    silent = [key for key in behind if not any(name in built_in[key].scaling for name in RUNS)]
    assert behind and silent == [], "name the sweep and its numbers in the card"
