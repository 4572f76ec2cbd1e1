"""Contrast of features with those of another modality, and the queue that holds earlier ones."""

from __future__ import annotations

import torch
from torch import Tensor


def contrast(q: Tensor, k: Tensor, queue: Tensor, labels: Tensor, queue_labels: Tensor, temperature: float) -> Tensor:
    """The cross-modal contrastive loss of LA-Net.

    -log of exp(q_i k_j / T) over itself plus the queue entries whose label differs from that of i, mean over the j of
    the batch with the label of i (i itself is one), then over i. Other rows of the batch are no negatives.

    Args:
        q: Anchors [B, d].
        k: Keys [B, d] of the other modality.
        queue: Earlier keys [K, d].
        labels: int64 [B].
        queue_labels: int64 [K].
        temperature: T, above 0.

    Returns:
        A scalar.

    >>> q, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> contrast(q, q, far, torch.tensor([0]), torch.tensor([1]), temperature=1.0)
    tensor(0.3133)
    """
    positive = (labels[:, None] == labels[None]).to(q.dtype)
    q = q / temperature
    negatives = (q @ queue.T).masked_fill(labels[:, None] == queue_labels[None], -1e10)
    s = q @ k.T
    loss = torch.logaddexp(s, negatives.logsumexp(dim=1, keepdim=True)) - s
    return ((loss * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def queue_places(pointer: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Where a first-in-first-out queue writes.

    Args:
        pointer: int64 scalar, the oldest entry.
        count: Rows to write.
        size: Entries of the queue.

    Returns:
        int64 [count], the entries to replace, and the next pointer.

    >>> queue_places(torch.tensor(3), 2, 4)
    (tensor([3, 0]), tensor(1))
    """
    return (pointer + torch.arange(count, device=pointer.device)) % size, (pointer + count) % size
