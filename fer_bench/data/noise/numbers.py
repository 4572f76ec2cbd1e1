"""What the numbers in a list of noisy labels mean, judged by the reference labels of the same images."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.names import EMOTIONS, emotion_in

ORDERS = {
    "RAF-DB": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "FER2013 and ExpW": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "FERPlus": EMOTIONS,
    "AffectNet": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
}
"""Orders in which label numbers often count the basic expressions."""

RARER_ORDERS = {
    "Aff-Wild2 and ABAW": ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"),
    "CK+": ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "DFEW": ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"),
    "the codes of KDEF": ("fear", "anger", "disgust", "happiness", "neutral", "sadness", "surprise"),
    "MAFW": ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt"),
    "the alphabet with contempt": (
        "anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    ),
}  # fmt: skip
"""Further ones. Some are others moved on by one class, as pair noise moves labels, so they need more evidence."""

SURE = 0.01
"""How often a list that is read rightly may be taken for one in another order; see :func:`_is_clear`."""

OWN = ("the data set", "the numbers in its class names")
"""Titles of the orders that belong to a data set."""


@dataclass(frozen=True)
class Numbering:
    """How numbers are mapped to classes.

    Attributes:
        title: Whose order it is.
        order: Class names; those that the data set does not have mean no class.
        base: The number of the first class.
    """

    title: str
    order: tuple[str, ...]
    base: int

    def decode(self, numbers: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Class ids, int64 [M]; -1 for a number that is not a class."""
        ids = np.array([classes.index(name) if name in classes else -1 for name in self.order], dtype=np.int64)
        inside = (numbers >= self.base) & (numbers < self.base + len(ids))
        return np.where(inside, ids[np.clip(numbers - self.base, 0, len(ids) - 1)], -1)

    def shown(self) -> str:
        """The numbering in words that follow "its numbers"."""
        return f"count from {self.base} in the order of {self.title} ({', '.join(self.order)})"


@dataclass(frozen=True)
class Better:
    """A mapping of numbers to classes that agrees clearly better with the reference labels than the one in use.

    Attributes:
        right: Labels that are the reference labels in it.
        meaning: Class id of each number that has such labels.
    """

    right: int
    meaning: dict[int, int]

    def shown(self, classes: Sequence[str]) -> str:
        """What the numbers look like, the first ones: "0 looks like neutral, 1 like anger"."""
        pairs = [f"{number} like {classes[code]}" for number, code in self.meaning.items()]
        return ", ".join(pairs[:12]).replace(" like ", " looks like ", 1) + (" …" if len(pairs) > 12 else "")


def read_numbers(
    numbers: np.ndarray, reference: np.ndarray, classes: Sequence[str], names: Sequence[str], path: Path
) -> tuple[np.ndarray, str]:
    """Classes of the numbers in a list.

    They are in an order of the data set, or in a known one that agrees clearly better with the reference labels.

    Args:
        numbers: [M] int64, labels in the list.
        reference: [M] int64, reference labels of the same images.
        classes: Class names of the data set.
        names: [M], the images as the list names them.
        path: The list, for messages.

    Returns:
        Class ids, int64 [M], and a sentence on the order.

    Raises:
        DataError: No order has all numbers, or a mapping that is in no known order agrees clearly better with the
            reference labels, or the numbers agree with them only by chance.
    """
    choices = _numberings(numbers, classes)
    if not choices:
        raise _out_of_range(numbers, len(classes), path)
    decoded = np.array([choice.decode(numbers, classes) for choice in choices])
    right = decoded == reference
    agreement = right.mean(1)
    own = max((row for row, each in enumerate(choices) if each.title in OWN), key=agreement.__getitem__, default=None)
    chosen = _agreeing(choices, right, own)
    better = clearly_better(numbers, decoded[chosen], reference, len(classes))
    if better and right.sum(1).max() == better.right:
        chosen, better = int(agreement.argmax()), None
    if better:
        tried = chosen if own is None else own
        row = int(np.flatnonzero(np.isin(numbers, list(better.meaning)))[0])
        raise DataError(
            f"{path}: only {agreement[tried]:.0%} of its labels are the reference labels if its numbers "
            f"{choices[tried].shown()}, and {better.right / len(numbers):.0%} are in another order: "
            f"{better.shown(classes)}. Write class names in place of numbers, such as '{names[row]} "
            f"{classes[better.meaning[int(numbers[row])]]}'."
        )
    codes, size = decoded[chosen], len(classes)
    by_chance = float(np.bincount(codes, minlength=size) @ np.bincount(reference, minlength=size)) / len(codes) ** 2
    if agreement[chosen] <= by_chance < 1:
        if own is None:
            raise _out_of_range(numbers, size, path)
        raise DataError(
            f"{path}: only {agreement[chosen]:.0%} of its labels are the reference labels, no more than by chance: are "
            "its numbers in another class order? Write class names in place of numbers."
        )
    return (
        codes,
        f"its numbers {choices[chosen].shown()}; {agreement[chosen]:.1%} of its labels are the reference labels",
    )


