"""Which columns of a list of noisy labels are the images, and which one the noisy labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fer_bench.core.errors import DataError
from fer_bench.data.noise.words import as_classes
from fer_bench.data.readers.columns import NAMES
from fer_bench.data.readers.sheet import plain

_FIRST_IMAGES = ("subdirectoryfilepath", "path", "image", "imagename", "filename", "file", "name", "id")

_FIRST_LABELS = ("expression", "label", "emotion", "class", "expr", "target")

IMAGES = tuple(dict.fromkeys((*_FIRST_IMAGES, *NAMES["path"], *NAMES["id"])))
"""Names of columns of images, as :func:`fer_bench.data.readers.sheet.plain` writes them; the preferred ones first."""

LABELS = tuple(dict.fromkeys((*_FIRST_LABELS, *NAMES["label"])))
"""Names of columns of labels that do not say whether they are noisy."""

_MARK = "noisy|noise|noised|new|given|observed|corrupted|flipped"

NOISY = re.compile(rf"({_MARK})({'|'.join(LABELS)}|y)?|({'|'.join(LABELS)}|y)({_MARK})")
"""Names of columns of noisy labels, as :func:`fer_bench.data.readers.sheet.plain` writes them: "noisylabel", "new"."""

_FLAGS = frozenset(("0", "1", "0.0", "1.0", "true", "false", "yes", "no", "y", "n", ""))
"""Cells that say whether something is so, in small letters."""


def is_header(cells: Sequence[str]) -> bool:
    """Whether the first line of a list names a column of images and one of labels."""
    names = [plain(cell) for cell in cells]
    return bool(image_columns(cells)) and any(name in LABELS or NOISY.fullmatch(name) for name in names)


def image_columns(header: Sequence[str]) -> list[int]:
    """Columns of a table that are called like names of images, by number from 0; the preferred ones come first."""
    names = [plain(name) for name in header]
    return [number for wanted in IMAGES for number, name in enumerate(names) if name == wanted]


def label_column(
    header: Sequence[str], cells: Sequence[Sequence[str]], classes: Sequence[str], path: Path
) -> int | None:
    """The column of the noisy labels by number from 0; None if no column is called like labels.

    A column whose name says that its labels are noisy comes before all others. Of columns that say the same in numbers
    and in class names, the one with class names is used.

    Args:
        header: Names of the columns.
        cells: Cells of each column.
        classes: Class names of the data set.
        path: The table, for messages.

    Raises:
        DataError: Two columns may be the noisy labels, and they differ.
    """
    names = [plain(name) for name in header]
    labels = [number for wanted in LABELS for number, name in enumerate(names) if name == wanted]
    noisy = [number for number, name in enumerate(names) if NOISY.fullmatch(name)]
    # "noisy" beside "label" says of each label whether it is noisy, or how, if it says yes or no, or holds no labels
    unsure = [number for number in noisy if labels and re.fullmatch(_MARK, names[number])]
    flags = [number for number in unsure if _are_flags(cells[number])]
    others = [number for number in unsure if not _are_labels(cells[number], cells[labels[0]], classes)]
    noisy = [number for number in noisy if number not in (*flags, *others)]
    if flags and not noisy and _are_flags(cells[labels[0]]):
        labels += flags  # the labels look like flags, too
    found = noisy or labels
    for other in found[1:]:
        _require_same(header, cells, (found[0], other), classes, path)
    named = [number for number in found if set(as_classes(cells[number], classes)) <= set(classes)]
    return next(iter(named or found), None)


def _are_flags(cells: Sequence[str]) -> bool:
    return {cell.lower() for cell in cells} <= _FLAGS


def _are_labels(cells: Sequence[str], label: Sequence[str], classes: Sequence[str]) -> bool:
    return set(as_classes(cells, classes)) <= set(classes) or not set(cells).isdisjoint(label)


def _require_same(
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    columns: tuple[int, int],
    classes: Sequence[str],
    path: Path,
) -> None:
    """DataError where two columns give an image different labels; numbers and names of classes may be the same."""
    one, other = (as_classes(cells[number], classes) for number in columns)
    pairs = set(zip(one, other, strict=True))
    in_other_words = len(pairs) == len(set(one)) == len(set(other)) and set(one).isdisjoint(other)
    if one == other or in_other_words:
        return
    row = next(row for row, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    names = " and ".join(f"{header[number]!r} (column {number + 1})" for number in columns)
    raise DataError(
        f"{path}: {names} are both labels, and they differ, first in row {row + 1} of the table: "
        f"{cells[columns[0]][row]!r} and {cells[columns[1]][row]!r}. Call the one to use noisy_label."
    )
