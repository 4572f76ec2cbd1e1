"""Recall over the head and the tail of an imbalanced data set."""

from __future__ import annotations

import pytest

from fer_bench.store.head_tail import head_and_tail_classes, head_tail


@pytest.mark.parametrize(
    ("counts", "head", "tail"),
    [
        ([300, 30, 30, 30, 30, 30, 30], (0,), (1, 2, 3, 4, 5, 6)),  # one large class: the median is the small count
        ([300, 300, 300, 300, 300, 300, 30], (0, 1, 2, 3, 4, 5), (6,)),
        ([30, 300, 300, 30, 300, 30, 300], (1, 2, 4, 6), (0, 3, 5)),  # step imbalance
        ([5000, 2000, 500, 500, 500], (0, 1), (2, 3, 4)),  # the largest ratio, not the largest difference
        ([40, 20, 20, 20, 0], (0,), (4,)),  # both sides of the median have a class
        ([20, 20, 0], (0, 1), (2,)),
    ],
)
def test_ties_at_the_median_split_head_and_tail_at_the_largest_gap(
    counts: list[int], head: tuple[int, ...], tail: tuple[int, ...]
) -> None:
    assert head_and_tail_classes(counts) == (head, tail)


def test_head_and_tail_are_classes_above_and_below_the_median_count() -> None:
    recall = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert head_tail(recall, [7, 60, 50, 40, 30, 20, 10]) == pytest.approx((0.7, (0.9 + 0.4 + 0.3) / 3))
    assert head_tail([0.9, 0.2], [20, 10]) == (0.9, 0.2)
    assert head_tail([0.9, None, 0.2], [30, 20, 10]) == (0.9, 0.2)
    assert head_and_tail_classes([7, 60, 50, 40, 30, 20, 10]) == ((1, 2, 3), (0, 5, 6))
    assert head_tail(recall, [429, 429, 429, 429, 428, 428, 428]) == (None, None), "balanced classes have no tail"
    assert head_tail([None, 0.2], [30, 10]) == (None, 0.2)
    assert head_tail(recall, None) == head_tail(None, [1, 2]) == (None, None)
