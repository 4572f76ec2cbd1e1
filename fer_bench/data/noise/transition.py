"""Transition matrices of label noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer_bench.data.names import emotion_in
from fer_bench.data.noise.kinds import check_rate

SIMILAR = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "happiness": "neutral",
    "sadness": "neutral",
    "surprise": "anger",
    "neutral": "sadness",
}
"""LA-Net (Wu and Cui, ICCV 2023), dataloader.py::_add_class_dependent_noise. Nothing becomes fear or happiness, so
this noise raises the imbalance where symmetric noise lowers it."""


def transition_matrix(
    kind: str,
    rate: float,
    classes: Sequence[str] | int,
    *,
    counts: np.ndarray | None = None,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """The transition matrix T of a kind of noise: T_ij is the probability that a sample of class i gets label j.

    T_ij = (1 - r) [i = j] + r K_ij / sum_{k != i} K_ik for weights K of the kind (see :func:`weights`). The one
    exception is symmetric-inclusive, T = (1 - r) I + r / C, which is symmetric noise of rate r (C - 1) / C. A class
    whose weights are all 0 keeps its labels.

    Args:
        kind: A kind of noise that has a matrix.
        rate: r in [0, 1].
        classes: Class names, or their number C for kinds that do not use names.
        counts: [C], clean class counts, for "frequency".
        matrix: [C, C], confusion counts or probabilities, rows by clean label, for "confusion".

    Returns:
        float64 [C, C]; rows sum to 1.

    Raises:
        ValueError: A setting is out of range, or what the kind needs is missing.
    """
    check_rate(kind, rate)
    target = off_diagonal(weights(kind, classes, counts=counts, matrix=matrix))
    size = len(target)
    wrong = rate * (size - 1) / size if kind == "symmetric-inclusive" else rate
    # by any() and not by the sum, which rounding can put above 1: at rate 1 the diagonal would be negative
    return np.diag(1 - wrong * target.any(1)) + wrong * target


def weights(
    kind: str,
    classes: Sequence[str] | int,
    *,
    counts: np.ndarray | None = None,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """The weights K of a kind of noise: where the wrong labels of each class go, up to a factor for each class.

    Arguments and errors are those of :func:`transition_matrix`.

    Returns:
        float64 [C, C], rows by clean label; the diagonal is not used.
    """
    size = classes if isinstance(classes, int) else len(classes)
    if kind in ("symmetric", "symmetric-inclusive"):
        return np.ones((size, size))
    if kind == "pair":
        return np.roll(np.eye(size), 1, axis=1)
    if kind == "class-dependent":
        return _similar(classes)
    if kind == "frequency":
        return np.tile(_array(counts, (size,), f"{kind} noise needs class counts"), (size, 1))
    if kind == "confusion":
        return _array(matrix, (size, size), f"{kind} noise needs a confusion matrix")
    raise ValueError(f"noise kind {kind!r} has no transition matrix")


def _similar(classes: Sequence[str] | int) -> np.ndarray:
    """LA-Net's map by name. A class that is not in it (contempt) keeps its labels, and nothing becomes it."""
    names = [] if isinstance(classes, int) else list(classes)
    expressions = [emotion_in(name) for name in names]  # "0_angry" is anger
    if set(expressions) >= set(SIMILAR) and all(expressions.count(name) == 1 for name in SIMILAR):
        names = expressions
    missing = [name for name in SIMILAR if name not in names]
    if missing:
        raise ValueError(
            f"class-dependent noise needs the classes {', '.join(SIMILAR)}; this data set has no {', '.join(missing)} "
            f"(its classes: {', '.join(names) or classes})"
        )
    result = np.zeros((len(names), len(names)))
    for source, target in SIMILAR.items():
        result[names.index(source), names.index(target)] = 1
    return result


def _array(values: np.ndarray | None, shape: tuple[int, ...], message: str) -> np.ndarray:
    if values is None:
        raise ValueError(message)
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{message}: finite, non-negative, of shape {shape}; got shape {array.shape}")
    return array


def off_diagonal(values: np.ndarray) -> np.ndarray:
    """Sets the diagonal of [C, C] to 0 and scales each row to sum 1, or 0 where nothing is left."""
    target = values * (1 - np.eye(len(values)))
    total = target.sum(1, keepdims=True)
    return np.divide(target, total, out=np.zeros_like(target), where=total > 0)
