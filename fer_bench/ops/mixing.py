"""Mixup: convex combinations of the samples of a batch with each other.

H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz. "mixup: Beyond Empirical Risk Minimization". ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fer_bench.ops.streams import integer_seed


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed: row i becomes ``share`` times itself plus ``1 - share`` times row ``partner[i]``.

    Attributes:
        share: lambda, in [0, 1], one for the batch.
        partner: int64 [B], a permutation of the rows.

    >>> Mix(0.75, torch.tensor([1, 0]))(torch.tensor([0.0, 4.0]))
    tensor([1., 3.])
    """

    share: float
    partner: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """The mixed rows of ``rows`` [B, ...], images or soft labels. Nothing is changed in place."""
        return self.share * rows + (1 - self.share) * rows[self.partner]


def draw_mix(count: int, alpha: float, generator: torch.Generator, dominant: bool = False) -> Mix:
    """Draws a mix: lambda from Beta(alpha, alpha), and a uniform permutation, which may have fixed points.

    Args:
        count: Rows of the batch.
        alpha: 0 gives lambda = 1, no mixing.
        generator: A fresh stream for each mix: lambda is drawn from its seed, since torch's Beta distribution takes no
            generator. The permutation is drawn on its device.
        dominant: True takes the larger of lambda and 1 - lambda, so that a row is more itself than its partner.

    >>> draw_mix(3, 0.0, torch.Generator().manual_seed(0)).share
    1.0
    """
    share = float(np.random.default_rng(integer_seed(generator)).beta(alpha, alpha)) if alpha > 0 else 1.0
    partner = torch.randperm(count, generator=generator, device=generator.device)
    return Mix(max(share, 1 - share) if dominant else share, partner)
