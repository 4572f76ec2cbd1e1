"""The compact file: the records of a sweep without its run folders."""

from __future__ import annotations

import gzip
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from fer_bench.core.errors import StoreError
from fer_bench.core.files import write_atomically
from fer_bench.store.compact import COMPACT, read_compact, write_compact
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Claim, TakenOver
from fer_bench.store.model_selection import MEASURES, SELECTIONS, select
from fer_bench.store.records import read_record
from fer_bench.store.row import to_row
from fer_bench.sweep.record import Sweep
from tests.helpers.stored import FINAL, SPEC, finish_run, finished


def sweep_of(out: Path, *seeds: int) -> Sweep:
    paths = [str(finished(out, seed=seed).path.relative_to(out)) for seed in seeds]
    content = {"runs": paths, "names": {}, "skipped": [], "classes": {}, "command": "", "name": "mine", "created": ""}
    return Sweep("mine", out / "sweeps" / "mine", content)


def reread(sweep: Sweep) -> Sweep:
    return Sweep(sweep.name, sweep.folder, sweep.content)


def test_tables_are_the_same_without_the_run_folders(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0, 1)
    before = sweep.finished()
    sweep.save_records()
    shutil.rmtree(tmp_path / "runs")
    after = reread(sweep)
    pd.testing.assert_frame_equal(before, after.finished())
    assert (
        after.unfinished() == []
        and [record.environment for record in after.records()] == [{"device": "x", "first_epoch": 1}] * 2
    )
    assert after.records()[0].scores() == {} and after.records()[0].probe() == {}


def test_a_run_folder_counts_more_than_the_compact_file(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0, 1)
    sweep.save_records()
    shutil.rmtree(sweep.runs[0].path)
    sweep.runs[1].clear()
    assert [record.folder for record in reread(sweep).records()] == [sweep.runs[0]]
    assert [state for state, _ in reread(sweep).states()] == ["done", "new"]


def paths_in(file: Path) -> list[str]:
    return [orjson.loads(line)["path"] for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_the_same_records_give_the_same_bytes_and_are_written_once(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0, 1)
    file = sweep.folder / COMPACT
    sweep.save_records()
    content, inode = file.read_bytes(), file.stat().st_ino
    reread(sweep).save_records()
    assert file.read_bytes() == content and file.stat().st_ino == inode
    file.unlink()
    reread(sweep).save_records()
    assert file.read_bytes() == content
    assert sorted(path.name for path in sweep.folder.iterdir()) == [COMPACT], "the lock is gone"


def test_what_is_finished_of_a_sweep_is_saved(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0, 1, 2)
    sweep.runs[1].clear()
    reread(sweep).save_records()
    assert paths_in(sweep.folder / COMPACT) == [sweep.content["runs"][0], sweep.content["runs"][2]]


def test_no_record_is_lost_when_the_file_is_written_again(tmp_path: Path) -> None:
    """Neither of a run without a folder, nor of one that is being repeated, nor of one that the sweep has lost."""
    sweep = sweep_of(tmp_path, 0, 1, 2, 3)
    sweep.save_records()
    gone, repeated, replaced, here = sweep.content["runs"]
    shutil.rmtree(tmp_path / gone)
    shutil.rmtree(tmp_path / replaced)
    sweep.runs[1].clear()
    file = sweep.folder / COMPACT
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).rstrip(b"\n")))  # as an editor may leave it
    smaller = Sweep("mine", sweep.folder, {**sweep.content, "runs": [repeated, gone]})
    smaller.save()
    new = finished(tmp_path, seed=9)
    grown = Sweep("mine", sweep.folder, {**sweep.content, "runs": [new.path.relative_to(tmp_path).as_posix(), gone]})
    grown.save_records()
    assert paths_in(file) == [*grown.content["runs"], repeated, replaced], f"{here} has its folder, and is in no sweep"
    assert [record.key for record in reread(grown).records()] == [new.path.name, Path(gone).name]


def test_a_record_that_was_read_from_a_folder_takes_the_place_of_the_stored_one(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0)
    sweep.save_records()
    finish_run(tmp_path, replace(SPEC, seed=0), test=0.875)
    reread(sweep).save_records()
    shutil.rmtree(tmp_path / "runs")
    assert reread(sweep).records()[0].epochs[-1]["test"]["overall"] == 0.875


