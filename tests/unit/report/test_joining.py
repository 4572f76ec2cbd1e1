"""Several sweeps in one table: what counts once, and how runs that differ are told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Recipe
from fer_bench.report.joining import join
from fer_bench.report.outputs import outputs_of
from fer_bench.report.tables import comparison
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.record import Sweep, find_sweep
from tests.helpers.runs import CLASSES, CLEAN, NOISY, arranged, finish


def sweep(out: Path, name: str, *runs: RunFolder, **content: object) -> Sweep:
    made = {
        "name": name, "command": "fer-bench run", "runs": [run.path.relative_to(out).as_posix() for run in runs],
        "names": {}, "skipped": [], "classes": {"faces": CLASSES}, **content,
    }  # fmt: skip
    (out / "sweeps" / name).mkdir(parents=True)
    (out / "sweeps" / name / "sweep.json").write_text(json.dumps(made))
    return find_sweep(out, name)


def test_a_run_of_two_sweeps_counts_once(tmp_path: Path) -> None:
    runs = [finish(tmp_path, method, CLEAN, seed=seed) for method in ("alpha", "beta") for seed in range(2)]
    first, second = sweep(tmp_path, "a", *runs[:3]), sweep(tmp_path, "b", *runs[1:])
    found = join([first, second, first])
    assert [record.key for record in found.records] == [run.path.name for run in runs]
    assert found.notes == ("Sweeps: a (3 runs), b (3 runs). 2 runs of several sweeps count once.",)
    assert found.folder == tmp_path / "tables" / "a+b"
    assert join([first]).folder == first.folder and join([first]).notes == ()


def test_numbers_that_differ_under_one_key_are_told(tmp_path: Path) -> None:
    run = finish(tmp_path / "x", "alpha", CLEAN)
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    first, second = (
        sweep(tmp_path / "x", "a", run),
        sweep(tmp_path / "y", "b", RunFolder(tmp_path / "y" / run.path.relative_to(tmp_path / "x"))),
    )
    assert len(join([first, second]).notes) == 1
    first.records()[0].epochs[-1]["test"]["overall"] += 0.01
    found = join([first, second])
    assert found.records[0].epochs == first.records()[0].epochs
    assert found.notes[1].startswith("1 run of several sweeps were trained more than once, with different numbers")


def test_one_table_in_a_folder_of_its_own(tmp_path: Path) -> None:
    made = [
        sweep(tmp_path, "a", finish(tmp_path, "alpha", CLEAN), skipped=["beta: it needs landmarks"]),
        sweep(tmp_path, "b", finish(tmp_path, "beta", CLEAN, recipe=Recipe(epochs=3))),
    ]
    outputs = outputs_of(*made)
    assert outputs.table.blocks[0].columns == ("clean, 3 epochs", "clean, 6 epochs")
    assert "a: skipped: beta: it needs landmarks" in outputs.table.notes
    assert {path.parent for path in outputs.write()} == {tmp_path / "tables" / "a+b"}
    assert {path.parent for path in outputs_of(*made, to=tmp_path / "mine").write()} == {tmp_path / "mine"}
    assert not list((tmp_path / "sweeps").glob("*/table.md")), "the tables of the sweeps are as they were"
    long = [sweep(tmp_path, f"{letter}{'x' * 150}", finish(tmp_path, "alpha", CLEAN)) for letter in "cd"]
    assert join(long).folder.name.startswith("2-sweeps-")


def test_settings_that_follow_the_data_set_are_in_a_note(tmp_path: Path) -> None:
    for dataset, epochs in (("faces", 6), ("other", 1)):
        for noise in (CLEAN, NOISY):
            finish(tmp_path, "alpha", noise, dataset=dataset, recipe=Recipe(epochs=epochs), fingerprint=dataset[0] * 64)
    runs = arranged(tmp_path)
    assert runs.conditions == ("faces, clean", "faces, symmetric 0.2", "other, clean", "other, symmetric 0.2")
    assert "Settings by data set: faces: 6 epochs; other: 1 epoch." in comparison(runs).notes
    finish(tmp_path, "alpha", CLEAN, dataset="other", recipe=Recipe(epochs=2), fingerprint="o" * 64)
    assert "other, clean, 2 epochs" in arranged(tmp_path).conditions


def test_draws_without_a_common_one_are_columns(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, data_seed=0)
    finish(tmp_path, "beta", NOISY, data_seed=1)
    assert arranged(tmp_path).conditions == ("symmetric 0.2, data seed 0", "symmetric 0.2, data seed 1")
    finish(tmp_path, "alpha", NOISY, data_seed=1)
    runs = arranged(tmp_path)
    assert runs.conditions == ("symmetric 0.2",), "both have runs of data seed 1"
    table = comparison(runs)
    assert [name for name, _ in table.blocks[0].rows] == ["alpha", "betaᵃ"]
    assert table.legend == ("ᵃ has runs of fewer draws of the training data (data seed 1).",)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    run = finish(tmp_path, "alpha", CLEAN)
    first = sweep(tmp_path, "a", run)
    with pytest.raises(SpecError, match="t is a tuning, whose table stands alone"):
        join([first, sweep(tmp_path, "t", run, tuning={"budget": 4.0, "studies": 1})])
    with pytest.raises(SpecError, match="b: faces has the classes x, y; a has anger, "):
        join([first, sweep(tmp_path, "b", run, classes={"faces": ["x", "y"]})])
