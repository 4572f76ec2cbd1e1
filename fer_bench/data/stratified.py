"""Stratified parts and hold-outs that depend on ids and seeds only."""

from __future__ import annotations

import math

import numpy as np

from fer_bench.core.seeds import uniform_by_id


def stratified_queue(labels: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Orders rows so that every beginning of the order is stratified.

    The sample of rank k = 0, 1, … in its class (by ``uniform``) is at (k + 1/2) / n_c. The first K rows have
    round(K n_c / N) of each class up to the rounding that makes the sum K: Webster's apportionment. Largest remainders
    would give the same counts nearly always, but may take an image from a class as K grows (the Alabama paradox); here
    the first K rows are a subset of the first K + 1 by construction.

    Args:
        labels: [N] int64.
        uniform: [N] float64, draws of the images.

    Returns:
        int64 [N].
    """
    counts = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.int64)
    position = (rank_in_class(labels, uniform) + 0.5) / counts[labels]
    return np.lexsort((uniform, labels, position))


def stratified_part(labels: np.ndarray, ids: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Chooses a stratified part of the images. A smaller part is a subset of a larger one.

    Every class is represented: its first image is taken before the proportions count.

    Args:
        labels: [N] int64.
        ids: [N] str, unique.
        size: Images to keep.
        seed: Draws the images.

    Returns:
        bool [N].

    Raises:
        ValueError: The size is out of range.
    """
    labels = check_labels(labels, ids)
    present = len(np.unique(labels))
    if not present <= size <= len(labels):
        raise ValueError(
            f"size = {size} is out of range: {present} (one image of each class) to {len(labels)} (all of them)"
        )
    uniform = uniform_by_id(seed, "part", ids)[:, 0]
    queue = stratified_queue(labels, uniform)
    first = rank_in_class(labels, uniform)[queue] == 0
    return _mask(np.concatenate([queue[first], queue[~first]])[:size], len(labels))


def holdout(labels: np.ndarray, ids: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Chooses round(fraction * N) images to hold out, stratified by label. A smaller fraction gives a subset.

    Args:
        labels: [N] int64.
        ids: [N] str, unique.
        fraction: Share of the images, 0 to less than 1.
        seed: Draws the images.

    Returns:
        bool [N].

    Raises:
        ValueError: The fraction is out of range.
    """
    labels = check_labels(labels, ids)
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction = {fraction} is out of range: 0 (hold out nothing) to less than 1")
    queue = stratified_queue(labels, uniform_by_id(seed, "holdout", ids)[:, 0])
    return _mask(queue[: nearest_count(fraction, len(labels))], len(labels))


def nearest_count(rate: float, total: int) -> int:
    """Rounds ``rate * total`` half up to a count; half an image lost to binary fractions (0.1 * 5) is given back."""
    return min(total, math.floor(rate * total + 0.5 + 1e-9))


def rank_in_class(labels: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Ranks each sample in its class by ``uniform`` [N], from 0: int64 [N]."""
    order = np.lexsort((uniform, labels))
    ordered = labels[order]
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return rank


def _mask(rows: np.ndarray, total: int) -> np.ndarray:
    mask = np.zeros(total, dtype=bool)
    mask[rows] = True
    return mask


def check_labels(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Converts labels to int64 [N]. ValueError unless they are class ids, one for each of ``ids``."""
    labels = np.asarray(labels)
    if labels.shape != (len(ids),):
        raise ValueError(f"labels have shape {labels.shape}, but there are {len(ids)} ids")
    if len(labels) and (labels.dtype.kind not in "iu" or labels.min() < 0):
        raise ValueError("labels must be integers from 0")
    return labels.astype(np.int64)
