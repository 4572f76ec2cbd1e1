"""Files of rows and columns: csv in any encoding and with any separator, lists without a header, Parquet."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.names import IMAGE_SUFFIXES, composed, image_path

PIXELS = 64
"""Pixels that an image has at least that is in a cell."""

LONGEST = 4096
"""Bytes that a text in a cell has at most; longer ones are images."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


_BINARY = {
    b"PK\x03\x04": "it is an archive or an Excel file: unpack it, or save it as CSV",
    b"PAR1": "it is in Parquet: its name must end in .parquet",
    b"\x1f\x8b": "it is compressed: unpack it",
    b"\xd0\xcf\x11\xe0": "it is an Excel file: save it as CSV",
}
"""What files are that are no text, by their first bytes."""


@dataclass(frozen=True)
class Sheet:
    """A table whose columns have no meaning yet.

    Attributes:
        path: The file.
        names: Names of the columns, as they are written; their numbers from 1 where the file has no header.
        cells: One line for each row; columns are numbered from 0.
        has_header: Whether the file names its columns.
        assumed: How the file was understood, one sentence each.
    """

    path: Path
    names: tuple[str, ...]
    cells: pd.DataFrame
    has_header: bool = True
    assumed: tuple[str, ...] = ()

    def column(self, number: int) -> list[str]:
        """The cells of a column (from 0) as text."""
        return [text(cell) for cell in self.cells.iloc[:, number]]


def read_sheet(path: Path, known: frozenset[str] = frozenset()) -> Sheet:
    """Reads a file of rows and columns.

    A file without a header is one whose first line names an image and holds none of the names ``known`` (as
    :func:`plain` writes them).

    Raises:
        DataError: The file is no table, or has no rows.
    """
    if path.suffix.lower() == ".parquet":
        try:
            table = pd.read_parquet(path)
        except Exception as error:  # pyarrow has no base class for a damaged file
            raise _damaged(path, error) from error
        found = Sheet(path, tuple(composed(str(name).strip()) for name in table.columns), table)
    else:
        found = _read_text(path, known)
    if found.cells.empty:
        raise DataError(f"{path}: holds no rows")
    return found


def plain(name: str) -> str:
    """The name of a column without what people write differently: "User.ID" is "userid"."""
    return "".join(letter for letter in composed(name).casefold() if letter.isalnum())


def whole(word: str) -> str:
    """A whole number without its fraction: "1.0" is "1"; other words as they are."""
    return re.sub(r"^(\d+)\.0+$", r"\1", word)


def is_embedded(cell: object) -> bool:
    """Whether a cell of Parquet holds an image itself: bytes that are no text, or a record."""
    if not isinstance(cell, bytes):
        return isinstance(cell, dict)
    try:
        return len(cell) > LONGEST or "\0" in cell.decode()
    except UnicodeDecodeError:
        return True


def text(cell: object) -> str:
    """A cell as text: trimmed, whole numbers without a fraction, and "" for an absent value."""
    if isinstance(cell, bytes) and not is_embedded(cell):
        return cell.decode().strip()
    if cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def is_image(word: str) -> bool:
    """Whether a cell looks like the path of an image."""
    return PurePosixPath(image_path(word)).suffix.lower() in IMAGE_SUFFIXES


def is_pixels(word: str) -> bool:
    """Whether a cell holds the pixels of an image."""
    return len(word) > 3 * PIXELS and "".join(word.strip("[] ").replace(",", " ").split()).isdecimal()


def _read_text(path: Path, known: frozenset[str]) -> Sheet:
    content, encoding = _decoded(path)
    content = _without_preface(content, known)
    first = next((line for line in content.splitlines() if line.strip()), "")
    if not first:
        raise DataError(f"{path}: cannot be read as a table (it is empty)")
    separator = max(SEPARATORS, key=lambda each: _fit(first, each, known))
    spaces = len(_split(first, separator)) == 1 and len(first.split()) > 1
    names = first.split() if spaces else _split(first, separator)
    rows_only = any(is_image(name) or is_pixels(name) for name in names)
    has_header = bool({plain(name) for name in names} & known) or not rows_only
    try:
        cells = _cells(content, r"\s+" if spaces else separator)
    except Exception as error:  # pandas has no common base class for a damaged file
        raise _damaged(path, error) from error
    assumed = [f"it is not in UTF-8 and was read as {encoding}"] if encoding else []
    if separator != "," and not spaces:
        assumed.append(f"its columns are separated by {SEPARATORS[separator]}")
    if has_header:
        return Sheet(path, tuple(map(composed, names)), cells.iloc[1:], assumed=tuple(assumed))
    return Sheet(path, tuple(str(number + 1) for number in range(cells.shape[1])), cells, False, tuple(assumed))


def _without_preface(content: str, known: frozenset[str]) -> str:
    """The text without what comes before the header: the separator, as Excel writes it, and lines of comments."""
    content = re.sub(r"\A\s*(\"?)sep=.\1[ \t]*(\r\n|\r|\n)", "", content, flags=re.IGNORECASE)
    while (line := content.lstrip().partition("\n")[0]).startswith("#") and not _is_row(line, known):
        content = content.lstrip().partition("\n")[2]
    return content


def _is_row(line: str, known: frozenset[str]) -> bool:
    """Whether a line that begins with "#" is the header or a row nevertheless."""
    cells = [cell for separator in SEPARATORS for cell in _split(line, separator)]
    words = line.strip("# \t\r").split()
    named = any(plain(cell) in known for cell in cells) or (words and all(plain(word) in known for word in words))
    return bool(named) or any(map(is_image, cells))


def _decoded(path: Path) -> tuple[str, str]:
    """The text of a file, and its encoding if that is an unusual one. DataError where it is no text."""
    content = path.read_bytes()
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    encodings = {"utf-16": "UTF-16"} if wide else {"utf-8-sig": "", "cp1252": "Windows-1252"}
    for encoding, name in encodings.items():
        try:
            found = content.decode(encoding)
        except UnicodeError:
            continue
        if "\0" not in found:
            return found, name
    kind = next((name for start, name in _BINARY.items() if content.startswith(start)), "it is no text")
    raise DataError(f"{path}: cannot be read as a table ({kind})")


def _split(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _fit(line: str, separator: str, known: frozenset[str]) -> tuple[int, int]:
    """How well a separator divides the first line: known names, then columns."""
    names = _split(line, separator)
    return sum(plain(name) in known for name in names), len(names)


def _cells(content: str, separator: str) -> pd.DataFrame:
    """All rows, the first line among them: as a header, pandas would rename a second column of one name."""
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "header": None, "skipinitialspace": True}
    cells = pd.read_csv(io.StringIO(content), sep=separator, engine="c", **options)
    return cells[(cells.fillna("") != "").any(axis=1)] if separator != r"\s+" else cells


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a table ({error})")
