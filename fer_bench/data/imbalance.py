"""Class imbalance, stratified parts and hold-outs of a training set, always made on its clean labels.

Order matters: imbalance on clean labels first, label noise on the images that are kept (the order of RoLT and TABASCO).
A test set is never touched. All draws belong to an image's id (``seeds.uniform_by_id``), so nothing here depends on the
order of a file, on training seeds, or on what was drawn before; a stronger setting keeps a subset of a weaker one.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from fer_bench.core.errors import nearest
from fer_bench.core.seeds import uniform_by_id
from fer_bench.data.stratified import check_labels, rank_in_class

KINDS = {
    "exp": "exponential profile: n_max * IF^(-rank / (C - 1)) images in the class of this rank",
    "step": "the larger half of the classes keeps n_max images, the smaller half n_max / IF",
}


def imbalance_factor(counts: np.ndarray) -> float | None:
    """Largest over smallest of the class counts [C], which may be expected counts; None if a class is empty."""
    return float(np.max(counts) / np.min(counts)) if np.min(counts) > 0 else None


def shares(kind: str, factor: float, classes: int) -> np.ndarray:
    """Shares of the largest class that the classes get, by rank.

    "exp" is that of LDAM-DRW's ``imbalance_cifar.py`` and of Class-Balanced's ``get_img_num_per_cls`` (their imb_factor
    is 1 / factor). "step" is that of the same file, whose loops run over C // 2 classes twice and so lose one of an odd
    number of classes; here the larger half has ceil(C / 2).

    Args:
        kind: A name of KINDS.
        factor: Largest over smallest class, 1 or more.
        classes: Number of classes C.

    Returns:
        float64 [C], from 1 down to 1 / factor.

    Raises:
        ValueError: The kind is unknown or the factor out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"imbalance kind {kind!r} is unknown{nearest(kind, KINDS)}")
    if not 1 <= factor < math.inf:
        raise ValueError(f"imbalance factor = {factor} is out of range: 1 (the data's own balance) or more")
    rank = np.arange(classes)
    if kind == "step":
        return np.where(rank < (classes + 1) // 2, 1.0, 1.0 / factor)
    return np.asarray(factor, dtype=np.float64) ** (-rank / max(classes - 1, 1))


def describe(counts: np.ndarray, factor: float, kind: str = "exp") -> dict[str, Any]:
    """Describes what a profile makes of class counts.

    Args:
        counts: [C], clean training images of each class.
        factor: Imbalance factor, 1 or more.
        kind: A name of KINDS.

    Returns:
        Numbers and lists, ready for JSON: ideal [C] (the profile itself, from the largest class down; classes without
        images get none), kept [C] (min(available, ideal), and at least 1 where there is an image), raised (class ids
        that the profile would leave empty and that keep one image), capped (class ids with fewer images than the
        profile asks for: the real curve is steeper there), total (images kept), factor (that of ``kept``, None if a
        class is empty), exact_head (the largest class size for which no class is capped) and exact_counts (the profile
        that it gives).
    """
    counts = np.asarray(counts, dtype=np.int64)
    # FER data are imbalanced already, so classes are ranked by size and not, as in CIFAR-LT, by their number
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    share = np.zeros(len(counts))
    share[order] = shares(kind, factor, len(order))
    head = int(counts.max(initial=0))
    ideal = (head * share).astype(np.int64)
    kept = np.minimum(counts, np.maximum(ideal, 1))
    exact_head = min([head, *(int(counts[c] / share[c]) for c in order)])
    return {
        "ideal": ideal.tolist(),
        "kept": kept.tolist(),
        "raised": np.flatnonzero((ideal < 1) & (counts > 0)).tolist(),
        # under factor 1 every profile asks for n_max everywhere, which means "as it is" and not "capped"
        "capped": np.flatnonzero(counts < ideal).tolist() if factor > 1 else [],
        "total": int(kept.sum()),
        "factor": imbalance_factor(kept) if len(kept) else None,
        "exact_head": exact_head,
        "exact_counts": (exact_head * share).astype(np.int64).tolist(),
    }


def targets(counts: np.ndarray, factor: float, kind: str = "exp") -> np.ndarray:
    """Numbers of images to keep of each class: n_c = min(available, int(n_max * share of the rank)).

    Ranks go by descending clean count, ties by class id. Factor 1 leaves the data's own balance as it is: it does not
    ask for equal classes. A class that the profile would empty keeps one image, with a warning. Arguments are those of
    :func:`describe`.

    Returns:
        int64 [C].
    """
    plan = describe(counts, factor, kind)
    if plan["raised"]:
        warnings.warn(
            f"imbalance factor {factor:g} would leave no image of class {', '.join(map(str, plan['raised']))}; "
            "one image of each is kept",
            stacklevel=2,
        )
    return np.asarray(plan["kept"], dtype=np.int64)


def keep(labels: np.ndarray, ids: np.ndarray, *, kind: str = "exp", factor: float = 1.0, seed: int = 0) -> np.ndarray:
    """Chooses the images to keep. A larger factor keeps a subset.

    Args:
        labels: [N] int64, clean.
        ids: [N] str, unique.
        kind: A name of KINDS.
        factor: Imbalance factor, 1 or more.
        seed: Draws the order in which the images of a class are dropped.

    Returns:
        bool [N].
    """
    labels = check_labels(labels, ids)
    if not len(labels):
        return np.zeros(0, dtype=bool)
    counts = np.bincount(labels)
    rank = rank_in_class(labels, uniform_by_id(seed, "imbalance", ids)[:, 0])
    return rank < targets(counts, factor, kind)[labels]
