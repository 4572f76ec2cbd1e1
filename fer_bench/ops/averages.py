"""Networks whose weights follow those of another network slowly: exponential moving averages."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def copied(modules: Any) -> Any:
    """A deep copy of ``modules`` that takes no gradient, for :func:`follow`.

    >>> copied(nn.Linear(1, 1)).weight.requires_grad
    False
    """
    copy_of = copy.deepcopy(modules)
    for parameter in copy_of.parameters():
        parameter.requires_grad_(False)
    return copy_of


@torch.no_grad()
def average_parameters(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Sets slow <- momentum * slow + (1 - momentum) * fast, for parameters only.

    >>> slow, fast = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> for net, value in ((slow, 0.0), (fast, 1.0)):
    ...     _ = nn.init.constant_(net.weight, value)
    >>> average_parameters(slow, fast, momentum=0.75)
    >>> slow.weight.item()
    0.25
    """
    if mine := tuple(slow.parameters()):  # torch refuses empty lists
        torch._foreach_mul_(mine, momentum)
        torch._foreach_add_(mine, tuple(fast.parameters()), alpha=1 - momentum)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """As :func:`average_parameters`; buffers such as BatchNorm's are copied.

    >>> slow, fast = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    >>> _ = fast.running_mean.fill_(3.0)
    >>> follow(slow, fast, momentum=0.75)
    >>> slow.running_mean.item()
    3.0
    """
    average_parameters(slow, fast, momentum)
    if own := tuple(slow.buffers()):
        torch._foreach_copy_(own, tuple(fast.buffers()))


def capped_momentum(step: int, momentum: float) -> float:
    """min(1 - 1 / (g + 1), m) of a 0-based step g: the plain mean of the first steps, then the moving average.

    >>> [capped_momentum(step, 0.6) for step in range(4)]
    [0.0, 0.5, 0.6, 0.6]
    """
    return min(1 - 1 / (step + 1), momentum)
