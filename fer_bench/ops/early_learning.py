"""Early-learning regularisation: agreement with a sample's own earlier predictions.

S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. "Early-Learning Regularization Prevents Memorization of Noisy
Labels". NeurIPS 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLAMP = 1e-4


def clamped_softmax(logits: Tensor) -> Tensor:
    """Probabilities [B, C] of logits [B, C], kept within [1e-4, 1 - 1e-4]. A clamped entry passes no gradient.

    >>> clamped_softmax(torch.tensor([[0.0, 20.0]]))
    tensor([[1.0000e-04, 9.9990e-01]])
    """
    return F.softmax(logits, dim=1).clamp(CLAMP, 1 - CLAMP)


def early_learning_term(logits: Tensor, target: Tensor) -> Tensor:
    """ln(1 - sum_k t_k c_k) with clamped probabilities c. The more the prediction agrees with the target, the smaller.

    Args:
        logits: [B, C].
        target: t [B, C], without gradient.

    Returns:
        [B], between ln(2e-4) = -8.5 and 0.

    >>> early_learning_term(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([-0.6931])
    """
    return torch.log(1 - (target * clamped_softmax(logits)).sum(dim=1))


def label_share(memory: Tensor, labels: Tensor) -> Tensor:
    """t_y / sum_k t_k: how much of a memory speaks for the label.

    Args:
        memory: t [N, C], not negative.
        labels: y int64 [N].

    Returns:
        [N], in [0, 1]; 0.5 for an empty memory.

    >>> label_share(torch.tensor([[0.6, 0.2], [0.0, 0.0]]), torch.tensor([0, 1]))
    tensor([0.7500, 0.5000])
    """
    own, mass = memory.gather(1, labels[:, None]).squeeze(1), memory.sum(dim=1)
    return torch.where(mass > 0, own / mass.clamp(min=torch.finfo(memory.dtype).tiny), 0.5)
