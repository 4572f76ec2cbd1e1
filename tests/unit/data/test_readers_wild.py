"""Known data sets as copies in circulation lay them out: other encodings, letters, separators and folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.readers import affectnet, expw, fer2013, sfew
from tests.helpers.layouts import save, write


def fer_text(header: str = "emotion,pixels,Usage", separator: str = ",") -> str:
    usages = ["Training"] * 7 + ["PublicTest"] + ["PrivateTest"]
    rows = [separator.join((str(n % 7), " ".join([str(n)] * 2304), usage)) for n, usage in enumerate(usages)]
    return "\n".join([header, *rows])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("header", "separator"),
    [("emotion,pixels,Usage", ","), ("Emotion, Pixels, usage", ","), ("emotion;pixels;Usage", ";")],
)
def test_fer2013_in_any_encoding_and_letters(tmp_path: Path, encoding: str, header: str, separator: str) -> None:
    path = write(tmp_path / "fer2013" / "fer2013.csv", "")
    path.write_text(fer_text(header, separator), encoding=encoding)
    label, split, frames = fer2013.load(path)
    assert label.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1] and split.tolist() == ["train"] * 7 + ["val", "test"]
    assert frames[:, 0, 0].tolist() == list(range(9))


def test_fer2013_as_its_archive_is_unpacked(tmp_path: Path) -> None:
    write(tmp_path / "fer2013" / "fer2013.tar.gz", "x")
    with pytest.raises(DataError, match=r"fer2013\.tar\.gz is there: unpack it"):
        fer2013.read(tmp_path)
    write(tmp_path / "fer2013" / "fer2013" / "fer2013.csv", fer_text())
    assert len(fer2013.read(tmp_path)) == 9


def test_a_folder_that_is_written_in_another_way_is_named(tmp_path: Path) -> None:
    save(tmp_path / "RAF-DB" / "0.png")
    with pytest.raises(DataError, match=r"rafdb does not exist \(RAF-DB is there\)"):
        open_manifest("rafdb", tmp_path)


@pytest.mark.parametrize("change", [str.lower, str.upper])
@pytest.mark.parametrize("between", ["", "{part}_Aligned_Faces"])
def test_sfew_in_any_letters(tmp_path: Path, change: Callable[[str], str], between: str) -> None:
    for part in ("Train", "Val"):
        for name in sfew.FOLDERS:
            save(tmp_path / "sfew" / change(part) / between.format(part=part) / change(name) / "0.png")
    manifest = sfew.read(tmp_path)
    assert len(manifest) == 14 and manifest.split.tolist() == ["train"] * 7 + ["test"] * 7


@pytest.mark.parametrize("folder", ["image/origin", "origin", "image", "images"])
def test_expw_with_its_images_elsewhere(tmp_path: Path, folder: str) -> None:
    save(tmp_path / "expw" / folder / "a.jpg", size=(20, 20))
    write(tmp_path / "expw" / "label.lst", "a.jpg 0 1 1 9 9 50.0 3\n")
    assert expw.read(tmp_path).ids.tolist() == ["a.jpg#0"]


@pytest.mark.parametrize(("train", "test"), [("train_set", "val_set"), ("train", "val"), ("train", "test")])
def test_affectnet_with_short_names_of_folders(tmp_path: Path, train: str, test: str) -> None:
    for part in (train, test):
        for number in range(8):
            save(tmp_path / "affectnet" / part / "images" / f"{number}.jpg", (number, 0, 0))
            mark = tmp_path / "affectnet" / part / "annotations" / f"{number}_exp.npy"
            mark.parent.mkdir(exist_ok=True)
            np.save(mark, str(number))
    manifest = affectnet.read(tmp_path)
    assert manifest.label.tolist() == [*range(8), *range(8)] and manifest.ids[0] == f"{train}/0.jpg"
    shutil.rmtree(tmp_path / "affectnet" / train)
    with pytest.raises(DataError, match=r"training\.csv does not exist"):
        affectnet.read(tmp_path)


def test_landmarks_in_a_list_without_a_header_are_no_columns(tmp_path: Path) -> None:
    base = tmp_path / "affectnet"
    for number, name in enumerate(("training", "validation")):
        save(base / "Manually_Annotated_Images" / "1" / f"{number}.jpg")
        points = ";".join(["1.5"] * 136)
        write(base / f"{name}.csv", f"1/{number}.jpg,0,0,8,8,{points},{number},0.1,0.1\n")
    assert affectnet.read(tmp_path).label.tolist() == [0, 1]
