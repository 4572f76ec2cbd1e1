"""Opening a data set: what is read again, what is a hit, and that a hit is never another data set."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data import index, open
from fer_bench.data.catalog import open_manifest
from fer_bench.data.dataset import ANNOTATIONS, Dataset
from fer_bench.data.open import open_dataset, open_unlabelled
from tests.helpers.layouts import (
    lay_affectnet,
    lay_affectnet_folders,
    lay_expw,
    lay_ferplus,
    lay_rafdb,
    lay_sfew,
    save,
    write,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the data sets that were read from their files."""
    seen: list[str] = []
    read = open.open_manifest

    def counted(name: Any, *rest: Any) -> Any:
        seen.append(str(name))
        return read(name, *rest)

    monkeypatch.setattr(open, "open_manifest", counted)
    return seen


def lay_folder(root: Path, shade: int = 0, count: int = 2) -> Path:
    for at, (split, name) in enumerate((s, c) for s in ("train", "test") for c in ("angry", "happy")):
        for number in range(count):
            save(root / split / name / f"{number}.png", (shade, 10 * at, number))
    return root


def lay_table(root: Path) -> Path:
    for number in range(2):
        save(root / "pics" / f"{number}.png", (number, 0, 0))
    return write(root / "faces.csv", "path,label,split\npics/0.png,a,train\npics/1.png,b,test\n")


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "rafdb": lay_rafdb,
    "fer2013": lay_ferplus,
    "ferplus": lay_ferplus,
    "affectnet7": lay_affectnet,
    "affectnet8": lay_affectnet_folders,
    "expw": lambda root: lay_expw(root, 5),
    "sfew": lay_sfew,
    "folder": lay_folder,
    "faces.csv": lay_table,
}


def laid_out(name: str, root: Path) -> str:
    """Makes the data set under ``root``; the name or path that opens it."""
    LAYOUTS[name](root)
    return str(root if name == "folder" else root / name if name.endswith(".csv") else name)


# --- identity --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened_files() -> Iterator[set[str]]:
    """The files that Python opens and the folders that it lists while the fixture is active."""
    seen: set[str] = set()
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str | os.PathLike):
            seen.add(os.fspath(arguments[0]))

    sys.addaudithook(hook)
    yield seen
    active = False


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_manifest_names_every_file_and_folder_that_was_read(
    name: str, tmp_path: Path, opened_files: set[str]
) -> None:
    root = tmp_path / "data"
    dataset = laid_out(name, root)
    opened_files.clear()
    manifest = open_manifest(dataset, root)
    manifest.source.digest(range(len(manifest)))
    seen = {Path(path) for path in opened_files if path.startswith(str(root))}
    folders = {each for each in seen if each.is_dir()}
    assert seen - folders and seen - folders <= set(manifest.files)
    folders -= set(manifest.files)  # the times of a folder show which files are directly in it
    assert all(any(home in (each, *each.parents) for home in manifest.folders) for each in folders)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_second_call_reads_nothing_and_any_change_of_a_file_is_noticed(
    name: str, tmp_path: Path, reads: list[str]
) -> None:
    root = tmp_path / "data"
    dataset = laid_out(name, root)
    first = open_dataset(dataset, root)
    again = open_dataset(dataset, root)
    assert len(reads) == 1 and again.fingerprint == first.fingerprint and again.ids.tolist() == first.ids.tolist()
    for file in [path for path in open_manifest(dataset, root).files if path.exists()]:
        stat = file.stat()
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as it was, but for the time of the change
        time.sleep(index.TICK)
        reads.clear()
        open_dataset(dataset, root)
        assert len(reads) == 1, f"{file} was touched"
    (root / "neighbour").mkdir()
    save(root.parent / "neighbour.png")
    reads.clear()
    open_dataset(dataset, root)
    assert reads == [], "a neighbour is no part of the data set"


def test_a_new_list_with_precedence_is_noticed(tmp_path: Path) -> None:
    lay_rafdb(tmp_path, list_folder=".")
    open_dataset("rafdb", tmp_path)
    write(tmp_path / "rafdb/EmoLabel/list_patition_label.txt", "train_00001.jpg 7\ntest_0001.jpg 7\n")
    assert len(open_dataset("rafdb", tmp_path)) == 2


