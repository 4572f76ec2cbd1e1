"""Tables: numbers for splits, what comes before the header, Unicode forms, and the lists and bytes of Parquet."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import table
from tests.helpers.layouts import save, write

CLASSES = ("anger", "happiness", "sadness")
PATHS = [f"{n}.png" for n in range(20)]
LABELS = [CLASSES[n % 3] for n in range(20)]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number, name in enumerate(PATHS):
        save(tmp_path / name, (number, 0, 0))
    return tmp_path


def lay(root: Path, column: str, cells: Sequence[object]) -> Path:
    lines = [",".join(map(str, row)) for row in zip(PATHS, LABELS, cells, strict=True)]
    return write(root / "mine.csv", "\n".join([f"path,label,{column}", *lines]))


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["split", "partition", "set", "subset"])
def test_numbers_of_unlike_parts_are_no_folds(faces: Path, column: str) -> None:
    path = lay(faces, column, [0] * 16 + [1] * 2 + [2] * 2)
    message = (
        rf"the column '{column}' holds numbers \(0 in 16 rows, 1 in 2 rows, 2 in 2 rows\).*write train, val and test .*"
        "call the column 'fold'; --columns split=none"
    )
    with pytest.raises(DataError, match=message):
        table.read(path)
    assert set(table.read(path, options=ReadOptions(columns={"split": "none"})).split) == {""}


@pytest.mark.parametrize("column", ["fold", "cv", "kfold", "Fold_No"])
def test_numbers_are_folds_where_the_column_is_called_so(faces: Path, column: str) -> None:
    path = lay(faces, column, [0] * 16 + [1] * 2 + [2] * 2)
    manifest = table.read(path, options=ReadOptions(columns={"split": column}))
    assert (manifest.split == "test").tolist() == [True] * 16 + [False] * 4


@pytest.mark.parametrize("end", ["", ".0"])
def test_numbers_of_like_parts_are_folds(faces: Path, end: str) -> None:
    manifest = table.read(lay(faces, "split", [f"{n % 5}{end}" for n in range(20)]))
    assert np.flatnonzero(manifest.split == "test").tolist() == [0, 5, 10, 15]
    assert manifest.assumed == ("'split' holds 5 folds; fold 0 is the test split",)


@pytest.mark.parametrize(("yes", "no"), [("1.0", "0.0"), ("1", "0"), ("TRUE", "FALSE"), ("yes", "no")])
def test_is_train_in_any_writing(faces: Path, yes: str, no: str) -> None:
    manifest = table.read(lay(faces, "is_train", [no if n % 5 == 0 else yes for n in range(20)]))
    assert np.flatnonzero(manifest.split == "test").tolist() == [0, 5, 10, 15]


# --- before the header -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "preface",
    [
        "sep=;\n",
        '"sep=;"\r\n',
        "SEP=;\n",
        "# made by me\n",
        "\n# made by me; on Monday\n#\n# again\n",
        "sep=;\n# by me\n",
    ],
)
def test_what_comes_before_the_header_is_skipped(faces: Path, preface: str) -> None:
    lines = "\n".join(f"{name};{label}" for name, label in zip(PATHS, LABELS, strict=True))
    manifest = table.read(write(faces / "mine.csv", f"{preface}path;label\n{lines}"))
    assert manifest.ids.tolist() == PATHS and [manifest.classes[label] for label in manifest.label] == LABELS


@pytest.mark.parametrize(("header", "separator"), [("#path,label", ","), ("# path label", " "), ("#,path,label", ",")])
def test_a_header_may_begin_like_a_comment(faces: Path, header: str, separator: str) -> None:
    index = [f"{n}," if header.startswith("#,") else "" for n in range(20)]
    header = header.replace("# ", "#")
    rows = [f"{at}{name}{separator}{label}" for at, name, label in zip(index, PATHS, LABELS, strict=True)]
    manifest = table.read(write(faces / "mine.csv", "\n".join([header, *rows])))
    assert manifest.ids.tolist() == PATHS and manifest.classes == CLASSES


# --- Unicode ---------------------------------------------------------------------------------------------------------


def test_labels_and_columns_in_two_unicode_forms_are_one(faces: Path) -> None:
    words = [unicodedata.normalize("NFD" if n % 4 == 0 else "NFC", ("Ärger", "Freude")[n % 2]) for n in range(20)]
    text = "\n".join([unicodedata.normalize("NFD", "path,gefühl"), *map(",".join, zip(PATHS, words, strict=True))])
    manifest = table.read(write(faces / "mine.csv", text), options=ReadOptions(columns={"label": "Gefühl"}))
    assert manifest.classes == ("Freude", "Ärger") and manifest.label.tolist() == [1, 0] * 10


# --- Parquet ---------------------------------------------------------------------------------------------------------


def parquet(root: Path, columns: dict[str, object]) -> Path:
    pd.DataFrame(columns).to_parquet(root / "mine.parquet")
    return root / "mine.parquet"


def test_bytes_in_parquet_are_text(faces: Path) -> None:
    path = parquet(faces, {"path": [each.encode() for each in PATHS], "label": [each.encode() for each in LABELS]})
    manifest = table.read(path)
    assert manifest.ids.tolist() == PATHS and manifest.classes == CLASSES
    assert manifest.fingerprint() == table.read(parquet(faces, {"path": PATHS, "label": LABELS})).fingerprint()


@pytest.mark.parametrize("cell", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"a\0b", b"x" * 5000, {"bytes": b"x"}])
def test_images_inside_of_any_row_are_named(faces: Path, cell: object) -> None:
    cells = [None, *[cell] * 19]
    with pytest.raises(DataError, match="the column 'image' holds the images themselves"):
        table.read(parquet(faces, {"image": cells, "label": LABELS}))


@pytest.mark.parametrize("side", [8, 48])
@pytest.mark.parametrize("rows", [False, True])
def test_pixels_as_lists_in_parquet(tmp_path: Path, side: int, rows: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, side, side))
    cells = [frame.tolist() if rows else frame.ravel().tolist() for frame in frames]
    manifest = table.read(parquet(tmp_path, {"pixels": cells, "label": [0, 1] * 3}))
    assert manifest.classes == ("0", "1")
    assert (manifest.source.pixels(range(6), side)[:, 0] == frames).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([1.5] * 64, "data row 1: pixels hold something that is not a number"),
        ([1.0] * 63 + [None], "data row 1: pixels hold something that is not a number"),
        ([256] * 64, "data row 1: not 64 pixels of 0 to 255 but 64 values"),
        ([1] * 63, "data row 1: not 64 pixels of 0 to 255 but 63 values"),
        (None, "data row 1: not 64 pixels of 0 to 255 but 0 values"),
    ],
)
def test_lists_that_are_no_pixels(tmp_path: Path, cell: list[float] | None, message: str) -> None:
    path = parquet(tmp_path, {"pixels": [[1.0] * 64, cell], "label": [0, 1]})
    with pytest.raises(DataError, match=message):
        table.read(path)


def test_pixels_in_colour_as_lists_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"pixels": [np.zeros((16, 16, 3), dtype=int).tolist()] * 2, "label": [0, 1]})
    with pytest.raises(DataError, match="768 numbers are pixels in colour"):
        table.read(path)


def test_arrays_as_numpy_writes_them(tmp_path: Path) -> None:
    cells = [str(np.full((8, 8), 200 + n)).replace("\n", " ") for n in range(6)]
    lines = [f"{n % 2},{cell.replace('[', '').replace(']', '')}" for n, cell in enumerate(cells)]
    manifest = table.read(write(tmp_path / "mine.csv", "\n".join(["label,pixels", *lines])))
    assert manifest.source.pixels([5], 8).max() == 205
    flat = [f"{n % 2},{np.array2string(np.full(64, 200 + n), max_line_width=10**6)}" for n in range(6)]
    manifest = table.read(write(tmp_path / "mine.csv", "\n".join(["label,pixels", *flat])))
    assert manifest.source.pixels([5], 8).max() == 205
    short = "[0 1 2 ... 61 62 63]"
    with pytest.raises(
        DataError, match="data row 1: pixels hold something that is not a number; NumPy has shortened it"
    ):
        table.read(write(tmp_path / "mine.csv", "\n".join(["label,pixels", flat[0], f"1,{short}"])))
