"""Losses of the probability of the given label that several methods are made of."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_ZERO = math.log(1e-4)
"""The value of log 0 in reverse cross-entropy: the natural logarithm of 1e-4, -9.21.

The authors speak of -4, which is the logarithm to base 10; the official codes take the natural one.
"""


def label_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-probability log p_y [B], the log-softmax at the label, of logits [B, C] and labels int64 [B].

    >>> label_log_probability(torch.zeros(1, 2), torch.tensor([1]))
    tensor([-0.6931])
    """
    return F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)


def reverse_cross_entropy(logits: Tensor, labels: Tensor, log_zero: float = LOG_ZERO, clamp: float = 0.0) -> Tensor:
    """-sum_c p_c log q_c of the one-hot label q, which is -log_zero (1 - p_y).

    (Wang et al., ICCV 2019; Ma et al., ICML 2020.)

    Args:
        logits: [B, C].
        labels: int64 [B].
        log_zero: What stands for log 0.
        clamp: Above 0: takes max(p_c, clamp), which passes no gradient below it (the official PyTorch codes: 1e-7).

    Returns:
        [B].

    >>> reverse_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), log_zero=-4.0)
    tensor([2.])
    """
    if clamp == 0:
        return log_zero * torch.expm1(label_log_probability(logits, labels))
    others = F.softmax(logits, dim=1).clamp(min=clamp).scatter(1, labels[:, None], 0.0)
    return -log_zero * others.sum(dim=1)
