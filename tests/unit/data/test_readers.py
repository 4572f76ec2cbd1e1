"""Readers, decoding and the catalogue, on tiny copies of each official layout."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_bench.core.errors import DataError
from fer_bench.data import catalog
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import EMOTIONS, class_name
from fer_bench.data.readers import affectnet, expw, fer2013, ferplus, rafdb, sfew, table
from fer_bench.data.sources import ArraySource, FileSource, decode
from tests.helpers.layouts import (
    USAGES,
    VOTES,
    lay_affectnet,
    lay_affectnet_folders,
    lay_expw,
    lay_fer2013,
    lay_ferplus,
    lay_rafdb,
    lay_sfew,
    save,
    save_numbered,
    write,
)

BASIC = set(EMOTIONS[:7])


def labels_by_id(manifest: Manifest) -> dict[str, str]:
    return {str(name): manifest.classes[label] for name, label in zip(manifest.ids, manifest.label, strict=True)}


# --- readers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "list_folder"), [("rafdb", "EmoLabel"), ("rafdb", "."), ("rafdb/basic", "EmoLabel")])
def test_rafdb(tmp_path: Path, base: str, list_folder: str) -> None:
    lay_rafdb(tmp_path, base, list_folder)
    manifest = rafdb.read(tmp_path)
    assert manifest.classes == ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    assert labels_by_id(manifest)["train_00004.jpg"] == "happiness"
    assert manifest.split.tolist() == ["train"] * 7 + ["test"]
    assert manifest.source.pixels([0, 7], 4).shape == (2, 3, 4, 4)
    assert manifest.expected == {"train": 12_271, "test": 3_068}


def test_rafdb_images_of_another_format(tmp_path: Path) -> None:
    lay_rafdb(tmp_path)
    for path in (tmp_path / "rafdb/Image/aligned").iterdir():
        path.unlink()
        save(path.with_suffix(".png"))
    (tmp_path / "rafdb/Image/aligned").rename(tmp_path / "rafdb/aligned")
    assert labels_by_id(rafdb.read(tmp_path))["train_00004.jpg"] == "happiness"


def test_rafdb_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rafdb does not exist(?s:.*)EmoLabel/list_patition_label\.txt"):
        rafdb.read(tmp_path)
    lay_rafdb(tmp_path)
    (tmp_path / "rafdb/Image/aligned/train_00003_aligned.jpg").unlink()
    with pytest.raises(DataError, match=r"train_00003_aligned\.jpg does not exist \(1 of 8 listed"):
        rafdb.read(tmp_path)
    listed = tmp_path / "rafdb/EmoLabel/list_patition_label.txt"
    for bad in ("train_00001.jpg 8", "train_00001.jpg 12", "train_00001.jpg", "other_1.jpg 3"):
        write(listed, f"train_00002.jpg 1\n{bad}\n")
        with pytest.raises(DataError, match="line 2: expected"):
            rafdb.read(tmp_path)
    write(listed, "train_00001.jpg 1\ntrain_00001.jpg 2\n")
    with pytest.raises(DataError, match=r"1 ids appear more than once, first 'train_00001\.jpg'"):
        rafdb.read(tmp_path)


RAF_LISTS = {
    "aligned names": ("{stem}_aligned.jpg {label}", "{stem}_aligned.jpg", "list_patition_label.txt", "\n"),
    "a third column": ("{stem}.jpg {label} 1", "{stem}_aligned.jpg", "list_patition_label.txt", "\n"),
    "the other spelling": ("{stem}.jpg {label}", "{stem}_aligned.jpg", "list_partition_label.txt", "\n"),
    "tabs": ("{stem}.jpg\t{label}", "{stem}_aligned.jpg", "list_patition_label.txt", "\r\n"),
    "images without _aligned": ("{stem}.jpg {label}", "{stem}.jpg", "list_patition_label.txt", "\n"),
    "both": ("{stem}_aligned.jpg {label}", "{stem}.jpg", "list_patition_label.txt", "\n"),
    "commas": ("{stem}.jpg,{label}", "{stem}_aligned.jpg", "list_patition_label.txt", "\n"),
    "Windows paths": (
        "Image\\aligned\\{stem}_aligned.jpg {label}",
        "{stem}_aligned.jpg",
        "list_patition_label.txt",
        "\n",
    ),
    "no suffix": ("{stem} {label}", "{stem}_aligned.jpg", "list_patition_label.txt", "\n"),
}


@pytest.mark.parametrize("kind", RAF_LISTS)
def test_rafdb_lists_as_they_circulate(tmp_path: Path, kind: str) -> None:
    line, image, name, end = RAF_LISTS[kind]
    stems = [f"train_{i:05d}" for i in range(1, 8)] + ["test_0001"]
    lines = [line.format(stem=stem, label=i % 7 + 1) + end for i, stem in enumerate(stems)]
    write(tmp_path / "other" / "rafdb" / "EmoLabel" / name, "".join(lines))
    for number, stem in enumerate(stems):
        save(tmp_path / "other" / "rafdb" / "Image" / "aligned" / image.format(stem=stem), (number, 0, 0))
        save(tmp_path / "rafdb" / "Image" / "aligned" / f"{stem}_aligned.jpg", (number, 0, 0))
    plain = "".join(f"{stem}.jpg {i % 7 + 1}\n" for i, stem in enumerate(stems))
    write(tmp_path / "rafdb" / "EmoLabel" / "list_patition_label.txt", plain)
    assert rafdb.read(tmp_path / "other").fingerprint() == rafdb.read(tmp_path).fingerprint()


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "\ufeffemotion, pixels, Usage"])
def test_fer2013(tmp_path: Path, header: str) -> None:
    lay_fer2013(tmp_path, header)
    manifest = fer2013.read(tmp_path)
    assert [manifest.classes[label] for label in manifest.label] == [
        "anger", "disgust", "fear", "happiness", "sadness", "neutral",
    ]  # fmt: skip
    assert manifest.split.tolist() == ["train"] * 3 + ["val"] * 2 + ["test"]
    assert manifest.source.pixels([1, 3], 48)[:, :, 0, 0].tolist() == [[40] * 3, [120] * 3]
    assert manifest.expected == {"train": 28_709, "val": 3_589, "test": 3_589}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Usage\n", "Use\n", "no column 'Usage'; found emotion, pixels, Use"),
        ("PrivateTest", "Private", r"data row 5: unknown Usage 'Private'"),
        ("\n4,", "\nsad,", "data row 4: emotion is 'sad', not a whole number"),
        ("\n6,", "\n7,", "must hold 0 to 6, found 0 to 7"),
        ("40 40,Tr", "40,Tr", "data row 1: not 2304 pixels of 0 to 255 but 2303 values"),
        ("40 40,Tr", "40 400,Tr", "data row 1: not 2304 pixels of 0 to 255"),
        ("40 40,Tr", "40 x,Tr", "data row 1: pixels hold something that is not a number"),
    ],
)
def test_fer2013_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = lay_fer2013(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        fer2013.read(tmp_path)


def test_fer2013_files_as_they_circulate(tmp_path: Path) -> None:
    path = lay_fer2013(tmp_path)
    wanted = fer2013.read(tmp_path).fingerprint()
    text = path.read_text()
    icml = path.rename(path.with_name("icml_face_data.csv"))
    columns = [line.split(",") for line in text.splitlines()]
    icml.write_text("\n".join(f"{emotion}, {usage}, {pixels}" for emotion, pixels, usage in columns))
    assert fer2013.read(tmp_path).fingerprint() == wanted
    icml.rename(path.with_name("train.csv"))
    with pytest.raises(DataError, match=r"fer2013\.csv does not exist \(train\.csv is there\)"):
        fer2013.read(tmp_path)
    path.write_text("\n".join(text.splitlines()[1:]))
    with pytest.raises(DataError, match=r"the file has no header; its first line must be emotion,pixels,Usage$"):
        fer2013.read(tmp_path)
    path.write_text(text)
    with pytest.raises(DataError, match=r"this is the csv file of FER2013: use --dataset fer2013 --data-root "):
        catalog.open_manifest(path)


@pytest.mark.parametrize("place", ["ferplus/fer2013new.csv", "fer2013new.csv"])
@pytest.mark.parametrize("classes", [7, 8])
def test_ferplus_majority(tmp_path: Path, place: str, classes: int) -> None:
    lay_ferplus(tmp_path, place)
    manifest = ferplus.read(tmp_path, classes)
    wanted = {fer2013.row_id(row): name for row, (_, name) in enumerate(VOTES) if name in EMOTIONS[:classes]}
    assert labels_by_id(manifest) == wanted
    assert manifest.votes is not None and manifest.distribution is not None and manifest.human is not None
    assert manifest.votes.tolist() == [votes[:classes] for votes, name in VOTES if name in EMOTIONS[:classes]]
    assert manifest.distribution.sum(axis=1) == pytest.approx(1)
    fear = len(manifest) - 1
    assert manifest.distribution[fear, 6] == pytest.approx(6 / (8 if classes == 7 else 10))
    originals = [manifest.classes[label] for label in manifest.human]
    assert originals == (["anger", "neutral"] if classes == 7 else ["anger", "fear", "neutral"])
    assert manifest.source.pixels([fear], 48)[0, 0, 0, 0] == 200  # the pixels of the row that was kept


def test_ferplus_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fer2013\.csv does not exist"):
        ferplus.read(tmp_path)
    lay_fer2013(tmp_path)
    with pytest.raises(DataError, match=r"ferplus/fer2013new\.csv does not exist"):
        ferplus.read(tmp_path)
    lay_ferplus(tmp_path, usages=USAGES[::-1])
    with pytest.raises(DataError, match="must list the same faces"):
        ferplus.read(tmp_path)


@pytest.mark.parametrize("classes", [7, 8])
def test_affectnet_lists(tmp_path: Path, classes: int) -> None:
    lay_affectnet(tmp_path, boxes=True)
    manifest = affectnet.read(tmp_path, classes)
    names = ["neutral", "anger", "contempt", "happiness", "contempt"]
    assert list(labels_by_id(manifest).values()) == [n for n in names if classes == 8 or n != "contempt"]
    assert manifest.split.tolist() == (["train"] * 2 + ["test"] if classes == 7 else ["train"] * 3 + ["test"] * 2)
    assert isinstance(manifest.source, FileSource) and manifest.source.boxes is not None
    assert manifest.source.boxes[0].tolist() == [2, 1, 6, 6]
    assert manifest.expected == {}


@pytest.mark.parametrize("released", [True, False], ids=["nine columns", "two columns"])
@pytest.mark.parametrize("names", [("validation.csv",), ("training.csv", "validation.csv")], ids=len)
def test_affectnet_lists_without_a_header(names: tuple[str, ...], released: bool, tmp_path: Path) -> None:
    """They are read as those with one, and it is said which columns are taken for what."""
    lay_affectnet(tmp_path, boxes=released)
    with_header = affectnet.read(tmp_path, 8)
    for name in names:
        path = tmp_path / "affectnet" / name
        rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
        full = [[image, *box, "1;2", label, "0.5", "-0.5"] for image, label, *box in rows]
        path.write_text("\n".join(",".join(row) for row in (full if released else rows)))
    found = affectnet.read(tmp_path, 8)
    assert labels_by_id(found) == labels_by_id(with_header) and found.ids.tolist() == with_header.ids.tolist()
    if released and isinstance(found.source, FileSource) and isinstance(with_header.source, FileSource):
        assert np.array_equal(found.source.boxes, with_header.source.boxes)
    assert len(found.notes) == len(names) and with_header.notes == ()
    assert all("has no header; its columns are read as subDirectory_filePath," in note for note in found.notes)


def test_affectnet_lists_without_a_header_and_with_other_columns_are_refused(tmp_path: Path) -> None:
    lay_affectnet(tmp_path)
    (tmp_path / "affectnet" / "training.csv").write_text("0/a.jpg,1,2\n")
    with pytest.raises(DataError, match=r"training\.csv: no header, and 3 columns.*the 9 of the release, subDirectory"):
        affectnet.read(tmp_path, 8)


def test_affectnet_folders(tmp_path: Path) -> None:
    lay_affectnet_folders(tmp_path)
    assert labels_by_id(affectnet.read(tmp_path, 8)) == {
        "train_set/0.jpg": "neutral", "train_set/1.jpg": "contempt", "val_set/0.jpg": "surprise",
    }  # fmt: skip
    assert len(affectnet.read(tmp_path, 7)) == 2
    write(tmp_path / "affectnet/val_set/annotations/0_exp.npy", "?")
    with pytest.raises(DataError, match=r"0_exp\.npy: does not hold one expression number"):
        affectnet.read(tmp_path)
    (tmp_path / "affectnet/val_set/annotations/0_exp.npy").unlink()
    with pytest.raises(DataError, match=r"0_exp\.npy does not exist"):
        affectnet.read(tmp_path)


@pytest.mark.parametrize("place", ["label.lst", "label/label.lst"])
def test_expw(tmp_path: Path, place: str) -> None:
    path = lay_expw(tmp_path, place=place)
    manifest = expw.read(tmp_path)
    sides = {str(name): str(split) for name, split in zip(manifest.ids, manifest.split, strict=True)}
    assert set(sides.values()) == {"train", "test"}
    assert all(sides[f"face_{n}.jpg#0"] == sides[f"face_{n}.jpg#1"] for n in range(40))
    assert isinstance(manifest.source, FileSource) and manifest.source.boxes is not None
    assert manifest.source.boxes[:2].tolist() == [[4, 2, 8, 6], [12, 2, 16, 6]]  # left, top, right, bottom
    write(path, "\n".join(reversed(path.read_text().splitlines())))
    again = expw.read(tmp_path)
    assert {str(n): str(s) for n, s in zip(again.ids, again.split, strict=True)} == sides
    assert again.fingerprint() == manifest.fingerprint()


def test_expw_says_what_is_wrong(tmp_path: Path) -> None:
    path = lay_expw(tmp_path, 1)
    for bad in ("face_0.jpg 0 2 4 8 6 52.3", "face_0.jpg 0 2 4 8 6 52.3 7", "face_0.jpg 0 2 4 8 x 52.3 1"):
        write(path, bad)
        with pytest.raises(DataError, match=r"label\.lst, line 1: .*expected <root>/expw/label\.lst"):
            expw.read(tmp_path)


def test_sfew(tmp_path: Path) -> None:
    lay_sfew(tmp_path)
    manifest = sfew.read(tmp_path)
    assert len(manifest) == 14 and set(manifest.split) == {"train", "test"}
    assert labels_by_id(manifest)["Val/Happy/a.png"] == "happiness"
    (tmp_path / "sfew/Val/Sad/a.png").unlink()
    (tmp_path / "sfew/Val/Sad").rmdir()
    with pytest.raises(DataError, match=r"sfew/Val/Sad does not exist(?s:.*)labels are not public"):
        sfew.read(tmp_path)


def test_names_agree_between_data_sets() -> None:
    for entry in catalog.DATASETS.values():
        assert set(entry.classes) - {"contempt"} == BASIC, entry.name
    assert [class_name(name) for name in (" Happy", "ANGRY", "Fear", "Joy")] == ["happiness", "anger", "fear", "Joy"]


# --- any table -----------------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    save_numbered(tmp_path / "faces", 3)
    return tmp_path


def test_table_csv(faces: Path) -> None:
    text = (
        "\ufeffpath,label, split,landmarks\r\n"
        'faces/0.png,sad,train,"[[0.1, 0.2], [0.3, 0.4]]"\r\n'
        "faces\\1.png,Happy,TEST,\r\n"
        'faces/2.png,N,val,"[[0, 1], [1, 0]]"\r\n'
    )
    (faces / "mine.csv").write_bytes(text.encode())
    manifest = table.read(faces / "mine.csv")
    assert manifest.name == "mine"
    assert manifest.classes == ("N", "happiness", "sadness")
    assert labels_by_id(manifest) == {"faces/0.png": "sadness", "faces/1.png": "happiness", "faces/2.png": "N"}
    assert manifest.split.tolist() == ["train", "test", "val"]
    assert manifest.landmarks is not None and manifest.landmarks_ok is not None
    assert manifest.landmarks[0] == pytest.approx(np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert manifest.landmarks_ok.tolist() == [True, False, True]
    assert manifest.source.pixels([1], 2)[0, 0, 0, 0] == 1


def test_table_parquet(faces: Path) -> None:
    pd.DataFrame(
        {
            "path": ["faces/0.png", "faces/1.png", "faces/2.png"],
            "label": [10, 9, 10],
            "split": ["train", "train", "test"],
            "id": [7, 8, 9],
            "landmarks": [[[0.5, 0.5]], None, [[0.25, 0.75]]],
        }
    ).to_parquet(faces / "mine.parquet")
    manifest = table.read(faces / "mine.parquet")
    assert manifest.classes == ("9", "10")  # by value, not by spelling
    assert manifest.ids.tolist() == ["7", "8", "9"]
    assert manifest.landmarks_ok is not None and manifest.landmarks_ok.tolist() == [True, False, True]


HEAD = "path,label,split"
A, B = "\nfaces/0.png,a,train", "\nfaces/1.png,b,test"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"path,lable,split{A}", r"no column 'label'; found path, lable, split \(did you mean 'lable'\?"),
        (HEAD, "holds no rows"),
        (f"{HEAD}{A}\nfaces/1.png,b,dev", "row 2: unknown split 'dev', not one of train, val, test"),
        (f"{HEAD}{A}\nfaces/1.png,b,val", "no row has split 'test'"),
        (f"{HEAD}{A}\nfaces/9.png,b,test", r"faces/9\.png does not exist \(1 of 2"),
        (f"{HEAD}{A}\nfaces/0.png,b,test", r"row 2: 'faces/0\.png' appears more than once, in test and in train"),
        (f"{HEAD},landmarks{A},[[1{B},", "row 1: landmarks are no JSON list"),
        (f'{HEAD},landmarks{A},"[1, 2]"{B},', r"row 1: landmarks must be a list of \[x, y\] pairs"),
        (f"{HEAD},landmarks{A},5{B},", r"row 1: landmarks must be a list of \[x, y\] pairs"),
        (f'{HEAD},landmarks{A},"[[1, 2, 3]]"{B},', r"row 1: landmarks must be a list of finite \[x, y\] pairs"),
        (f'{HEAD},landmarks{A},"[[12, 30]]"{B},', "row 1: landmarks must be fractions"),
        (f'{HEAD},landmarks{A},"[[0, 0]]"{B},"[[0, 0], [1, 1]]"', "number of landmarks, found 1 in row 1, 2 in row 2"),
    ],
)
def test_table_says_what_is_wrong(faces: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table.read(write(faces / "mine.csv", text))


def test_the_images_of_a_table_may_lie_under_the_data_root(faces: Path) -> None:
    text = "path,label,split\nfaces/0.png,a,Training\n.\\faces\\1.png,b,PublicTest\nfaces/2.png,b,PrivateTest\n"
    path = write(faces / "lists" / "mine.csv", text)
    manifest = table.read(path, faces)
    assert manifest.ids.tolist() == [f"faces/{n}.png" for n in range(3)]
    assert manifest.split.tolist() == ["train", "val", "test"]
    save(faces / "lists" / "faces" / "0.png", (200, 0, 0))
    assert table.read(path, faces).source.pixels([0], 2)[0, 0, 0, 0] == 200, "beside the table comes first"
    with pytest.raises(DataError, match=r"lists/faces/1\.png does not exist \(2 of 3"):
        table.read(path)


def test_table_that_is_none(faces: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.parquet: cannot be read as a table"):
        table.read(write(faces / "mine.parquet", "no parquet"))
    with pytest.raises(DataError, match=r"other\.csv does not exist"):
        table.read(faces / "other.csv")


# --- catalogue -----------------------------------------------------------------------------------------------------


def test_open_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_rafdb(tmp_path)
    lay_ferplus(tmp_path)
    lay_affectnet(tmp_path)
    lay_expw(tmp_path, 3)
    lay_sfew(tmp_path)
    for name, entry in catalog.DATASETS.items():
        if not entry.drawn:
            manifest = catalog.open_manifest(name, tmp_path)
            assert (manifest.name, manifest.classes) == (name, entry.classes)
            assert manifest.expected == entry.expected
            assert entry.layout and entry.where and entry.title
    monkeypatch.setenv("FER_BENCH_DATA", str(tmp_path))
    assert len(catalog.open_manifest("sfew")) == 14
    monkeypatch.delenv("FER_BENCH_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^data/sfew does not exist; did you mean \./sfew\? .* --data-root \."):
        catalog.open_manifest("sfew")
    assert len(catalog.open_manifest("sfew", Path())) == 14


def test_a_folder_of_classes_called_like_a_known_set_is_hinted_at(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / "rafdb" / part / "1" / "a.jpg")
    with pytest.raises(
        DataError, match=r"EmoLabel/list_patition_label\.txt does not exist(?s:.*)use --dataset .*/rafdb$"
    ):
        catalog.open_manifest("rafdb", tmp_path)


def test_open_by_path(faces: Path) -> None:
    write(faces / "manifest.csv", "path,label,split\nfaces/0.png,a,train\nfaces/1.png,a,test")
    assert catalog.open_manifest(faces).ids.tolist() == ["faces/0.png", "faces/1.png"]
    assert len(catalog.open_manifest(str(faces / "manifest.csv"))) == 2
    write(faces / "manifest.parquet", "")
    with pytest.raises(DataError, match=r"holds both manifest\.csv and manifest\.parquet"):
        catalog.open_manifest(faces)
    with pytest.raises(DataError, match=r"a data set is a folder or a table \(\.csv, "):
        catalog.open_manifest(faces / "faces" / "0.png")
    (faces / "manifest.csv").unlink()
    (faces / "manifest.parquet").unlink()
    assert catalog.open_manifest(faces).classes == ("faces",)


def test_unknown_name() -> None:
    with pytest.raises(DataError, match=r"no data set or path 'RAF-DB': did you mean rafdb\? Known names: synthetic"):
        catalog.open_manifest("RAF-DB")
    with pytest.raises(DataError, match="did you mean ferplus"):
        catalog.find("fer-plus")
    assert catalog.find("expw").title.startswith("ExpW")


def test_synthetic_needs_no_root() -> None:
    assert catalog.open_manifest("synthetic").name == "synthetic"


def test_the_catalogue_imports_no_reader_before_it_is_asked() -> None:
    code = "import sys, fer_bench.data.catalog; print([m for m in sys.modules if 'readers' in m or 'synthetic' in m])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


# --- decoding ------------------------------------------------------------------------------------------------------


ODD: dict[str, tuple[str, Callable[[], Image.Image], tuple[int, int, int]]] = {
    "grey": (".png", lambda: Image.new("L", (5, 9), 100), (100, 100, 100)),
    "bilevel": (".png", lambda: Image.new("1", (5, 9), 1), (255, 255, 255)),
    "grey and alpha": (".png", lambda: Image.new("LA", (5, 9), (200, 0)), (0, 0, 0)),
    "opaque": (".png", lambda: Image.new("RGBA", (5, 9), (1, 2, 3, 255)), (1, 2, 3)),
    "half transparent": (".webp", lambda: Image.new("RGBA", (5, 9), (200, 100, 50, 51)), (40, 20, 10)),
    "palette": (".png", lambda: Image.new("RGB", (5, 9), (9, 8, 7)).quantize(4), (9, 8, 7)),
    "16 bit": (".png", lambda: Image.fromarray(np.full((9, 5), 257 * 100, dtype=np.uint16)), (100, 100, 100)),
    "16 bit tiff": (".tiff", lambda: Image.fromarray(np.full((9, 5), 65535, dtype=np.uint16)), (255, 255, 255)),
    "cmyk": (".jpg", lambda: Image.new("CMYK", (5, 9), (0, 255, 255, 0)), (255, 0, 0)),
    "one pixel": (".bmp", lambda: Image.new("RGB", (1, 1), (5, 6, 7)), (5, 6, 7)),
}


@pytest.mark.parametrize("kind", ODD)
def test_decodes_any_image(tmp_path: Path, kind: str) -> None:
    suffix, make, colour = ODD[kind]
    path = tmp_path / f"image{suffix}"
    make().save(path, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    pixels = decode(path, 7)
    assert pixels.shape == (3, 7, 7) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.array(colour)[:, None, None]).max() <= 1


def test_palette_transparency_is_black(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 250, 250, 250])
    image.save(tmp_path / "p.png", transparency=1)
    assert not decode(tmp_path / "p.png", 4).any()


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    frame = np.zeros((8, 8, 3), dtype=np.uint8)
    frame[:4] = 255  # bright on top as stored
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(frame).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    upright = decode(tmp_path / "turned.jpg", 8)
    assert upright[:, :3].max() < 30 and upright[:, 5:].min() > 225


def test_shrinking_antialiases(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    assert np.abs(decode(tmp_path / "board.png", 8).astype(int) - 127).max() <= 2


def test_boxes_crop_and_are_part_of_the_content(tmp_path: Path) -> None:
    frame = np.zeros((10, 10, 3), dtype=np.uint8)
    frame[2:6, 4:8] = 200
    Image.fromarray(frame).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    source = FileSource([path] * 3, np.array([[4, 2, 8, 6], [-5, -5, 4, 2], [20, 20, 30, 30]]))
    assert (source.pixels([0], 4) == 200).all()
    assert not source.pixels([1], 4).any()
    with pytest.raises(DataError, match=r"a\.png: the face box \(20, 20, 30, 30\) has no pixel of the 10x10 image"):
        source.pixels([2], 4)
    assert len({*source.digest([0, 1]), *FileSource([path]).digest([0])}) == 3
    assert FileSource([path]).digest([0]) == [hashlib.sha256(path.read_bytes()).digest()]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png", ".webp"):
        whole = tmp_path / f"whole{suffix}"
        Image.fromarray(noise).save(whole)
        (tmp_path / f"half{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"half\{suffix}: cannot be decoded \("):
            decode(tmp_path / f"half{suffix}", 8)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg: the file is empty \(0 bytes\)"):
        decode(tmp_path / "empty.jpg", 8)
    write(tmp_path / "text.jpg", "<html>not found</html>")
    with pytest.raises(DataError, match=r"text\.jpg: cannot be decoded \(UnidentifiedImageError"):
        decode(tmp_path / "text.jpg", 8)
    with pytest.raises(DataError, match=r"gone\.jpg: no such image file"):
        decode(tmp_path / "gone.jpg", 8)
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read"):
        FileSource([tmp_path / "gone.jpg"]).digest([0])
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(DataError, match=r"float\.tiff: 32-bit pixels"):
        decode(tmp_path / "float.tiff", 8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [3000, 1000])  # Pillow itself only warns of the first and refuses the second
def test_huge_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    message = r"huge\.png: (64x64 pixels is|its pixels are) over the limit"
    with pytest.raises(DataError, match=message):
        decode(tmp_path / "huge.png", 8)


def test_frames_in_memory() -> None:
    grey = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    square = ArraySource(grey[:, :, :4])
    assert (square.pixels([1], 4)[0] == grey[1, :, :4]).all()
    assert ArraySource(grey).pixels([0, 1], 3).shape == (2, 3, 3, 3)
    colour = np.stack([grey[:, :, :4]] * 3, axis=-1)
    colour[..., 0] = 0
    assert not ArraySource(colour).pixels([0, 1], 4)[:, 0].any()
    assert ArraySource(grey).digest([0]) != ArraySource(grey).digest([1])
    for bad in (grey.astype(np.float32), grey[0], colour[..., :2]):
        with pytest.raises(DataError, match="frames must be uint8"):
            ArraySource(bad)


# --- the real files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official files of FER2013 and FERPlus where this checkout has access to them."""
    given = os.environ.get("FER_BENCH_DATA")
    if given and (Path(given) / "fer2013" / "fer2013.csv").is_file():
        return Path(given)
    script = Path(__file__).parents[4] / "shared" / "data" / "lay_out.py"
    if not script.is_file():
        pytest.skip("FER2013 is not here: set FER_BENCH_DATA to a folder with fer2013/ and ferplus/")
    root = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, str(script), str(root)], check=True)
    return root


