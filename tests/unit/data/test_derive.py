"""Derived test splits: who is in an image, which names and folders say so, and splits that keep people apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError, SpecError
from fer_bench.core.spec import RunSpec
from fer_bench.data.catalog import open_manifest
from fer_bench.data.check import check
from fer_bench.data.dataset import Manifest
from fer_bench.data.open import open_dataset
from fer_bench.data.options import ReadOptions
from fer_bench.data.splits import make_splits
from tests.helpers.layouts import save, write

CLASSES = ("anger", "happiness", "sadness")


def lay(root: Path, name: str, people: int = 16, frames: int = 3) -> Path:
    """A folder by class with ``frames`` images of everybody; ``name`` has {person} and {frame}."""
    for at, kind in enumerate(CLASSES):
        for person in range(people):
            for frame in range(frames):
                path = root / kind / name.format(person=person, frame=frame)
                save(path, (at, person, frame))
    return root


def apart(manifest: Manifest) -> bool:
    """Whether no group is in train and in test."""
    assert manifest.group is not None
    train, test = (set(manifest.group[manifest.split == split]) for split in ("train", "test"))
    return bool(train) and bool(test) and train.isdisjoint(test)


@pytest.mark.parametrize(
    ("name", "person", "said"),
    [
        ("S{person:03d}_001_0000001{frame}.png", "S003", "CK+"),
        ("S{person:03d}_001_0000001{frame}_flipped.png", "S003", "CK+"),
        ("A{{person}}.AN{frame}.39.png", "AD", "JAFFE"),
        ("AF{person:02d}AN{{frame}}.png", "F03", "KDEF"),
        ("Rafd090_{person:02d}_Caucasian_female_angry_{frame}.png", "03", "RaFD"),
        ("Anna_Maria_Nr{{person}}_000{frame}.png", "Anna_Maria_NrD", "LFW"),
        ("S{person:03d}/{frame}.png", "S003", "sub-folders"),
        ("{person}/clip/{frame}.png", "3", "sub-folders"),
    ],
)
def test_people_are_known_by_names_of_files_and_by_folders(tmp_path: Path, name: str, person: str, said: str) -> None:
    letters = "ABCDEFGHIJKLMNOP"
    for at, kind in enumerate(CLASSES):
        for number in range(16):
            for frame in range(3):
                written = name.replace("{{person}}", letters[number]).replace("{{frame}}", ("S", "HL", "FR")[frame])
                save(tmp_path / kind / written.format(person=number, frame=frame), (at, number, frame))
    manifest = open_manifest(tmp_path)
    assert apart(manifest) and person in manifest.group and len(set(manifest.group)) == 16  # type: ignore[operator,arg-type]
    assert manifest.split_source == "derived by group"
    counts = np.bincount(manifest.label[manifest.split == "test"])
    assert counts.tolist() == [9, 9, 9], "three of sixteen people"
    assert said in manifest.assumed[0] and manifest.assumed[1].startswith("no test split: 27 of 144 images are taken")


def test_names_that_say_nothing_give_a_split_by_class(tmp_path: Path) -> None:
    manifest = open_manifest(lay(tmp_path, "{person}-{frame}.png"))
    assert manifest.group is None and manifest.split_source == "derived"
    assert manifest.assumed == ("no test split: 30 of 144 images are taken for it, a fifth of each class",)


def test_an_expression_or_nothing_can_be_asked_for(tmp_path: Path) -> None:
    lay(tmp_path, "{person}-{frame}.png")
    manifest = open_manifest(tmp_path, options=ReadOptions(group_by=r"/(\d+)-"))
    assert apart(manifest) and set(manifest.group) == {str(n) for n in range(16)}  # type: ignore[arg-type]
    lay(tmp_path / "ck", "S{person:03d}_001_0000001{frame}.png")
    assert open_manifest(tmp_path / "ck", options=ReadOptions(group_by="none")).group is None
    for regex, message in (("(", "neither a column nor a regular expression"), ("zzz", "no column, and no id such as")):
        with pytest.raises(SpecError, match=message):
            open_manifest(tmp_path / "ck", options=ReadOptions(group_by=regex))
    with pytest.raises(DataError, match=r"cannot be divided by --group-by \[\.\]png: there is only 1"):
        open_manifest(tmp_path / "ck", options=ReadOptions(group_by="[.]png"))
    with pytest.raises(SpecError, match="--group-by: synthetic is not a table of your own"):
        open_manifest("synthetic", options=ReadOptions(group_by="x"))


def table(root: Path, group: str, who: list[object]) -> Path:
    """A table with a column of groups; three classes take turns every ten rows."""
    rows = []
    for row, name in enumerate(who):
        image = f"{row}.png"
        save(root / "pictures" / image, (row % 250, row // 250, 7))
        rows.append(f"{name},{image},{CLASSES[row // 10 % 3]}")
    return write(root / "mine.csv", "\n".join([f"{group},image,emotion", *rows]))


def test_a_column_keeps_people_apart(tmp_path: Path) -> None:
    path = table(tmp_path, "user.id", [row % 30 for row in range(300)])
    manifest = open_manifest(path)
    assert apart(manifest) and np.bincount(manifest.label[manifest.split == "test"]).tolist() == [20, 20, 20]
    assert "columns: path = 'image'; label = 'emotion'; group = 'user.id'" in manifest.assumed
    assert manifest.assumed[-1] == "no test split: 60 of 300 images are taken for it, 6 of 30 groups"


@pytest.mark.parametrize("who", [[628] * 300, [628] * 270 + [row % 8 for row in range(30)]])
def test_a_column_of_few_people_is_not_used_and_that_is_said(tmp_path: Path, who: list[object]) -> None:
    manifest = open_manifest(table(tmp_path, "user.id", who))
    assert manifest.group is None and (manifest.split == "test").sum() == 60
    assert "the column of groups not used to keep images of one person together: " in manifest.assumed[-2]
    asked = ReadOptions(group_by="user.id")
    if len(set(who)) > 1:
        assert apart(open_manifest(tmp_path / "mine.csv", options=asked)), "as it is asked for"
    else:
        with pytest.raises(DataError, match="cannot be divided by the column of groups: there is only 1"):
            open_manifest(tmp_path / "mine.csv", options=asked)


def test_names_of_files_serve_where_the_column_does_not(tmp_path: Path) -> None:
    """In a well-known list the users are those who labelled the faces, and the files are called after the people."""
    rows = []
    for row in range(300):
        image = f"Bob_{'XYZ'[row % 3] * (row // 3 % 10 + 1)}_{row:04d}.png"
        save(tmp_path / "pictures" / image, (row % 250, row // 250, 7))
        rows.append(f"628,{image},{CLASSES[row // 10 % 3]}")
    manifest = open_manifest(write(tmp_path / "mine.csv", "\n".join(["user.id,image,emotion", *rows])))
    assert apart(manifest) and len(set(manifest.group)) == 30  # type: ignore[arg-type]
    assert "LFW" in manifest.assumed[-2]


def test_official_splits_stay_and_people_on_both_sides_are_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lay(tmp_path / split, "S{person:03d}_001_0000001{frame}.png", people=8)
    manifest = open_manifest(tmp_path)
    assert manifest.split_source == "official" and (manifest.split == "test").sum() == 72
    report = check(manifest)
    assert report.shared == tuple(f"S{n:03d}" for n in range(8))
    assert "groups in train and in test: 8, such as S000, S001, S002" in report.warnings


def test_the_hold_out_keeps_people_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    dataset = open_dataset(str(lay(tmp_path / "ck", "S{person:03d}_001_0000001{frame}.png", people=30)))
    again = open_dataset(str(tmp_path / "ck"))
    assert again.split_source == "derived by group" and again.assumed == dataset.assumed
    assert again.group is not None and dataset.group is not None and again.group.tolist() == dataset.group.tolist()
    splits = make_splits(dataset, RunSpec("ck", "f" * 64, "m", "c", {}))
    parts = [set(dataset.group[rows]) for rows in (splits.train, splits.val, splits.test)]
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and not parts[0] & parts[2] and all(parts)
    other = open_dataset(str(tmp_path / "ck"), None, ReadOptions(group_by="none"))
    assert other.group is None and other.fingerprint != dataset.fingerprint
