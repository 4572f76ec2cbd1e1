"""Weights from class counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """E_c = (1 - beta^n_c) / (1 - beta): float64 [C] of counts [C]; beta = 0 gives 1 (for n_c > 0).

    1 - beta^n is taken as -expm1(n log beta), which keeps its digits as beta approaches 1.
    (Cui et al. 2019; richardaecn/class-balanced-loss ``src/cifar_main.py``.)
    """
    counts = counts.double()
    if beta == 0.0:
        return (counts > 0).double()
    return -torch.expm1(counts * math.log(beta)) / (1.0 - beta)


def effective_number_weights(counts: Tensor, beta: float, official: bool = False) -> Tensor:
    """w_c proportional to 1 / E_c, with sum_c w_c = the number of present classes: float64 [C] of counts [C].

    An absent class (count 0) has weight 0. ``official=True`` has no such case and gives NaN there and 0 elsewhere.
    (richardaecn/class-balanced-loss ``src/cifar_main.py``.)
    """
    inverse = 1.0 / effective_number(counts, beta)
    if official:
        return inverse / inverse.sum() * len(counts)
    present = counts > 0
    inverse = torch.where(present, inverse, 0.0)
    return inverse / inverse.sum() * present.sum()