@pytest.mark.slow
def test_real_counts(real_faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = fer2013.load(real_faces / "fer2013" / "fer2013.csv")
    monkeypatch.setattr(fer2013, "load", lambda _: once)  # a hundred megabytes of text
    for manifest in (fer2013.read(real_faces), ferplus.read(real_faces, 8), ferplus.read(real_faces, 7)):
        assert {split: len(manifest.rows(split)) for split in manifest.expected} == manifest.expected
    # the last one has 7 classes: real label noise of the training images under the official majority rule
    train = manifest.rows("train")
    assert manifest.human is not None
    assert (manifest.human[train] != manifest.label[train]).mean() == pytest.approx(0.3196, abs=5e-4)
    assert manifest.human.min() >= 0


def test_landmarks_survive_json_and_lists_alike(faces: Path) -> None:
    points = [[0.5, 0.25], [0.75, 1.0]]
    base = {"path": ["faces/0.png", "faces/1.png"], "label": ["a", "b"], "split": ["train", "test"]}
    pd.DataFrame({**base, "landmarks": [points, points]}).to_parquet(faces / "lists.parquet")
    pd.DataFrame({**base, "landmarks": [json.dumps(points)] * 2}).to_csv(faces / "text.csv", index=False)
    both = [table.read(faces / name).landmarks for name in ("lists.parquet", "text.csv")]
    assert both[0] is not None and both[1] is not None and (both[0] == both[1]).all()
