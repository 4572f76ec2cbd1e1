"""The compact file: the records of a sweep without its run folders."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from fer_bench.core.errors import StoreError
from fer_bench.store.compact import COMPACT, read_compact, write_compact
from fer_bench.sweep.record import Sweep
from tests.helpers.stored import finished


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


def test_only_a_finished_sweep_is_saved_and_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0, 1)
    file = sweep.folder / COMPACT
    sweep.save_records()
    content = file.read_bytes()
    reread(sweep).save_records()
    assert file.read_bytes() == content
    file.unlink()
    sweep.runs[0].clear()
    reread(sweep).save_records()
    assert not file.exists()


@pytest.mark.parametrize("damage", ["cut", "no gzip", "no JSON", "a field is missing", "no epochs", "other version"])
def test_a_damaged_file_is_named_with_its_line(damage: str, tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 0)
    file = tmp_path / COMPACT
    write_compact(file, sweep.records(), tmp_path)
    content = file.read_bytes()
    line: dict[str, Any] = orjson.loads(gzip.decompress(content))
    if damage == "a field is missing":
        del line["final"]["detection"]
    elif damage == "no epochs":
        line["epochs"] = []
    elif damage == "other version":
        line["spec"]["protocol"] = 0
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
