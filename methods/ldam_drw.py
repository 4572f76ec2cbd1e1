"""LDAM-DRW: label-distribution-aware margins with deferred re-weighting.

K. Cao, C. Wei, A. Gaidon, N. Arechiga, T. Ma. "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss".
NeurIPS 2019, arXiv 1906.07413. Code: github.com/kaidic/LDAM-DRW @ 2536330.

1. The head is normalised: its logits are cosines u_c of the features and the class vectors, without bias.
2. The cosine of the label is lowered by a margin m_c proportional to n_c^(-1/4), so rare classes get larger margins.
   The loss is the cross-entropy of s (u - m).
3. In the last part of the training, classes are weighted by the inverse of their effective number.
4. At test time there are no margins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, Method, Run, Task, hparam
from fer_bench.ops import deferral_is_over, effective_number_weights, require_positive, require_range

SMALLEST_NORM = 1e-12
WARM_UP = 0.025
"""Share of the epochs of the official linear warm-up: 5 of 200."""
DROPS = ((0.9, 1e-4), (0.8, 1e-2))
"""(share of the epochs, factor on the learning rate afterwards) of the official schedule."""


def class_margins(counts: Tensor, max_m: float, official: bool = False) -> Tensor:
    """m_c = max_m n_c^(-1/4) / max_k n_k^(-1/4), float64 [C], of the counts [C]: the rarest class has max_m.

    An absent class has margin 0 and is left out of the maximum. With ``official=True`` all margins become 0, and that
    of the absent class NaN (losses.py).
    """
    m = counts.double().cpu() ** -0.25
    if not official:
        m = m.masked_fill(m.isinf(), 0.0)
    return m * (max_m / m.max())


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """u [B, C] in [-1, 1] of the features [B, D] and the classifier's weight [C, D]; gradients flow through both norms.

    (NormedLinear in models/resnet_cifar.py.)
    """
    return F.linear(F.normalize(features, dim=1, eps=SMALLEST_NORM), F.normalize(weight, dim=1, eps=SMALLEST_NORM))


def ldam_loss(u: Tensor, labels: Tensor, margins: Tensor, s: float, weight: Tensor | None = None) -> Tensor:
    """CE(s (u - m_y [c = y]), y) of cosines [B, C] and margins [C]: a scalar, the mean over the batch.

    With class weights [C] it is sum_i w_i CE_i / sum_i w_i, so the weights cancel in a batch of one class (losses.py).
    """
    lowered = u - F.one_hot(labels, u.shape[1]) * margins.to(u)
    return F.cross_entropy(s * lowered, labels, weight=None if weight is None else weight.to(u))


def official_rate(epoch: int, epochs: int) -> float:
    """Factor on the learning rate in the 0-based ``epoch``: a linear warm-up, and two drops (cifar_train.py)."""
    if not deferral_is_over(epoch, epochs, WARM_UP):
        return min(1.0, (epoch + 1) / (WARM_UP * epochs))
    return next((factor for share, factor in DROPS if deferral_is_over(epoch, epochs, share)), 1.0)


class LdamDrw(Method):
    info = Info(
        name="LDAM-DRW",
        title="Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
        authors="Kaidi Cao, Colin Wei, Adrien Gaidon, Nikos Arechiga, Tengyu Ma",
        venue="NeurIPS",
        year=2019,
        idea="Classifies by scaled cosines, and lowers the cosine of the label by a margin in the training loss. Rare "
        "classes have a larger margin, proportional to n^(-1/4). Late in training, classes are weighted by the inverse "
        "of their effective number.",
        kind="imbalance",
        family="imbalance",
        scaling="The margins are relative: the rarest class has max_m for any counts. Cosines lie between -1 and 1, so "
        "s limits how confident the network can be. start is a share of the epochs. beta must fit the class sizes, as "
        "in the class-balanced loss.",
        arxiv="1906.07413",
        code="github.com/kaidic/LDAM-DRW @ 2536330",
        deviations=(
            "Re-weighting starts after a share of the training. Officially it starts at epoch 160, and never in a "
            "shorter training.",
            "The learning-rate schedule is the recipe's. The first drop of the official schedule is where re-weighting "
            "starts (lr_schedule='official').",
            "A class without training images has no margin and no weight. Officially the other margins become 0, and "
            "its own becomes NaN.",
            "The logits are the cosines times s, so their softmax is the trained one. Officially they are the cosines, "
            "with the same predicted class.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        max_m: float = hparam(0.5, "margin of the rarest class, in units of the cosine", "official cifar_train.py")
        s: float = hparam(30.0, "scale of the cosines", "official cifar_train.py")
        beta: float = hparam(
            0.9999, "beta of the effective number; 0 = no weights", "official cifar_train.py, rule DRW"
        )
        start: float = hparam(0.8, "share of the epochs without weights", "official cifar_train.py: 160 of 200 epochs")
        lr_schedule: Literal["recipe", "official"] = hparam(
            "recipe",
            "'official': linear warm-up in the first 2.5 % of the epochs, 0.01 from 80 %, 0.0001 from 90 %",
            "the harness's, for equal terms",
        )

        def __post_init__(self) -> None:
            require_range("max_m", self.max_m, 0, 2)
            require_positive("s", self.s)
            require_range("beta", self.beta, 0, 0.999999)
            require_range("start", self.start, 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        weights = effective_number_weights(task.class_counts, config.beta)
        self.register_buffer("margins", class_margins(task.class_counts, config.max_m).float(), persistent=False)
        self.register_buffer("class_weights", weights.float(), persistent=False)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        head = self.net.get_classifier()
        if not isinstance(head, nn.Linear):
            raise ValueError(f"the classifier must be one nn.Linear, not {type(head).__name__}")
        with torch.no_grad():
            head.weight.copy_(F.normalize(torch.empty_like(head.weight).uniform_(-1, 1), dim=1))
            head.bias.zero_()
        head.bias.requires_grad_(False)  # the normalised head has none

    def cosines(self, images: Tensor) -> Tensor:
        """u [B, C] of images. The logits of the network, which are not normalised, are not used."""
        features = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        return cosines(features.float(), self.net.get_classifier().weight)

    def on_epoch_start(self, run: Run) -> None:
        if self.config.lr_schedule == "official":
            for optimizer in run.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = optimizer.defaults["lr"] * official_rate(run.epoch, run.epochs)

    def loss(self, batch: Batch, run: Run) -> Tensor:
        c = self.config
        weight = self.class_weights if deferral_is_over(run.epoch, run.epochs, c.start) else None
        return ldam_loss(self.cosines(batch.view("weak")), batch.label, self.margins, c.s, weight)

    def predict(self, images: Tensor) -> Tensor:
        return self.config.s * self.cosines(images)
