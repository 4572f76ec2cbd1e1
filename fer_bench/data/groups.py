"""Groups of images that resemble each other, as those of one person do, and parts that keep them whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fer_bench.core.seeds import uniform_by_id
from fer_bench.data.names import folded
from fer_bench.data.readers.common import listed


def whole_groups(label: np.ndarray, group: np.ndarray, share: float, purpose: str, seed: int = 0) -> np.ndarray:
    """Which images belong to a part of about ``share`` of each class that no group is divided by: bool [N].

    Groups are visited in the order of a hash of their names. A group joins the part if the class counts of the part
    come nearer to their shares. Then each class that has no image in the part gets the group that moves the counts
    least. A class never loses its last group to the part. The part depends on labels, groups and seed only, and on no
    order of the images.

    Args:
        label: [N] int64.
        group: [N] str.
        share: Of the images, from 0 to 1.
        purpose: Names the draw; two purposes draw differently.
        seed: Draws the order of the groups.
    """
    names, member = np.unique(group, return_inverse=True)
    counts = np.zeros((len(names), int(label.max(initial=-1)) + 1))
    np.add.at(counts, (member, label), 1)
    total = counts.sum(0)
    wanted, have = share * total, np.zeros_like(total)
    weight = 1 / np.maximum(total, 1)  # a small class matters as much as a large one
    chosen = np.zeros(len(names), dtype=bool)
    order = np.argsort(uniform_by_id(seed, f"{purpose}/groups", names)[:, 0], kind="stable")

    def cost(place: int) -> float:
        """How much farther the counts are from their shares with this group; infinity where it is a class's last."""
        own = counts[place]
        if chosen[place] or (have + own >= total)[own > 0].any():
            return np.inf
        return float((weight * (abs(wanted - have - own) - abs(wanted - have))).sum())

    def add(place: int) -> None:
        chosen[place] = True
        have[:] += counts[place]

    for place in order:
        if cost(place) < 0:
            add(place)
    for number in np.flatnonzero((have == 0) & (wanted > 0)):
        best = min((place for place in order if counts[place, number]), key=cost)
        if cost(best) < np.inf:
            add(best)
    return chosen[member]


def named_groups(found: Sequence[str | None], ids: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of each image, and a sentence on groups that are written in several ways and are one.

    Capital letters, blanks and the Unicode form make no difference, and numbers are compared by value: "Anna" and
    "ANNA " are one, and "1", "01" and "1.0". All other groups keep their names.

    Args:
        found: Names of groups; an image without one is its own group.
        ids: [N] str, of the images.

    Returns:
        [N] str, and at most one sentence.
    """
    written: dict[str, list[str]] = {}
    for name in sorted({name for name in found if name}):
        written.setdefault(_key(name), []).append(name)
    chosen = {name: same[0] for same in written.values() for name in same}
    group = np.array([chosen[name] if name else f"?{own}" for name, own in zip(found, ids, strict=True)], dtype=str)
    several = [" = ".join(same) for same in written.values() if len(same) > 1]
    return group, (f"groups that are written in several ways: {', '.join(listed(several))}",) if several else ()


def _key(name: str) -> str:
    """What is the same in all ways of writing a name."""
    plain = folded(" ".join(name.split()))
    number = re.fullmatch(r"0*(\d+)(\.0+)?", plain)
    return number[1] if number else plain
