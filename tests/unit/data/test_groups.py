"""Parts of a data set that keep the images of one person together."""

from __future__ import annotations

import numpy as np
import pytest

from fer_bench.data.groups import whole_groups


def people(count: int, classes: int = 3, images: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Labels and names: everybody shows every class in some images."""
    group = np.repeat([f"S{number:03d}" for number in range(count)], classes * images)
    return np.tile(np.repeat(np.arange(classes), images), count), group


def test_a_part_keeps_groups_whole_and_has_its_share_of_every_class() -> None:
    label, group = people(50)
    part = whole_groups(label, group, 0.2, "split")
    assert set(group[part]).isdisjoint(group[~part])
    assert np.bincount(label[part]).tolist() == [20, 20, 20]


def test_a_part_depends_on_no_order_but_on_seed_and_purpose() -> None:
    label, group = people(50)
    order = np.random.default_rng(0).permutation(len(label))
    part = whole_groups(label, group, 0.2, "split")
    assert np.array_equal(whole_groups(label[order], group[order], 0.2, "split"), part[order])
    others = [whole_groups(label, group, 0.2, "split", 1), whole_groups(label, group, 0.2, "other")]
    assert all(not np.array_equal(part, other) for other in others)


def test_groups_of_very_different_sizes_come_near_the_share() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 60, 80)
    group = np.repeat([f"p{number}" for number in range(80)], sizes)
    label = rng.choice(4, len(group), p=[0.6, 0.25, 0.1, 0.05])
    part = whole_groups(label, group, 0.2, "split")
    shares = np.bincount(label[part]) / np.bincount(label)
    assert shares == pytest.approx(0.2, abs=0.03) and set(group[part]).isdisjoint(group[~part])


def test_every_class_is_on_both_sides_where_two_groups_have_it() -> None:
    label = np.array([0] * 40 + [1] * 4)
    group = np.array([f"p{row // 2}" for row in range(40)] + ["a", "a", "b", "b"])
    part = whole_groups(label, group, 0.2, "split")
    assert np.bincount(label[part], minlength=2).tolist() == [8, 2]


def test_the_last_group_of_a_class_stays() -> None:
    label, group = np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "c"])
    part = whole_groups(label, group, 0.5, "split")
    assert np.bincount(label[part], minlength=2).tolist() == [1, 0]
    assert not whole_groups(label, np.full(4, "all"), 0.5, "split").any()
