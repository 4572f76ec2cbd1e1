"""The words of a list of noisy labels, or of the header of a matrix, as classes of a data set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.names import class_name, class_names
from fer_bench.data.noise.numbers import clearly_better, read_numbers


def as_classes(words: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Each word as the data set writes that class ("angry" may be "0_angry" there); other words as they are."""
    same, _ = class_names([*classes, *words])
    own = {same[name]: name for name in classes}
    if len(own) < len(classes):
        own = {name: name for name in classes}
    return [own.get(same[word], own.get(class_name(word), class_name(word))) for word in words]


def read_words(
    words: Sequence[str], reference: np.ndarray, classes: Sequence[str], names: Sequence[str], path: Path
) -> tuple[np.ndarray, list[str]]:
    """Class ids of label words, int64 [M], and notes. Names of classes need no agreement: they mean one class only.

    Args:
        words: [M], class names or numbers.
        reference: [M] int64, reference labels of the same images.
        classes: Class names of the data set.
        names: [M], the images as the list names them, for messages.
        path: The list, for messages.

    Raises:
        DataError: A word is neither a class nor a number, or as in :func:`fer_bench.data.noise.numbers.read_numbers`.
    """
    found = as_classes(words, classes)
    if set(found) <= set(classes):
        codes = np.array([classes.index(name) for name in found], dtype=np.int64)
        notes = _other_numbers(codes, reference, classes)
    else:
        codes, note = read_numbers(_integers(found, classes, path), reference, classes, names, path)
        notes = [note]
    if (codes == reference).all():
        notes.append("all of its labels are the reference labels: there is no noise")
    return codes, notes


def _other_numbers(codes: np.ndarray, reference: np.ndarray, classes: Sequence[str]) -> list[str]:
    """A warning where the classes of the data set are numbers, and those of the list look like other ones."""
    if not all(name.isdecimal() for name in classes):
        return []
    numbers = np.array([int(name) for name in classes])[codes]
    better = clearly_better(numbers, codes, reference, len(classes))
    if not better:
        return []
    return [
        f"its numbers are read as the classes of the same names, and {(codes == reference).mean():.0%} of its labels "
        f"are the reference labels; {better.right / len(codes):.0%} are in another order: {better.shown(classes)}"
    ]


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
