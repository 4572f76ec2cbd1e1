"""Head and tail classes of a training set, and the accuracy on each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median


def head_and_tail_classes(counts: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes with many and those with few training images.

    The head are the classes above the median count and the tail those below it; a class at the median (the middle one
    of seven) is in neither. Where ties leave one side empty, as step imbalance does, the classes are split between the
    two neighbouring counts with the largest ratio instead.

    Args:
        counts: [C] training images of each class, by clean label, after imbalance was made and before noise was added:
            so all noise rates of one data set have the same head and tail.

    Returns:
        Indices of the head and of the tail classes. Both are empty where counts are not known or the largest class is
        less than twice the smallest: then there is no tail.
    """
    if not counts or max(counts) < 2 * min(counts):
        return (), ()
    head_above: float = median(counts)
    tail_below = head_above
    if not min(counts) < head_above < max(counts):
        ordered = sorted(set(counts))
        head_above, tail_below = max(pairwise(ordered), key=lambda pair: pair[1] / max(pair[0], 1))
    head = tuple(c for c, count in enumerate(counts) if count > head_above)
    tail = tuple(c for c, count in enumerate(counts) if count < tail_below)
    return head, tail


def head_tail(recall: Sequence[float | None] | None, counts: Sequence[int] | None) -> tuple[float | None, float | None]:
    """Mean recall over the head and over the tail classes.

    Args:
        recall: [C] fractions, None for a class without test images.
        counts: [C] training images, as for :func:`head_and_tail_classes`.

    Returns:
        Fractions; None where there is no such class with test images.
    """

    def mean(classes: Sequence[int]) -> float | None:
        known = [value for c in classes if recall and (value := recall[c]) is not None]
        return fmean(known) if known else None

    head, tail = head_and_tail_classes(counts)
    return mean(head), mean(tail)