@pytest.mark.parametrize("damage", ["cut", "a folder", "a pipe"])
def test_a_damaged_file_is_replaced_only_where_every_run_has_its_folder(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = sweep_of(tmp_path, 0, 1)
    sweep.save_records()
    file = sweep.folder / COMPACT
    whole = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(whole[:-20])
    elif damage == "a folder":
        file.mkdir()
    else:
        os.mkfifo(file)
    sweep.runs[1].clear()
    with pytest.raises(StoreError, match=rf"{COMPACT}.* is damaged"):
        reread(sweep).save_records()
    assert not file.is_file() or file.read_bytes() == whole[:-20]
    finished(tmp_path, seed=1)
    if damage != "a folder":
        reread(sweep).save_records()
        assert file.read_bytes() == whole and "is made again from the folders" in caplog.text


def test_writers_wait_for_each_other_and_the_records_of_both_stay(tmp_path: Path) -> None:
    """Each has read the file before the other wrote: without the lock, one record would be lost."""
    sweep = sweep_of(tmp_path, 0, 1, 2)
    shared = [Sweep("mine", sweep.folder, {**sweep.content, "runs": [run]}) for run in sweep.content["runs"]]
    for each in shared:
        each.records()
    shutil.rmtree(tmp_path / "runs")
    with ThreadPoolExecutor() as writers:
        list(writers.map(Sweep.save_records, shared))
    assert sorted(paths_in(sweep.folder / COMPACT)) == sorted(sweep.content["runs"])


def test_a_writer_that_was_replaced_writes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, tries = sweep_of(tmp_path, 0), []

    def replaced(claim: Claim, path: Path, content: bytes) -> None:
        tries.append(path.name)
        if len(tries) == 1:
            raise TakenOver("taken over by another process")
        write_atomically(path, content, parts=claim.path)

    monkeypatch.setattr(Claim, "write", replaced)
    sweep.save_records()
    assert tries == [COMPACT, COMPACT] and paths_in(sweep.folder / COMPACT) == sweep.content["runs"]


def many_epochs(count: int) -> list[dict[str, Any]]:
    """Epochs as the trainer writes them, of which validation and test prefer different ones."""
    rng = np.random.default_rng(0)

    def split() -> dict[str, Any]:
        confusion = rng.integers(0, 99, (3, 3))
        numbers = {name: float(rng.random()) for name in MEASURES}
        return {**numbers, "recall": rng.random(3).tolist(), "confusion": confusion.tolist()}

    return [
        {"epoch": epoch, "test": split(), "val": split(), "train_fit": {"fit_noisy": 0.1 * epoch, "fit_clean": None,
         "memorised": rng.random()}, "lr": {"main": 0.1}, "seconds": {"train": 1.0}, "train": {"loss": rng.random()}}
        for epoch in range(1, count + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 4, 5, 14])
def test_what_is_left_out_of_the_epochs_is_shown_nowhere(count: int, tmp_path: Path) -> None:
    spec, epochs = replace(SPEC, seed=count), many_epochs(count)
    folder = RunFolder.of(tmp_path, spec)
    with folder.claim():
        folder.start(spec, {"device": "x"})
        folder.save_epochs(epochs)
        folder.finish({**FINAL, "test": epochs[-1]["test"], "noise": {"clean_counts": [90, 50, 9]}}, {})
    whole, path = read_record(folder), folder.path.relative_to(tmp_path).as_posix()
    write_compact(tmp_path / COMPACT, tmp_path, [path], [whole])
    stored = read_compact(tmp_path / COMPACT, tmp_path, [path])[path]
    assert to_row(stored) == to_row(whole)
    for key in SELECTIONS:
        assert select(stored.epochs, key) == select(epochs, key)
    for name in ("overall", "mean"):
        assert [each["test"][name] for each in stored.epochs] == [each["test"][name] for each in epochs]
    assert [each["train_fit"] for each in stored.epochs] == [each["train_fit"] for each in epochs]
    assert stored.epochs[-1]["val"] == {name: epochs[-1]["val"][name] for name in MEASURES}
    assert sum("confusion" in each["test"] for each in stored.epochs) <= 7
    assert not any({"lr", "seconds", "train"} & each.keys() for each in stored.epochs)


@pytest.mark.parametrize(
    "damage", ["cut", "no gzip", "no JSON", "a field is missing", "no epochs", "other version", "other key"]
)
def test_a_damaged_file_is_named_with_its_line(damage: str, tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0)
    file = tmp_path / COMPACT
    write_compact(file, tmp_path, sweep.content["runs"], sweep.records())
    content = file.read_bytes()
    line: dict[str, Any] = orjson.loads(gzip.decompress(content))
    if damage == "a field is missing":
        del line["final"]["detection"]
    elif damage == "no epochs":
        line["epochs"] = []
    elif damage == "other version":
        line["spec"]["protocol"] = 0
    elif damage == "other key":
        line["spec"]["seed"] = 5
    file.write_bytes(
        content[:-20]
        if damage == "cut"
        else b"torn"
        if damage == "no gzip"
        else gzip.compress(b"{half\n" if damage == "no JSON" else orjson.dumps(line))
    )
    with pytest.raises(StoreError, match=f"{COMPACT}.* is damaged"):
        read_compact(file, tmp_path, sweep.content["runs"])


def test_there_need_not_be_a_file(tmp_path: Path) -> None:
    assert read_compact(tmp_path / COMPACT, tmp_path, ["runs/a/b/c"]) == {}
