"""Readers of noise files: confusion matrices, class probabilities, lists of noisy labels."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from fer_bench.core.errors import DataError

log = logging.getLogger(__name__)

RAF_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's labels 1 to 7: the order in which EAC's and SCN's label lists count."""

# --- files ---------------------------------------------------------------------------------------------------------


def read_matrix(path: str | Path, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix from csv, in the order of ``classes``: float64 [C, C], rows true, columns given.

    The header names the classes in any order. Rows come in the header's order, or begin with their own class name; then
    the header has one cell more at its beginning.
    """
    header, *rows = _csv(path)
    named = len(rows) > 0 and len(header) == len(classes) + 1
    names = header[1:] if named else header
    if sorted(names) != sorted(classes):
        raise DataError(f"{path}: the header must name the classes {', '.join(classes)}; it has {', '.join(header)}")
    row_names = [row[0] for row in rows] if named else names
    if sorted(row_names) != sorted(classes) or len(rows) != len(classes):
        raise DataError(f"{path}: one row for each of {', '.join(classes)} is needed, found {len(rows)} rows")
    values = _numbers([row[1:] if named else row for row in rows], len(names), path)
    at = [row_names.index(name) for name in classes], [names.index(name) for name in classes]
    return values[np.ix_(*at)]


def read_probabilities(path: str | Path, ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Class probabilities of these images: float64 [N, C].

    From .npz with ``ids`` [M] and ``probabilities`` [M, C] in the data set's class order, or from csv with a header
    ``id,<class>,<class>,…``.
    """
    if Path(path).suffix == ".npz":
        names, values = _npz(path)
    else:
        header, *rows = _csv(path)
        if sorted(header[1:]) != sorted(classes):
            raise DataError(f"{path}: the header must be id,{','.join(classes)}; it is {','.join(header)}")
        names = [row[0] for row in rows]
        values = _numbers([row[1:] for row in rows], len(classes), path)[:, [header.index(c) - 1 for c in classes]]
    if values.shape != (len(names), len(classes)) or not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(f"{path}: probabilities must be finite, not negative and [{len(names)}, {len(classes)}]")
    return values[_match(names, ids, path)]


def read_labels(path: str | Path, ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels of these images from a list, one ``<image> <label> [<flag>]`` a line: int64 [N].

    EAC's raf-basic/EmoLabel/noise0?.txt count from 1, SCN's 0.?noise_train.txt from 0; which it is shows in the
    smallest and largest label of the file, and is logged. Numbers follow RAF-DB's order if the data set has RAF-DB's
    classes (in any order), else the data set's own; class names may stand in their place. The third column of NLA's
    lists (is it noise?) is not used. Images are matched by id, else by file name without folder, extension and
    ``_aligned``.
    """
    entries: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.split()
        if len(rest) not in (1, 2) or name in entries:
            fault = "the image is listed twice" if name in entries else "expected '<image> <label> [<flag>]'"
            raise DataError(f"{path}, line {number}: {fault}: {line.strip()[:80]!r}")
        entries[name] = rest[0]
    if not entries:
        raise DataError(f"{path} holds no labels")
    return _codes(list(entries.values()), classes, path)[_match(list(entries), ids, path)]


def _codes(words: list[str], classes: Sequence[str], path: str | Path) -> np.ndarray:
    """Class ids of label words: int64 [M]."""
    if all(word in classes for word in words):
        return np.array([list(classes).index(word) for word in words], dtype=np.int64)
    try:
        numbers = np.array([int(word) for word in words], dtype=np.int64)
    except ValueError:
        unknown = next(word for word in words if word not in classes)
        raise DataError(f"{path}: label {unknown!r} is neither a number nor one of {', '.join(classes)}") from None
    low, high, size = int(numbers.min()), int(numbers.max()), len(classes)
    base = {(True, False): 0, (False, True): 1}.get((low == 0 and high < size, low >= 1 and high == size))
    if base is None:
        raise DataError(
            f"{path}: labels run from {low} to {high}; {size} classes are counted from 0 to {size - 1} or from 1 to "
            f"{size}, with both ends in use. Class names in place of numbers always work."
        )
    log.info("%s: labels run from %d to %d, so they count from %d", path, low, high, base)
    order = RAF_ORDER if sorted(classes) == sorted(RAF_ORDER) else classes
    return np.array([list(classes).index(name) for name in order], dtype=np.int64)[numbers - base]


def _from_list(labels: np.ndarray, ids: np.ndarray, classes: Sequence[str], path: str) -> np.ndarray:
    given = read_labels(path, ids, classes)
    agree = float((given == labels).mean()) if len(labels) else 1.0
    if agree < 0.5:
        # a list in another class order agrees on a seventh; no published list is wrong in more than a third
        raise DataError(
            f"{path}: only {agree:.0%} of its labels are the reference labels: is it in another class order? "
            "Write class names in place of numbers, and leave at least half of the labels right."
        )
    return given


def _match(names: Sequence[str], ids: np.ndarray, path: str | Path) -> np.ndarray:
    """Row of each image in a file's list of names: int64 [N]; by the whole id, else by the bare file name."""
    whole = {name: row for row, name in enumerate(names)}
    if all(str(i) in whole for i in ids):
        return np.array([whole[str(i)] for i in ids], dtype=np.int64)
    bare = {_bare(name): row for row, name in enumerate(names)}
    wanted = [_bare(str(i)) for i in ids]
    if len(bare) < len(names) or len(set(wanted)) < len(wanted):
        raise DataError(f"{path}: file names repeat in different folders; list the images by their full ids")
    missing = [str(i) for i, name in zip(ids, wanted, strict=True) if name not in bare]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} training images are not in it, for example {', '.join(missing[:3])} "
            f"(the file has names such as {names[0]})"
        )
    return np.array([bare[name] for name in wanted], dtype=np.int64)


def _bare(name: str) -> str:
    """File name without folder, image extension and RAF-DB's ``_aligned``."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
    return (path.stem if known else path.name).removesuffix("_aligned")


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _csv(path: str | Path) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(_text(path).splitlines()) if row]
    if len(rows) < 2:
        raise DataError(f"{path}: expected a csv file with a header and rows")
    return rows


def _npz(path: str | Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path) as stored:
            return [str(name) for name in stored["ids"]], np.asarray(stored["probabilities"], dtype=np.float64)
    except Exception as error:  # numpy, zipfile and zlib have no common error for a damaged file
        raise DataError(f"{path}: expected an npz file with 'ids' and 'probabilities': {error}") from None


def _numbers(rows: list[list[str]], width: int, path: str | Path) -> np.ndarray:
    wanted = f"{path}: every row needs {width} finite numbers, none negative"
    for place, row in enumerate(rows, start=1):
        if len(row) != width:
            raise DataError(f"{wanted}; row {place} has {len(row)}")
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{wanted} ({error})") from None
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(wanted)
    return values
