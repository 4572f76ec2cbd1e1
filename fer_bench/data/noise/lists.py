"""Lists of noisy labels, as papers publish them and as people write them."""

from __future__ import annotations

import difflib
import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.dataset import Dataset
from fer_bench.data.files import read_lines
from fer_bench.data.match import AMBIGUOUS, UNKNOWN, ImageIndex
from fer_bench.data.names import EMOTIONS, class_name, class_names

log = logging.getLogger(__name__)

ORDERS = {
    "RAF-DB": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "FER2013 and ExpW": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "FERPlus": EMOTIONS,
    "AffectNet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
}
"""Orders in which label numbers count the basic expressions."""

IMAGE_COLUMNS = ("subdirectory_filepath", "path", "image", "image_name", "image name", "filename", "file", "name", "id")

LABEL_COLUMNS = ("expression", "noisy_label", "label", "emotion", "class", "expr", "target")


@dataclass(frozen=True)
class NoisyList:
    """The labels that a list gives to the training images of a data set.

    Attributes:
        label: [N] int64 by row of the data set, -1 for images that get none.
        example: A name that the list uses, for messages.
        notes: What was assumed and what was ignored, one sentence each.
    """

    label: np.ndarray
    example: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Lines:
    """Lines of a list: image names, label words, and line numbers in the file."""

    names: list[str]
    words: list[str]
    numbers: list[int]


