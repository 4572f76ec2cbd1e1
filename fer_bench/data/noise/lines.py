"""The lines of a list of noisy labels: text, tables with a header, and JSON."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.files import read_lines
from fer_bench.data.match import ImageIndex
from fer_bench.data.names import class_name
from fer_bench.data.noise.label_columns import image_columns, is_header, label_column
from fer_bench.data.readers.sheet import is_image


@dataclass(frozen=True)
class Lines:
    """Lines of a list.

    Attributes:
        names: Names of images.
        words: Class names or numbers.
        numbers: Line numbers in the file.
        further: What stands behind the labels of a list without a header; empty if nothing does.
    """

    names: list[str]
    words: list[str]
    numbers: list[int]
    further: list[str] = field(default_factory=list)


def list_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list or of a table with their numbers, without those that say how it was written.

    These are Excel's "sep=;" and comments at its beginning. A comment stays if it names an image, or if it is the
    header, which NumPy writes so.

    Raises:
        DataError: The file is missing or no text.
    """
    lines = [(number, line.strip(" \r\n")) for number, line in read_lines(path)]
    while lines and re.fullmatch(r"sep=.|#.*", lines[0][1]):
        number, line = lines[0]
        cells = re.split(r"[,;\t| ]+", line.strip("# "))
        if any(map(is_image, cells)):
            break
        if is_header(cells):
            return [(number, line.strip("# ")), *lines[1:]]
        lines = lines[1:]
    return lines


def parse(path: Path, index: ImageIndex, classes: Sequence[str]) -> Lines:
    """The lines of a list, split in the way in which most of their names are images of the data set.

    Args:
        path: The list.
        index: The images of the data set.
        classes: Its class names.

    Raises:
        DataError: A line is no line of a list, or two columns may be the labels.
    """
    lines = list_lines(path)
    if not lines:
        return Lines([], [], [])
    if path.suffix.lower() in (".json", ".jsonl"):
        return _from_json(lines, path, index, classes)
    with_header = _with_header(lines, path, index, classes)
    if with_header is not None:
        return with_header
    lines = [(number, line.strip()) for number, line in lines]
    best, most = None, -1
    for after in (1, 2, -1):  # fields after the name: the label, the label and a flag; or the label comes first
        for separator in (None, ",", "\t", ";", "|"):
            found = _split(lines, separator, after)
            known = int((index.rows(found.names) >= 0).sum())
            if known > most:
                best, most = found, known
            if most == len(lines):
                return found
    assert best is not None
    if len(best.names) < len(lines):
        number, line = next((number, line) for number, line in lines if number not in set(best.numbers))
        if len({class_name(cell) for cell in re.split(r"[,;\t]", line)} & set(classes)) > 1:
            raise DataError(
                f"{path}, line {number}: {line[:80]!r} names several classes: probabilities are for --noise-type "
                "instance-hard, and a matrix for --noise-type confusion"
            )
        raise DataError(f"{path}, line {number}: expected '<image> <label> [<flag>]': {line[:80]!r}")
    return best


def _split(lines: Sequence[tuple[int, str]], separator: str | None, after: int) -> Lines:
    """The lines that have a name before ``after`` fields, or after one; a name may hold the separator."""
    found = Lines([], [], [])
    for number, line in lines:
        parts = line.rsplit(separator, after) if after > 0 else line.split(separator, 1)[::-1]
        name, *fields = (part.strip().strip('"') for part in parts)
        if name and len(fields) == abs(after) and fields[0]:
            found.names.append(name)
            found.words.append(fields[0])
            found.numbers.append(number)
            found.further.extend(fields[1:])
    return found


def _with_header(
    lines: Sequence[tuple[int, str]], path: Path, index: ImageIndex, classes: Sequence[str]
) -> Lines | None:
    """A table with a header that names an image and a label column; None for other files."""
    first = lines[0][1]
    separator = max(",;\t|", key=first.count)
    if separator not in first:
        separator = r"\s+"
        if len({len(line.split()) for _, line in lines}) > 1:
            return None
    header = [cell.strip().strip('"') for cell in (first.split() if separator == r"\s+" else first.split(separator))]
    if not is_header(header):
        return None
    try:
        text = "\n".join(line for _, line in lines[1:])
        columns: dict[str, Any] = {"names": range(len(header)), "index_col": False, "dtype": str}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows with more cells than the header
            table = pd.read_csv(io.StringIO(text), sep=separator, keep_default_na=False, **columns)
    except (ValueError, pd.errors.ParserWarning) as error:  # the errors of pandas for a damaged file are ValueErrors
        raise DataError(f"{path}: cannot be read as a table ({error})") from error
    cells = [table[number].fillna("").str.strip().tolist() for number in range(len(header))]
    return _chosen(header, cells, [number for number, _ in lines[1:]], path, index, classes)


def _chosen(
    header: Sequence[str],
    cells: Sequence[list[str]],
    numbers: list[int],
    path: Path,
    index: ImageIndex,
    classes: Sequence[str],
) -> Lines | None:
    """The images and labels of a table: the column that names most images, and the noisy labels; None without them."""
    images = image_columns(header)
    label = label_column(header, cells, classes, path)
    if not images or label is None:
        return None
    image = max(images, key=lambda number: int((index.rows(cells[number]) >= 0).sum()))
    return Lines(cells[image], cells[label], numbers)


def _from_json(lines: Sequence[tuple[int, str]], path: Path, index: ImageIndex, classes: Sequence[str]) -> Lines:
    """Labels by image, {"train_00001.jpg": 5, …}, or one object with an image and a label for each line or entry."""
    try:
        pieces = (
            [line for _, line in lines] if path.suffix.lower() == ".jsonl" else ["\n".join(text for _, text in lines)]
        )
        read = [json.loads(piece, object_pairs_hook=_Pairs) for piece in pieces]
        found = read if path.suffix.lower() == ".jsonl" else read[0]
        if isinstance(found, _Pairs):
            chosen: Lines | None = Lines(
                [str(name) for name, _ in found], [str(word) for _, word in found], list(range(1, len(found) + 1))
            )
        else:
            entries = [{key.lower(): str(value) for key, value in entry} for entry in found]
            header = list(entries[0])
            cells = [[entry[name] for entry in entries] for name in header]
            chosen = _chosen(header, cells, list(range(1, len(entries) + 1)), path, index, classes)
        if chosen is None:
            raise LookupError(f"the keys are {', '.join(header)}")
    except _Twice as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, AttributeError, LookupError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path}: expected an object of labels by image, or objects with the keys image and label ({error})"
        ) from error
    return chosen


class _Twice(Exception):
    """A key is twice in one object."""


class _Pairs(tuple[tuple[str, Any], ...]):
    """The keys and values of an object in JSON; a key that is there twice is an error, and not its last value."""

    def __new__(cls, pairs: Sequence[tuple[str, Any]]) -> _Pairs:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise _Twice(f"the key {key[:80]!r} is there twice, with {values[key]!r} and {value!r}")
            values[key] = value
        return super().__new__(cls, pairs)
