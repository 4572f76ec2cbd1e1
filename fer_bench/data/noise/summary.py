"""What noise did to the labels of a training set."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer_bench.data.imbalance import imbalance_factor


def summary(
    clean_label: np.ndarray, noisy_label: np.ndarray, num_classes: int, errors_known: bool = True
) -> dict[str, Any]:
    """Describes what noise did; see :func:`describe`.

    Args:
        clean_label: [N] int64.
        noisy_label: [N] int64, of the same images.
        num_classes: Number of classes C.
        errors_known: Whether labels that agree are known to be right; the purity of a class is None otherwise.

    Returns:
        Numbers and lists, ready for JSON.

    Raises:
        ValueError: The two differ in shape.
    """
    clean, noisy = np.asarray(clean_label, dtype=np.int64), np.asarray(noisy_label, dtype=np.int64)
    if clean.shape != noisy.shape or clean.ndim != 1:
        raise ValueError(f"clean and noisy labels must have one shape [N], got {clean.shape} and {noisy.shape}")
    pairs = np.bincount(clean * num_classes + noisy, minlength=num_classes**2)
    found = describe(pairs.reshape(num_classes, num_classes))
    return found if errors_known else found | {"purity": [None] * num_classes}


def describe(confusion: np.ndarray) -> dict[str, Any]:
    """Describes counts of clean and noisy labels.

    Args:
        confusion: [C, C] counts, rows by clean and columns by noisy label. They may be expected counts.

    Returns:
        n, realised_rate (share of wrong labels, 0 if there are none), confusion [C][C], clean_counts [C],
        noisy_counts [C], noisy_imbalance (largest over smallest noisy count, None if a class is empty), purity [C]
        (share of the samples labelled c that are c, None if there are none) and flips [C] (wrong labels among the
        samples that are c).
    """
    confusion = np.asarray(confusion)
    right, clean, noisy = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    total = confusion.sum()
    return {
        "n": total.item(),
        "realised_rate": float((total - right.sum()) / total) if total else 0.0,
        "confusion": confusion.tolist(),
        "clean_counts": clean.tolist(),
        "noisy_counts": noisy.tolist(),
        "noisy_imbalance": imbalance_factor(noisy),
        "purity": [float(r / n) if n else None for r, n in zip(right, noisy, strict=True)],
        "flips": (clean - right).tolist(),
    }