def read_list(path: Path, dataset: Dataset) -> NoisyList:
    """Reads a list ``<image> <label> [<flag>]``, one image a line, or a table with such columns.

    Only training images get labels: lines of other images are ignored. Labels are class names, or numbers from 0 or 1
    in the order of the data set, or in another known order if that agrees clearly better with the reference labels of
    the whole list. What was assumed is logged once and noted.

    Args:
        path: A text file; fields are separated by blanks, tabs, commas or semicolons.
        dataset: Its ids, splits, classes and reference labels.

    Raises:
        DataError: A line is no such line, an image is listed twice, a label is unknown, or no known order of the
            numbers agrees with the reference labels.
    """
    stat = path.stat() if path.exists() else None
    return _read_list(path, dataset, stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@lru_cache(maxsize=2)
def _read_list(path: Path, dataset: Dataset, _state: tuple[int, ...] | None) -> NoisyList:
    index = ImageIndex(dataset.ids)
    lines = _parse(path, index, dataset.classes)
    rows = index.rows(lines.names)
    train = np.flatnonzero((rows >= 0) & (dataset.split[rows] == "train"))
    if not len(train):
        why = "; images in different folders have one name: write longer paths" if AMBIGUOUS in rows else ""
        others = sorted(set(dataset.split[rows[rows >= 0]].tolist()))
        why = f"; it names images of {' and '.join(others)}, and a list gives training labels only" if others else why
        example = dataset.ids[dataset.rows("train")[:1]].tolist()
        raise DataError(
            f"{path}: none of its lines names a training image of {dataset.name} (it has names such as "
            f"{lines.names[0][:80]!r}, the data set {''.join(map(str, example))!r}){why}"
        )
    _require_once(lines, rows, train, path)
    words = [lines.words[line] for line in train]
    label = np.full(len(dataset), -1, dtype=np.int64)
    label[rows[train]], notes = _decode(words, dataset.label[rows[train]], dataset.classes, path)
    notes += _ignored(rows, dataset.split)
    for note in notes:
        log.warning("%s: %s", path, note)
    return NoisyList(label, lines.names[0], tuple(notes))


def _ignored(rows: np.ndarray, split: np.ndarray) -> list[str]:
    notes = []
    for name, title in (("val", "validation"), ("test", "test")):
        if count := int((split[rows[rows >= 0]] == name).sum()):
            notes.append(f"{counted(count, 'line')} of {title} images ignored: a list gives training labels only")
    if count := int((rows == UNKNOWN).sum()):
        notes.append(f"{counted(count, 'line')} ignored that name no image of the data set")
    if count := int((rows == AMBIGUOUS).sum()):
        notes.append(f"{counted(count, 'line')} ignored whose name several images have: write longer paths")
    return notes


# --- lines -----------------------------------------------------------------------------------------------------------


def _parse(path: Path, index: ImageIndex, classes: Sequence[str]) -> _Lines:
    """The lines, split in the way in which most of their names are images of the data set."""
    lines = [(number, line.strip()) for number, line in read_lines(path)]
    if not lines:
        raise DataError(f"{path} holds no labels")
    if path.suffix.lower() in (".json", ".jsonl"):
        return _from_json(lines, path)
    with_header = _with_header(lines, path)
    if with_header is not None:
        return with_header
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


def _split(lines: Sequence[tuple[int, str]], separator: str | None, after: int) -> _Lines:
    """The lines that have a name before ``after`` fields, or after one; a name may hold the separator."""
    names, words, numbers = [], [], []
    for number, line in lines:
        parts = line.rsplit(separator, after) if after > 0 else line.split(separator, 1)[::-1]
        name, *fields = (part.strip().strip('"') for part in parts)
        if name and len(fields) == abs(after) and fields[0]:
            names.append(name)
            words.append(fields[0])
            numbers.append(number)
    return _Lines(names, words, numbers)


def _from_json(lines: Sequence[tuple[int, str]], path: Path) -> _Lines:
    """Labels by image, {"train_00001.jpg": 5, …}, or one object with an image and a label for each line or entry."""
    try:
        text = "\n".join(line for _, line in lines)
        found = [json.loads(line) for _, line in lines] if path.suffix.lower() == ".jsonl" else json.loads(text)
        if isinstance(found, dict):
            pairs = list(found.items())
        else:
            known = [{key.lower(): value for key, value in entry.items()} for entry in found]
            image, label = (
                next(name for name in names if name in known[0]) for names in (IMAGE_COLUMNS, LABEL_COLUMNS)
            )
            pairs = [(entry[image], entry[label]) for entry in known]
    except (ValueError, AttributeError, LookupError, TypeError, StopIteration, RuntimeError) as error:
        raise DataError(
            f"{path}: expected an object of labels by image, or objects with the keys image and label ({error})"
        ) from error
    return _Lines([str(name) for name, _ in pairs], [str(word) for _, word in pairs], list(range(1, len(pairs) + 1)))


def _with_header(lines: Sequence[tuple[int, str]], path: Path) -> _Lines | None:
    """A table with a header that names an image and a label column; None for other files."""
    separator = max(",;\t|", key=lines[0][1].count)
    header = [cell.strip().strip('"').lower() for cell in lines[0][1].split(separator)]
    image = next((name for name in IMAGE_COLUMNS if name in header), None)
    label = next((name for name in LABEL_COLUMNS if name in header), None)
    if image is None or label is None:
        return None
    try:
        text = "\n".join(line for _, line in lines[1:])
        columns: dict[str, Any] = {"names": range(len(header)), "index_col": False, "dtype": str}
        table = pd.read_csv(io.StringIO(text), sep=separator, keep_default_na=False, **columns)
    except ValueError as error:  # pandas has its own errors for a damaged file; all are ValueErrors
        raise DataError(f"{path}: cannot be read as a table ({error})") from error
    names, words = (table[header.index(name)].fillna("").str.strip().tolist() for name in (image, label))
    return _Lines(names, words, [number for number, _ in lines[1:]])


def _require_once(lines: _Lines, rows: np.ndarray, train: np.ndarray, path: Path) -> None:
    seen: dict[int, int] = {}
    for line in train.tolist():
        first = seen.setdefault(int(rows[line]), line)
        if first != line:
            raise DataError(
                f"{path}, line {lines.numbers[line]}: the image is listed twice: {lines.names[line]!r}, "
                f"as {lines.names[first]!r} in line {lines.numbers[first]}"
            )


# --- labels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbering:
    """How numbers are mapped to classes: the order of the classes, and the first number."""

    title: str
    order: tuple[str, ...]
    base: int

    def decode(self, numbers: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Class ids, int64 [M]; -1 for a number that is not a class."""
        ids = np.array([classes.index(name) if name in classes else -1 for name in self.order], dtype=np.int64)
        inside = (numbers >= self.base) & (numbers < self.base + len(ids))
        return np.where(inside, ids[np.clip(numbers - self.base, 0, len(ids) - 1)], -1)


def _decode(
    words: Sequence[str], reference: np.ndarray, classes: Sequence[str], path: Path
) -> tuple[np.ndarray, list[str]]:
    """Class ids of label words, int64 [M], and notes. Names of classes need no agreement: they mean one class only."""
    names = _as_classes(words, classes)
    if set(names) <= set(classes):
        codes = np.array([classes.index(name) for name in names], dtype=np.int64)
        return codes, _unchanged(codes, reference)
    numbers = _integers(names, classes, path)
    choices = _numberings(numbers, classes)
    if not choices:
        size = len(classes)
        raise DataError(
            f"{path}: labels run from {numbers.min()} to {numbers.max()}; {size} classes are counted from 0 to "
            f"{size - 1} or from 1 to {size}. Class names in place of numbers always work."
        )
    chosen, codes = _agreeing(choices, numbers, reference, classes)
    agreement = float((codes == reference).mean())
    size = len(classes)
    by_chance = float(np.bincount(codes, minlength=size) @ np.bincount(reference, minlength=size)) / len(codes) ** 2
    if agreement <= by_chance < 1:
        raise DataError(
            f"{path}: only {agreement:.0%} of its labels are the reference labels, no more than by chance: are its "
            "numbers in another class order? Write class names in place of numbers."
        )
    note = (
        f"its numbers count from {chosen.base} in the order of {chosen.title} ({', '.join(chosen.order)}); "
        f"{agreement:.1%} of its labels are the reference labels"
    )
    return codes, [note, *_unchanged(codes, reference)]


def _as_classes(words: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Each word as the data set writes that class ("angry" may be "0_angry" there); other words as they are."""
    same, _ = class_names([*classes, *words])
    own = {same[name]: name for name in classes}
    if len(own) < len(classes):
        own = {name: name for name in classes}
    return [own.get(same[word], own.get(class_name(word), class_name(word))) for word in words]


def _integers(names: Sequence[str], classes: Sequence[str], path: Path) -> np.ndarray:
    values = pd.to_numeric(pd.Series(names), errors="coerce")
    unknown = np.flatnonzero(~(values.abs() < 1e6))  # a number that is no number, or too large for a label
    if len(unknown):
        words = [names[row] for row in unknown.tolist()]
        word = next((each for each in words if each not in classes), words[0])
        near = difflib.get_close_matches(word, classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{path}: label {word!r} is neither a number nor one of {', '.join(classes)}{hint}")
    if (values % 1 != 0).any():
        raise DataError(
            f"{path}: its labels are fractions, such as {names[int((values % 1 != 0).idxmax())]}: valence and arousal "
            "are no class labels"
        )
    return values.to_numpy(dtype=np.int64)


def _numberings(numbers: np.ndarray, classes: Sequence[str]) -> list[_Numbering]:
    """Every known numbering in which all numbers are classes; those of the data set's own order come first."""
    orders = {"the data set": tuple(classes)}
    if set(classes) <= set(EMOTIONS):
        orders |= ORDERS | {"the alphabet": tuple(sorted(classes))}
    found = [_Numbering(title, order, base) for title, order in orders.items() for base in (0, 1)]
    return [numbering for numbering in found if (numbering.decode(numbers, classes) >= 0).all()]


def _agreeing(
    choices: Sequence[_Numbering], numbers: np.ndarray, reference: np.ndarray, classes: Sequence[str]
) -> tuple[_Numbering, np.ndarray]:
    """The numbering of the data set's own order, unless another one agrees clearly better with the reference labels."""
    decoded = [choice.decode(numbers, classes) for choice in choices]
    right = np.array([int((codes == reference).sum()) for codes in decoded])
    own = [row for row, choice in enumerate(choices) if choice.title == choices[0].title]
    best_own, best = max(own, key=lambda row: right[row]), int(right.argmax())
    # twice the square root of the number of labels is beyond what noise does to a list in the data set's own order
    chosen = best if right[best] > right[best_own] + 2 * np.sqrt(len(numbers)) else best_own
    return choices[chosen], decoded[chosen]


def _unchanged(codes: np.ndarray, reference: np.ndarray) -> list[str]:
    return ["all of its labels are the reference labels: there is no noise"] if (codes == reference).all() else []
