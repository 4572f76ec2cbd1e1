"""FER2013 (Goodfellow et al. 2013), the csv file of the challenge: 48x48 grey faces."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.readers.common import first_existing, listed
from fer_bench.data.readers.pixels import read_frames
from fer_bench.data.sources import ArraySource

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

EXPECTED = {"train": 28_709, "val": 3_589, "test": 3_589}

USAGE = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

SIDE = 48

FILES = ("fer2013.csv", "icml_face_data.csv")
"""Names that the file has; its columns may have any order."""

LAYOUT = """
  <root>/fer2013/fer2013.csv     columns emotion,pixels,Usage
"""


def read(root: Path) -> Manifest:
    """Reads FER2013. PublicTest is the validation and PrivateTest the test split, as in the challenge.

    The file has no names, so the id of a face is its row in the official file, ``row00000`` first.

    Raises:
        DataError: The file is missing or not as in LAYOUT.
    """
    path = find(root)
    label, split, frames = load(path)
    return Manifest(
        name="fer2013",
        classes=CLASSES,
        ids=np.array([row_id(row) for row in range(len(label))], dtype=str),
        split=split,
        label=label,
        source=ArraySource(frames),
        expected=EXPECTED,
        files=places(root),
    )


def find(root: Path) -> Path:
    """The csv file under a data root; DataError where it is missing."""
    return first_existing(places(root), LAYOUT)


def places(root: Path) -> list[Path]:
    """Where the csv file may be: also one folder deeper, as archives are unpacked."""
    return [root / "fer2013" / inner / name for inner in (".", "fer2013") for name in FILES]


def row_id(row: int) -> str:
    """The id of a data row of fer2013.csv, the same in FER2013 and in FERPlus (whose own names leave out some rows)."""
    return f"row{row:05d}"


def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels int64 [N] (0 angry ... 6 neutral), splits str [N] and frames uint8 [N, 48, 48] of the csv file."""
    table = read_csv(path, ("emotion", "pixels", "Usage"))
    label = numbers(table, "emotion", path)
    if len(label) and not (label.min() >= 0 and label.max() < len(CLASSES)):
        raise DataError(f"{path}: column emotion must hold 0 to 6, found {label.min()} to {label.max()}")
    frames = read_frames(table["pixels"].tolist(), path, SIDE)
    return label, usage(table, path), frames


def read_csv(
    path: Path, columns: tuple[str, ...], header: tuple[str, ...] | None = None, optional: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A csv file as text (copies in circulation have a blank before each name); raises naming an absent column.

    Capital letters in names make no difference. Empty lines at the beginning are skipped.

    Args:
        path: The file.
        columns: Columns that it must have.
        header: Names of the columns of a file without a header.
        optional: Columns that it may have.
    """
    start = first_line(path)
    form: dict[str, Any] = {"encoding": start.encoding, "skiprows": start.number, "dtype": str}
    form["sep"] = "," if "," in start.text else max(";\t", key=start.text.count)
    try:
        names = header or pd.read_csv(path, header=None, nrows=1, keep_default_na=False, **form).iloc[0].tolist()
        named = {"header": None, "names": list(header)} if header else {}
        table = pd.read_csv(path, keep_default_na=False, low_memory=False, **form, **named)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: is not a csv file ({error})") from error
    _require_once(path, names, (*columns, *optional))
    written = {name.casefold(): name for name in (*columns, *optional)}
    table.columns = table.columns.str.strip().map(lambda name: written.get(name.casefold(), name))
    absent = [name for name in columns if name not in table.columns]
    if absent:
        found = [str(name) for name in table.columns]
        if found[0].isdecimal():
            raise DataError(f"{path}: the file has no header; its first line must be {','.join(columns)}")
        shown = ", ".join(name[:40] for name in listed(found))
        raise DataError(f"{path}: no column {absent[0]!r}; found {shown}")
    return table


@dataclass(frozen=True)
class FirstLine:
    """The first line of a csv file that is not empty; ``number`` lines are before it."""

    text: str
    number: int
    encoding: str


def first_line(path: Path) -> FirstLine:
    """The first line of a csv file that holds something besides blanks and separators."""
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if is_utf16 else "utf-8-sig"
    with path.open(encoding=encoding, errors="replace") as lines:
        for number, line in enumerate(lines):
            if line.strip(" \t\r\n,;"):
                return FirstLine(line.rstrip("\n"), number, encoding)
    return FirstLine("", 0, encoding)


def _require_once(path: Path, names: Iterable[object], columns: Iterable[str]) -> None:
    """DataError where two columns have one of the names: nobody can know which is meant."""
    found = [str(name).strip() for name in names]
    for column in columns:
        same = [name for name in found if name.casefold() == column.casefold()]
        if len(same) > 1:
            shown = " and ".join(map(repr, same))
            raise DataError(f"{path}: {len(same)} columns are called {column!r}: {shown}; rename or delete all but one")


def usage(table: pd.DataFrame, path: Path) -> np.ndarray:
    """The column Usage as splits of the harness, str [N]."""
    split = table["Usage"].str.strip().map(USAGE)
    unknown = np.flatnonzero(split.isna())
    if len(unknown):
        row = int(unknown[0])
        raise DataError(f"{path}, data row {row}: unknown Usage {table['Usage'].iloc[row]!r}, not one of {list(USAGE)}")
    return split.to_numpy(dtype=str)


def numbers(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """One column as int64 [N]; raises DataError naming the first row that holds no whole number."""
    values = pd.to_numeric(table[column].str.strip(), errors="coerce")
    bad = np.flatnonzero(values.isna() | (values % 1 != 0))
    if len(bad):
        row = int(bad[0])
        raise DataError(f"{path}, data row {row}: {column} is {table[column].iloc[row]!r}, not a whole number")
    return values.to_numpy(dtype=np.int64)
