"""The accuracy of guessing: up to it, nothing shows that a run has learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

ERRORS = 2
"""Standard errors of guessing above chance up to which a run counts as at chance."""


def chance_limit(test: dict[str, Any]) -> float | None:
    """The highest mean accuracy over classes that cannot be told from guessing, a fraction.

    A run that always predicts one class has exactly 1/C. One that guesses each of n_c images of class c has 1/C in the
    mean, with a standard error of sqrt(1/C (1 - 1/C) sum_c 1/n_c) / C. The limit is 1/C plus ``ERRORS`` of these. A run
    that guesses exceeds it once in about forty times, and a run below it may have learned something too small to see
    on this test set. Without the numbers of images by class the limit is 1/C.

    Args:
        test: Test measures of an epoch: ``confusion`` [C, C] counts, ``recall`` [C] with None for a class without
            images. Only classes with images count.

    Returns:
        None if fewer than two classes are known to have images.
    """
    images = _images(test)
    classes = len(images) or _classes(test)
    return limit(classes, images) if classes > 1 else None


def limit(classes: int, images: Sequence[float]) -> float:
    """The highest accuracy that counts as chance, a fraction.

    Args:
        classes: Number C of classes that have test images.
        images: Test images of each of these classes; empty if they are not known.
    """
    chance = 1 / classes
    error = math.sqrt(chance * (1 - chance) * sum(1 / count for count in images)) / classes
    return chance + ERRORS * error


def _images(test: dict[str, Any]) -> list[float]:
    """Test images of each class that has some; empty where they are not known."""
    confusion = test.get("confusion")
    return [count for row in confusion if (count := sum(row))] if isinstance(confusion, list) else []


def _classes(test: dict[str, Any]) -> int:
    """Number of classes with test images by their recalls; 0 if it is not known."""
    recall = test.get("recall")
    return sum(value is not None for value in recall) if isinstance(recall, list) else 0
