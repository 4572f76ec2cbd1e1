"""Weights from class counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """The effective number of samples of each class, E_c = (1 - beta^n_c) / (1 - beta).

    1 - beta^n is taken as -expm1(n log beta), which keeps its digits as beta approaches 1. (Cui et al. 2019;
    richardaecn/class-balanced-loss ``src/cifar_main.py``.)

    Args:
        counts: [C], training images of each class.
        beta: In [0, 1). 0 gives 1 for every present class; towards 1 the result approaches the counts.

    Returns:
        float64 [C].

    >>> effective_number(torch.tensor([1, 2, 100]), 0.5)
    tensor([1.0000, 1.5000, 2.0000], dtype=torch.float64)
    """
    counts = counts.double()
    if beta == 0.0:
        return (counts > 0).double()
    return -torch.expm1(counts * math.log(beta)) / (1.0 - beta)


def effective_number_weights(counts: Tensor, beta: float, official: bool = False) -> Tensor:
    """Weights of classes, proportional to 1 / E_c.

    (richardaecn/class-balanced-loss ``src/cifar_main.py``.)

    Args:
        counts: [C], training images of each class.
        beta: In [0, 1).
        official: True treats an absent class (count 0) as the official code does: its weight is NaN and that of the
            others is 0.

    Returns:
        float64 [C] with the sum of the number of present classes; 0 for an absent class.

    >>> effective_number_weights(torch.tensor([1, 2, 0]), 0.5)
    tensor([1.2000, 0.8000, 0.0000], dtype=torch.float64)
    """
    inverse = 1.0 / effective_number(counts, beta)
    if official:
        return inverse / inverse.sum() * len(counts)
    present = counts > 0
    inverse = torch.where(present, inverse, 0.0)
    return inverse / inverse.sum() * present.sum()
