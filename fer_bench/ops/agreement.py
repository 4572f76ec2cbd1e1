"""How two networks' predictions agree, per sample, computed from logits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_divergence(logits_p: Tensor, logits_q: Tensor, stable: bool = True) -> Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k), in nats. Nothing is detached.

    Args:
        logits_p: [B, K], with p = softmax.
        logits_q: [B, K], with q = softmax.
        stable: False is ``F.kl_div`` on probabilities, as in JoCoR's ``algorithm/loss.py``: the same values, but its
            gradient is NaN where a probability underflows to 0.

    Returns:
        [B].

    >>> half, sure = torch.zeros(1, 2), torch.tensor([[0.0, -100.0]])
    >>> [round(x.item(), 4) for x in (kl_divergence(half, half), kl_divergence(sure, half))]
    [0.0, 0.6931]
    """
    log_q = F.log_softmax(logits_q, dim=1)
    if not stable:
        return F.kl_div(log_q, F.softmax(logits_p, dim=1), reduction="none").sum(dim=1)
    log_p = F.log_softmax(logits_p, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def mean_log_probability(*logits: Tensor) -> Tensor:
    """The log of the mean of several networks' softmax probabilities.

    Args:
        logits: [B, K] each.

    Returns:
        float32 [B, K], logits of the ensemble.

    >>> a, b = torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[0.75, 0.25]]).log()
    >>> mean_log_probability(a, b).exp()
    tensor([[0.5000, 0.5000]])
    """
    stacked = torch.stack([F.log_softmax(z.float(), dim=1) for z in logits])
    return torch.logsumexp(stacked, dim=0) - math.log(len(logits))
