"""The 19 facial points that methods learn from: their order, their mirror image, and what looks wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Points = TypeVar("Points", np.ndarray, "Tensor")

POINTS = (
    "left brow, outer end", "left brow, middle", "left brow, inner end",
    "right brow, inner end", "right brow, middle", "right brow, outer end",
    "left eye, outer corner", "left eye, centre", "left eye, inner corner",
    "right eye, inner corner", "right eye, centre", "right eye, outer corner",
    "nose, left wing", "nose, tip", "nose, right wing",
    "mouth, left corner", "mouth, centre", "mouth, right corner", "chin",
)  # fmt: skip
"""The points of AFLW, in order; left and right are those of the image."""

MIRRORED = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18)
"""Which point of a face is at each index in the mirrored face: left and right are exchanged."""

BELOW = ((1, 7), (4, 10), (7, 13), (10, 13), (13, 16), (16, 18))
"""Pairs of points of an upright face, the second of which is below the first."""

_AFLW_FROM_68: tuple[tuple[int, ...], ...] = (
    (17,), (19,), (21,), (22,), (24,), (26,),
    (36,), (36, 37, 38, 39, 40, 41), (39,), (42,), (42, 43, 44, 45, 46, 47), (45,),
    (31,), (30,), (35,),
    (48,), (62, 66), (54,), (8,),
)  # fmt: skip


def mirrored(points: Points) -> Points:
    """Mirrors points with the image.

    Args:
        points: [..., L, 2], (x, y) as fractions of width and height.

    Returns:
        The points of the mirrored image, with left and right exchanged if there are 19 of them.
    """
    order = MIRRORED if points.shape[-2] == len(MIRRORED) else range(points.shape[-2])
    turned = points[..., list(order), :]  # a copy
    turned[..., 0] = 1 - turned[..., 0]
    return turned


def from_68(points: np.ndarray) -> np.ndarray:
    """Takes the 19 points of AFLW from the 68 of iBUG 300-W (0-based).

    The centre of an eye is the mean of its six points, that of the mouth the mean of the inner lips.

    Args:
        points: [N, 68, 2].

    Returns:
        [N, 19, 2].
    """
    return np.stack([points[:, list(indices)].mean(axis=1) for indices in _AFLW_FROM_68], axis=1)


def problems(points: np.ndarray, found: np.ndarray) -> list[str]:
    """Says what looks wrong with landmarks: their number, their order, their sides.

    Args:
        points: [N, L, 2], as fractions of width and height.
        found: [N] bool, whether a face has landmarks.

    Returns:
        One sentence for each problem.
    """
    if points.shape[1] != len(POINTS):
        return [f"landmarks: {points.shape[1]} points a face; methods take {len(POINTS)} in the order of AFLW"]
    if not found.any():
        return ["landmarks: not found in any face"]
    x, y = np.median(points[found], axis=0).T
    sides = [(a, b) for a, b in enumerate(MIRRORED) if "left" in POINTS[a]]
    wrong = [(a, "left of", b) for a, b in sides if x[a] >= x[b]]
    wrong += [(a, "above", b) for a, b in BELOW if y[a] >= y[b]]
    sentences = [
        f"landmarks: in the typical face, point {a} ({POINTS[a]}) is not {where} point {b} ({POINTS[b]})"
        for a, where, b in wrong
    ]
    if turned := int((points[found, 7, 0] >= points[found, 10, 0]).sum()):
        sentences.append(f"landmarks: faces whose left eye is not left of the right one: {turned:,}")
    return sentences
