"""mixup: training on convex combinations of images and of their labels.

H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz. "mixup: Beyond Empirical Risk Minimization". ICLR 2018,
arXiv 1710.09412. Code: github.com/facebookresearch/mixup-cifar10 @ eaff31a (train.py).

1. Each batch is mixed with a permutation of itself: lambda times a face plus (1 - lambda) times its partner.
2. lambda is drawn from Beta(alpha, alpha), one number for the batch.
3. The loss is the same combination of the cross-entropies with both labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, hparam
from fer_bench.ops import Mix, draw_mix, require_range


def mixed_cross_entropy(logits: Tensor, labels: Tensor, mix: Mix) -> Tensor:
    """lambda CE(z, y) + (1 - lambda) CE(z, y of the partner), a scalar, of the logits [B, K] of mixed images.

    Equal to cross-entropy with the mixed one-hot labels. Both cross-entropies are means over the batch.
    """
    own, partner = F.cross_entropy(logits, labels), F.cross_entropy(logits, labels[mix.partner])
    return mix.share * own + (1 - mix.share) * partner


class Mixup(Method):
    info = Info(
        name="mixup",
        title="mixup: Beyond Empirical Risk Minimization",
        authors="Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        venue="ICLR",
        year=2018,
        idea="Trains on weighted averages of two faces and of their labels. The network then behaves linearly between "
        "faces and memorises fewer wrong labels.",
        kind="label noise",
        family="regularisation",
        scaling="alpha does not depend on the batch size or on the number of classes. mixup learns slowly, so "
        "cross-entropy is often better in a short training.",
        arxiv="1710.09412",
        code="github.com/facebookresearch/mixup-cifar10 @ eaff31a",
        deviations=(
            "The mixing weights are drawn with the seed of the run. The official generator is never seeded.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. Officially it is SGD "
            "at 0.1 for 200 epochs.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        alpha: float = hparam(
            1.0, "shape of Beta(alpha, alpha), from which lambda is drawn; 0 = no mixing", "official train.py"
        )

        def __post_init__(self) -> None:
            require_range("alpha", self.alpha, low=0)

    def loss(self, batch: Batch, run: Run) -> Tensor:
        mix = draw_mix(len(batch), self.config.alpha, run.generator("mixup"))
        logits = self.net(mix(batch.view("weak"))).float()
        return mixed_cross_entropy(logits, batch.label, mix)
