"""The index of finished runs: as fast as it may be, it never says anything that the folders do not."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fer_bench import load_runs
from fer_bench.core.errors import UnreadableRun
from fer_bench.store import index
from fer_bench.store.folder import RunFolder
from fer_bench.store.index import FILES, Index, read_runs
from fer_bench.store.packed import Packed
from fer_bench.store.records import Record
from fer_bench.store.row import row_values
from tests.helpers.stored import FINAL, SPEC, finish_run, finished


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading writes the index, of runs of this moment too."""
    monkeypatch.setattr(index, "WORTH", 1)
    monkeypatch.setattr(index, "YOUNG", -3600.0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the runs whose folders are read."""
    keys: list[str] = []

    def spied(folder: RunFolder, original: Callable[[RunFolder], Record] = index.read_record) -> Record:
        keys.append(folder.path.name)
        return original(folder)

    monkeypatch.setattr(index, "read_record", spied)
    return keys


def names(out: Path) -> list[str]:
    return [path.parent.relative_to(out).as_posix() for path in sorted(out.glob("runs/*/*/*/final.json"))]


def file_of(out: Path) -> Path:
    return Index(out).file


def several(out: Path, count: int = 4) -> list[RunFolder]:
    return [finished(out, seed=seed) for seed in range(count)]


def test_the_index_gives_what_the_folders_give(tmp_path: Path, read: list[str]) -> None:
    folders = several(tmp_path)
    before = load_runs(tmp_path)
    assert len(read) == 4 and file_of(tmp_path).stat().st_mode & 0o022 == 0
    pd.testing.assert_frame_equal(before, load_runs(tmp_path))
    (known, unreadable), (fresh, _) = read_runs(tmp_path, names(tmp_path)), read_runs(tmp_path / ".", names(tmp_path))
    assert len(read) == 4 and unreadable == []
    file_of(tmp_path).unlink()
    for one, other in zip(known, read_runs(tmp_path, names(tmp_path))[0], strict=True):
        assert (one.spec, one.final, one.epochs, one.environment) == (other.spec, other.final, other.epochs,
                                                                      other.environment)  # fmt: skip
        assert row_values(one) == row_values(other) == one.contents.row and one.folder == other.folder
        assert isinstance(one.contents, Packed) and not one.absent
    assert {record.key for record in fresh} == {folder.path.name for folder in folders}


@pytest.mark.parametrize("name", FILES)
def test_an_entry_counts_only_while_every_file_is_as_it_was(name: str, tmp_path: Path, read: list[str]) -> None:
    """Also if the size and the time of content are as before."""
    folders = several(tmp_path, 2)
    load_runs(tmp_path)
    read.clear()
    path = folders[0].path / name
    before = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    if name in ("env.json", "sums.json"):  # such sums are those of other files
        load_runs(tmp_path)
    else:
        with pytest.warns(UserWarning, match=f"left out: .*{folders[0].path.name}"):
            assert list(load_runs(tmp_path)["key"]) == [folders[1].path.name]
    assert read == [folders[0].path.name]
    path.unlink()
    if name == "env.json":
        assert list(load_runs(tmp_path)["device"]) == ["", "x"] or list(load_runs(tmp_path)["device"]) == ["x", ""]
    elif name == "final.json":
        assert len(load_runs(tmp_path)) == 1
    else:
        with pytest.warns(UserWarning, match="left out"):
            load_runs(tmp_path)


def test_new_repeated_and_removed_runs_are_seen(tmp_path: Path, read: list[str]) -> None:
    folders = several(tmp_path, 3)
    load_runs(tmp_path)
    shutil.rmtree(folders[0].path)
    finish_run(tmp_path, replace(SPEC, seed=1), test=0.875)
    finished(tmp_path, seed=7)
    read.clear()
    frame = load_runs(tmp_path).set_index("seed")
    assert sorted(frame.index) == [1, 2, 7] and frame.loc[1, "test_overall"] == 0.875
    assert len(read) == 2 and len(Index(tmp_path).stamps) == 3, "the entry of the removed run is gone"
    load_runs(tmp_path)
    assert len(read) == 2


def test_a_sweep_keeps_the_entries_of_others(tmp_path: Path, read: list[str]) -> None:
    several(tmp_path, 3)
    first, *others = names(tmp_path)
    read_runs(tmp_path, [first])
    read_runs(tmp_path, others)
    assert len(Index(tmp_path).stamps) == 3
    read.clear()
    found, _ = read_runs(tmp_path, [*others, "runs/a/b/not-there", first])
    assert [record.folder.path.name for record in found] == [Path(name).name for name in (*others, first)] and not read


def test_runs_that_have_just_changed_and_few_runs_are_not_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(tmp_path, 3)
    monkeypatch.setattr(index, "YOUNG", 60.0)
    load_runs(tmp_path)
    assert not file_of(tmp_path).exists()
    monkeypatch.setattr(index, "YOUNG", -3600.0)
    monkeypatch.setattr(index, "WORTH", 4)
    load_runs(tmp_path)
    assert not file_of(tmp_path).exists()
    finished(tmp_path, seed=3)
    load_runs(tmp_path)
    assert file_of(tmp_path).exists()


def test_an_index_with_any_changed_byte_is_not_used(tmp_path: Path) -> None:
    several(tmp_path, 3)
    before = load_runs(tmp_path)
    file = file_of(tmp_path)
    whole = file.read_bytes()
    for place in [*range(0, len(whole), 197), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        pd.testing.assert_frame_equal(before, load_runs(tmp_path))
        for record in read_runs(tmp_path, names(tmp_path))[0]:
            assert record.spec["method"] == "m" and record.final["seconds"] == 1.5
            assert len(record.epochs) == 2 and record.environment["device"] == "x"


DAMAGES = ["empty", "cut", "text", "no JSON", "other JSON", "a folder", "a pipe", "a link", "old"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_cannot_be_used_is_made_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    several(tmp_path, 3)
    before = load_runs(tmp_path)
    file = file_of(tmp_path)
    whole = file.read_bytes()
    file.unlink()
    contents = {"empty": b"", "cut": whole[:-1], "text": b"nothing\n", "no JSON": b"{half", "other JSON": b"[1, 2]\n"}
    if damage == "a folder":
        file.mkdir()
    elif damage == "a pipe":
        os.mkfifo(file)
    elif damage == "a link":
        (tmp_path / "elsewhere").write_bytes(whole)
        file.symlink_to("elsewhere")
    elif damage == "old":
        file.write_bytes(whole)
        monkeypatch.setattr(index, "code_version", lambda: "of another version")
    else:
        file.write_bytes(contents[damage])
    read.clear()
    pd.testing.assert_frame_equal(before, load_runs(tmp_path))
    assert len(read) == 3 or damage == "cut"
    if damage == "a link":
        assert (tmp_path / "elsewhere").read_bytes() == whole
    read.clear()
    pd.testing.assert_frame_equal(before, load_runs(tmp_path))
    assert len(read) == (3 if damage == "a folder" else 0)


def test_the_index_of_another_user_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    several(tmp_path, 2)
    load_runs(tmp_path)
    content, mine = file_of(tmp_path).read_bytes(), os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    file_of(tmp_path).write_bytes(content)  # still owned by the first one
    read.clear()
    load_runs(tmp_path)
    assert len(read) == 2


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_an_index_that_cannot_be_written_is_no_error(
    error: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(tmp_path, 2)

    def fail(*_: object) -> None:
        raise error("read-only")

    monkeypatch.setattr(index, "write_atomically", fail)
    assert len(load_runs(tmp_path)) == 2 and not file_of(tmp_path).exists()


def test_records_outlive_a_damaged_index(tmp_path: Path) -> None:
    """They are parsed when they are asked for, and by then another program may have changed the file in place."""
    several(tmp_path, 2)
    load_runs(tmp_path)
    found, _ = read_runs(tmp_path, names(tmp_path))
    file = file_of(tmp_path)
    file.write_bytes(b"0" * file.stat().st_size)
    assert [record.spec["seed"] for record in found] == [record.contents.row["seed"] for record in found]  # type: ignore[index]
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UnreadableRun):
        _ = found[0].epochs


def test_a_record_can_be_sent_to_another_process(tmp_path: Path) -> None:
    several(tmp_path, 2)
    for _ in range(2):
        for record in read_runs(tmp_path, names(tmp_path))[0]:
            sent = pickle.loads(pickle.dumps(record))
            assert (
                sent.spec == record.spec and sent.epochs == record.epochs and sent.contents.row == record.contents.row
            )


def test_a_value_that_json_changes_stays_in_its_folder(tmp_path: Path) -> None:
    spec = replace(SPEC, seed=1)
    folder = RunFolder.of(tmp_path, spec)
    with folder.claim():
        folder.start(spec, {"device": "x"})
        folder.save_epochs(finished(tmp_path / "template").epochs())
        folder.finish(FINAL, {})
    text = (folder.path / "final.json").read_text().replace('"seconds": 1.5', '"seconds": NaN')
    (folder.path / "final.json").write_text(text)
    sums = json.loads((folder.path / "sums.json").read_text())
    (folder.path / "sums.json").write_text(json.dumps({name: sums[name] for name in sums if name != "final.json"}))
    finished(tmp_path, seed=2)
    for _ in range(2):
        found, unreadable = read_runs(tmp_path, names(tmp_path))
        assert len(found) + len(unreadable) == 2
        assert all(str(record.final["seconds"]) in ("nan", "1.5") for record in found)
    assert len(Index(tmp_path).stamps) == 1


def test_a_name_that_is_no_text_is_indexed(tmp_path: Path) -> None:
    finished(tmp_path, dataset="faces-\udcbd")
    for _ in range(2):
        (record,), _unreadable = read_runs(tmp_path, names(tmp_path))
        assert record.spec["dataset"] == "faces-\udcbd"


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    several(tmp_path, 2)
    load_runs(tmp_path)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        load_runs(tmp_path)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
