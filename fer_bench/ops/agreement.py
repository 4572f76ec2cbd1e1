"""Divergences between two predictions, per sample, computed from logits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_divergence(logits_p: Tensor, logits_q: Tensor, stable: bool = True) -> Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) for p, q = softmax of the logits [B, K]: [B]; nothing is detached.

    ``stable=False`` is ``F.kl_div`` on probabilities, as in JoCoR's ``algorithm/loss.py``: the same values, but its
    gradient is NaN where a probability underflows to 0.
    """
    log_q = F.log_softmax(logits_q, dim=1)
    if not stable:
        return F.kl_div(log_q, F.softmax(logits_p, dim=1), reduction="none").sum(dim=1)
    log_p = F.log_softmax(logits_p, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def bhattacharyya(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """-log sum_k sqrt(p_k q_k): [B], for p, q = softmax of the logits [B, K]; 0 iff p = q, unbounded above."""
    return -torch.logsumexp((F.log_softmax(logits_p, dim=1) + F.log_softmax(logits_q, dim=1)) / 2, dim=1)


def jensen_shannon(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """0.5 KL(p || m) + 0.5 KL(q || m) with m = (p + q) / 2: [B], at most log 2."""
    log_p, log_q = F.log_softmax(logits_p, dim=1), F.log_softmax(logits_q, dim=1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1)


def mean_log_probability(*logits: Tensor) -> Tensor:
    """log of the mean of the softmax probabilities of several networks' logits [B, K]: [B, K]."""
    stacked = torch.stack([F.log_softmax(z.float(), dim=1) for z in logits])
    return torch.logsumexp(stacked, dim=0) - math.log(len(logits))