def _out_of_range(numbers: np.ndarray, size: int, path: Path) -> DataError:
    return DataError(
        f"{path}: labels run from {numbers.min()} to {numbers.max()}; {size} classes are counted from 0 to {size - 1} "
        f"or from 1 to {size}. Class names in place of numbers always work."
    )


def _numberings(numbers: np.ndarray, classes: Sequence[str]) -> list[Numbering]:
    """Every known numbering in which all numbers are classes; those of the data set's own orders come first."""
    orders = dict(zip(OWN, (tuple(classes), _by_number(classes)), strict=True))
    own = {emotion_in(name): name for name in classes}
    if len(own) == len(classes) and "" not in own:
        # the names are the data set's, so that an order of expressions is one of the folders "0_angry", "1_happy", too
        known = {"the alphabet": tuple(sorted(own))} | ORDERS | RARER_ORDERS
        orders |= {title: tuple(own.get(name, name) for name in order) for title, order in known.items()}
    found = [Numbering(title, order, base) for title, order in orders.items() if order for base in (0, 1)]
    return [numbering for numbering in found if (numbering.decode(numbers, classes) >= 0).all()]


def _by_number(classes: Sequence[str]) -> tuple[str, ...]:
    """Classes by the one number in each name: "class_2" comes before "class_10"; () where it is no other order."""
    found = [re.findall(r"\d+", name) for name in classes]
    if any(len(each) != 1 for each in found) or len({int(each[0]) for each in found}) < len(classes):
        return ()
    order = tuple(sorted(classes, key=lambda name: int(re.findall(r"\d+", name)[0])))
    return order if order != tuple(classes) else ()


def _agreeing(choices: Sequence[Numbering], right: np.ndarray, own: int | None) -> int:
    """The data set's own numbering, unless another one is clearly better; ``right`` [choices, M]: where each agrees."""
    counts = right.sum(1)
    if own is None:
        return int(counts.argmax())
    # twice the square root of the number of labels is beyond what noise does to a list in the data set's own order
    enough = counts[own] + 2 * np.sqrt(right.shape[1])
    now, then = (right[own] & ~right).sum(1).tolist(), (right & ~right[own]).sum(1).tolist()
    better = [
        row
        for row, choice in enumerate(choices)
        if (counts[row] > enough and choice.title not in RARER_ORDERS) or _sign_test(now[row], then[row], len(choices))
    ]
    return max(better, key=counts.__getitem__, default=own)


def clearly_better(numbers: np.ndarray, codes: np.ndarray, reference: np.ndarray, size: int) -> Better | None:
    """The one-to-one mapping of numbers to classes that agrees best with the reference labels, if that is clear.

    Args:
        numbers: [M] int64, labels in the list.
        codes: [M] int64, the classes that they mean in the mapping in use, which is one-to-one.
        reference: [M] int64, reference labels.
        size: Number of classes.

    Returns:
        The mapping; None if noise in the labels explains that it agrees better, or if it is the one in use.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, as is all of SciPy

    values, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    table, used = np.zeros((len(values), size), dtype=np.int64), codes[first]
    np.add.at(table, (inverse, reference), 1)
    rows = np.arange(len(values))
    weight = table * (len(values) + 1)
    weight[rows, used] += 1  # of two mappings that agree equally well, the one that is nearer to the one in use
    _, best = linear_sum_assignment(weight, maximize=True)
    if not _is_clear(table, used, best):
        return None
    seen = rows[table[rows, best] > 0]
    return Better(int(table[rows, best].sum()), {int(values[row]): int(best[row]) for row in seen})


def _is_clear(table: np.ndarray, used: np.ndarray, best: np.ndarray) -> bool:
    """Whether labels [numbers, classes] show that ``best`` is meant and not the mapping ``used``.

    Noise that leaves every class more of its own labels than it gives to any other class favours no other mapping, at
    any rate and with any class sizes: of the labels that are right in one of two mappings only, at least half are
    expected to be right in the one in use. The sign test bounds how often it looks otherwise, times the number of
    mappings that ``best`` was chosen from. Pair noise above one half does favour another mapping.
    """
    moved = np.flatnonzero(best != used)
    if not len(moved):
        return False
    if table[np.arange(len(table)), best].sum() == table.sum() and table[moved].sum(1).min() > 1:
        return True  # the reference labels in other numbers: no noise swaps whole classes and leaves all others alone
    count, free = len(table), table.shape[1] - len(table)
    mappings = count * math.comb(count, len(moved)) * math.perm(free + len(moved), len(moved))
    return _sign_test(int(table[moved, used[moved]].sum()), int(table[moved, best[moved]].sum()), mappings)


def _sign_test(now: int, then: int, mappings: int) -> bool:
    """Whether labels that are right in one of two mappings only are in favour of the other one, of so many others."""
    from scipy.stats import binom

    return bool(math.log(mappings) + binom.logsf(then - 1, now + then, 0.5) < math.log(SURE))