def test_a_new_image_and_a_new_class_of_a_folder_are_noticed(tmp_path: Path) -> None:
    faces = lay_folder(tmp_path / "faces")
    assert len(open_dataset(str(faces))) == 8
    save(faces / "train/angry/new.png")
    assert len(open_dataset(str(faces))) == 9
    save(faces / "train/sad/new.png")
    assert open_dataset(str(faces)).classes == ("anger", "happiness", "sadness")


def test_linked_data_are_those_that_the_link_leads_to_now(tmp_path: Path) -> None:
    for store, labels in (("A", "1234567"), ("B", "2345671")):
        lay_rafdb(tmp_path / store)
        lines = [f"train_{n:05d}.jpg {label}\n" for n, label in enumerate(labels, 1)]
        write(tmp_path / store / "rafdb/EmoLabel/list_patition_label.txt", "".join(lines) + "test_0001.jpg 1\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "rafdb").symlink_to(tmp_path / "A/rafdb")
    first = open_dataset("rafdb", root)
    (root / "rafdb").unlink()
    (root / "rafdb").symlink_to(tmp_path / "B/rafdb")
    second = open_dataset("rafdb", root)
    assert first.fingerprint != second.fingerprint and first.label.tolist() != second.label.tolist()
    listed = tmp_path / "B/rafdb/EmoLabel/list_patition_label.txt"
    listed.write_text(listed.read_text().replace("train_00001.jpg 2", "train_00001.jpg 7"))
    assert open_dataset("rafdb", root).fingerprint not in (first.fingerprint, second.fingerprint)
    (root / "rafdb").unlink()
    with pytest.raises(DataError, match="rafdb does not exist"):
        open_dataset("rafdb", root)
    with pytest.raises(DataError, match="rafdb does not exist"):
        open_dataset("rafdb", tmp_path / "nowhere")


def test_class_folders_that_are_links_are_looked_into(tmp_path: Path) -> None:
    store, faces = lay_folder(tmp_path / "store"), tmp_path / "faces"
    for split in ("train", "test"):
        (faces / split).mkdir(parents=True)
        for name in ("angry", "happy"):
            (faces / split / name).symlink_to(store / split / name)
    assert len(open_dataset(str(faces))) == 8
    save(store / "train/angry/new.png")
    assert len(open_dataset(str(faces))) == 9


def test_equal_relative_names_in_two_working_folders_are_two_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for shade, home in enumerate(("here", "there")):
        lay_folder(tmp_path / home / "faces", shade)
        lay_rafdb(tmp_path / home / "data")
        save(tmp_path / home / "data/rafdb/Image/aligned/train_00001_aligned.jpg", (shade, 99, 99))
        monkeypatch.chdir(tmp_path / home)
        found.append((open_dataset("faces").fingerprint, open_dataset("rafdb").fingerprint))
    assert len(set(sum(found, ()))) == 4
    (tmp_path / "there/faces").rename(tmp_path / "there/gone")
    with pytest.raises(DataError, match="no data set or path 'faces'"):
        open_dataset("faces")


def test_a_data_set_without_files_is_never_a_hit(tmp_path: Path, own_cache: Path) -> None:
    faces = lay_folder(tmp_path / "faces")
    open_dataset(str(faces))
    (entry,) = (own_cache / "index").glob("*.json")
    text = entry.read_text()
    for bad in ("", "{}", text[:50], '{"files": {}, "folders": [], "state": "x", "fingerprint": "y", "notes": []}'):
        entry.write_text(bad)
        assert len(open_dataset(str(faces))) == 8 and entry.read_text() == text
    watched = index.Watched({}, [])
    entry.write_text(text.replace(text[text.index('"state": "') + 10 :][:64], watched.state()[0]))
    assert len(open_dataset(str(faces))) == 8 and entry.read_text() == text


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    faces = lay_folder(tmp_path / "faces")
    digest = open.Manifest.fingerprint

    def slow(manifest: Any) -> str:
        result = digest(manifest)
        save(faces / "train/angry/0.png", (200, 200, 200))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(open.Manifest, "fingerprint", slow)
        before = open_dataset(str(faces)).fingerprint
    assert open_dataset(str(faces)).fingerprint != before and len(reads) == 2


def test_only_the_files_of_the_data_set_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_rafdb(tmp_path)
    open_dataset("rafdb", tmp_path)
    for number in range(50):
        (tmp_path / "imagenet" / str(number)).mkdir(parents=True)
    asked: list[Path] = []
    stat = index._stat
    monkeypatch.setattr(index, "_stat", lambda path: asked.append(path) or stat(path))
    open_dataset("rafdb", tmp_path)
    assert asked and all(path.is_relative_to(tmp_path / "rafdb") for path in asked) and len(asked) < 60


def test_a_cache_that_may_not_be_written_serves_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = lay_folder(tmp_path / "faces")
    before = open_dataset(str(faces))
    before.decode(16)
    copy = shutil.copytree(faces, tmp_path / "home" / "faces")  # the same data, of another user

    def refuse(path: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(index, "write_atomically", refuse)
    again = open_dataset(str(copy))
    assert again.fingerprint == before.fingerprint and (again.pixels(16) == before.pixels(16)).all()
    save(copy / "train/angry/0.png", (1, 1, 1))
    with pytest.raises(PermissionError):
        open_dataset(str(copy))


# --- the object ------------------------------------------------------------------------------------------------------


def test_a_data_set_decodes_its_images_when_they_are_asked_for(tmp_path: Path) -> None:
    faces = open_dataset(str(lay_folder(tmp_path / "faces")))
    assert not faces.pixel_file(8).exists
    assert faces.pixels(8).shape == (8, 3, 8, 8) and faces.pixels(8).dtype == np.uint8
    order = ["test/angry/0.png", "test/angry/1.png", "test/happy/0.png", "test/happy/1.png"]
    assert faces.ids[:4].tolist() == order
    assert faces.pixels(8)[:4, 1:, 0, 0].tolist() == [[20, 0], [20, 1], [30, 0], [30, 1]], "rows are sorted by id"


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    open_dataset(str(lay_folder(tmp_path / "faces"))).decode(8, lambda *event: told.append(event))
    assert told == [("decoding faces at 8 px", 8, 8)]


def test_a_copy_in_another_process_reads_for_itself(tmp_path: Path, reads: list[str]) -> None:
    faces = open_dataset(str(lay_folder(tmp_path / "faces")))
    there: Dataset = pickle.loads(pickle.dumps(faces))
    assert len(pickle.dumps(faces)) < 4000, "the files that were read stay here"
    assert (there.pixels(8) == faces.pixels(8)).all() and len(reads) == 2


def test_files_that_change_after_the_data_set_was_opened_are_an_error(tmp_path: Path) -> None:
    lay_folder(tmp_path / "faces")
    open_dataset(str(tmp_path / "faces"))
    faces = open_dataset(str(tmp_path / "faces"))
    save(tmp_path / "faces/train/angry/new.png")
    with pytest.raises(DataError, match="the files of faces were changed after it was opened"):
        faces.pixels(8)


def test_every_annotation_survives_the_cache(tmp_path: Path, reads: list[str]) -> None:
    lay_ferplus(tmp_path)
    first, second = open_dataset("ferplus", tmp_path), open_dataset("ferplus", tmp_path)
    assert len(reads) == 1 and {"votes", "human", "distribution"} < first.arrays().keys() == second.arrays().keys()
    for name, values in first.arrays().items():
        assert values.dtype == second.arrays()[name].dtype and np.array_equal(values, second.arrays()[name])
    assert ANNOTATIONS == ("landmarks", "landmarks_ok", "distribution", "votes", "human")


def test_unlabelled_images_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = lay_folder(tmp_path / "pool")
    first = open_unlabelled(pool)
    monkeypatch.setattr(index, "store", lambda *_: pytest.fail("it was read again"))
    assert open_unlabelled(pool).fingerprint == first.fingerprint and first.classes == ("face",)
