"""Deferred re-weighting: class weights that act in the last part of the training only."""

from __future__ import annotations

import math


def deferral_is_over(epoch: int, epochs: int, start: float) -> bool:
    """Whether an epoch is in the part of the training that begins after a share of it.

    (Cao et al., NeurIPS 2019; kaidic/LDAM-DRW ``cifar_train.py``: epoch 160 of 200.)

    Args:
        epoch: 0-based.
        epochs: Epochs of the training.
        start: The share, in [0, 1].

    >>> [deferral_is_over(epoch, 10, 0.8) for epoch in (7, 8)]
    [False, True]
    """
    return epoch >= math.floor(start * epochs + 1e-9)  # 0.7 * 10 and its like are not rounded down to the epoch before
