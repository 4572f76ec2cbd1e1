"""Lists of noisy labels, as papers publish them and as people write them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.dataset import Dataset
from fer_bench.data.match import AMBIGUOUS, UNKNOWN, ImageIndex
from fer_bench.data.noise.lines import Lines, parse
from fer_bench.data.noise.words import as_classes, read_words

log = logging.getLogger(__name__)


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


def read_list(path: Path, dataset: Dataset) -> NoisyList:
    """Reads a list ``<image> <label> [<flag>]``, one image a line, or a table with such columns.

    Only training images get labels: lines of other images are ignored. Labels are class names, or numbers from 0 or 1
    in the order of the data set, or in another known order if that agrees clearly better with the reference labels of
    the whole list. What was assumed is logged once and noted.

    Args:
        path: A text file; fields are separated by blanks, tabs, commas or semicolons.
        dataset: Its ids, splits, classes and reference labels.

    Raises:
        DataError: A line is no such line, an image is listed twice, two columns may be the labels, a label is unknown,
            or the numbers are in an order that is not known.
    """
    stat = path.stat() if path.exists() else None
    return _read_list(path, dataset, stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@lru_cache(maxsize=2)
def _read_list(path: Path, dataset: Dataset, _state: tuple[int, ...] | None) -> NoisyList:
    index = ImageIndex(dataset.ids)
    lines = parse(path, index, dataset.classes)
    if not lines.names:
        raise DataError(f"{path} holds no labels")
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
    reference, classes = dataset.label[rows[train]], dataset.classes
    words, names = [lines.words[line] for line in train], [lines.names[line] for line in train]
    codes, notes = read_words(words, reference, classes, names, path)
    if lines.further:
        _require_one_label(lines, train, classes, codes != reference, path)
    label = np.full(len(dataset), -1, dtype=np.int64)
    label[rows[train]] = codes
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


def _require_once(lines: Lines, rows: np.ndarray, train: np.ndarray, path: Path) -> None:
    seen: dict[int, int] = {}
    for line in train.tolist():
        first = seen.setdefault(int(rows[line]), line)
        if first != line:
            raise DataError(
                f"{path}, line {lines.numbers[line]}: the image is listed twice: {lines.names[line]!r}, "
                f"as {lines.names[first]!r} in line {lines.numbers[first]}"
            )


def _require_one_label(lines: Lines, train: np.ndarray, classes: Sequence[str], wrong: np.ndarray, path: Path) -> None:
    """DataError where the third column of a list without a header looks like labels, and they differ from the second's.

    A third column of flags is ignored: lists of NLA say with 0 or 1 whether a label was changed.
    """
    label, further = (as_classes([cells[line] for line in train], classes) for cells in (lines.words, lines.further))
    if _are_flags(label, further, wrong) or not _are_labels(label, further, classes):
        return
    row = next((row for row, pair in enumerate(zip(label, further, strict=True)) if pair[0] != pair[1]), None)
    if row is not None:
        line = train[row]
        raise DataError(
            f"{path}, line {lines.numbers[line]}: {lines.words[line]!r} and {lines.further[line]!r} are both labels, "
            "and it is unclear which is the noisy one: leave one column out, or begin with a header such as "
            "image,label,noisy_label"
        )


def _are_flags(label: list[str], further: list[str], wrong: np.ndarray) -> bool:
    """Whether cells are 0 or 1 where labels are not, or say of each label whether it is wrong, or right."""
    if not set(further) <= {"0", "1"}:
        return False
    flagged = np.array(further) == "1"
    return not set(label) <= {"0", "1"} or len(set((flagged == wrong).tolist())) == 1


def _are_labels(label: list[str], further: list[str], classes: Sequence[str]) -> bool:
    """Whether cells are names of classes, or numbers as labels have them that do not follow from the labels."""
    if set(further) <= set(classes):
        return True
    numbers = [pd.to_numeric(pd.Series(cells), errors="coerce") for cells in (label, further)]
    inside = all(((each % 1 == 0) & (each >= 0) & (each <= len(classes))).all() for each in numbers)
    follows = len(set(zip(label, further, strict=True))) == len(set(label))  # a coarser class, or one number for all
    return inside and not follows
