"""Focal loss, in the softmax form of long-tailed recognition.

T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár. "Focal Loss for Dense Object Detection". ICCV 2017,
arXiv 1708.02002. Its sigmoid form is ``cb`` with variant='focal' and beta=0. Code of the softmax form:
github.com/kaidic/LDAM-DRW @ 2536330 (losses.py) and github.com/hyperconnect/LADE @ 5db5d13 (loss/FocalLoss.py).

1. A sample that is already classified well counts less: L = (1 - p_y)^gamma CE; gamma = 0 is cross-entropy.
2. The loss does not use class counts. Rare classes are hard for longer, but so are wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, SampleWeight, Task, hparam
from fer_bench.ops import deferral_is_over, effective_number_weights, require_range

AtCertainty = Literal["finite", "official"]


def focal_loss(
    logits: Tensor,
    labels: Tensor,
    gamma: float,
    weight: Tensor | None = None,
    detach: bool = False,
    at_certainty: AtCertainty = "finite",
) -> Tensor:
    """(1 - p)^gamma CE, [B], of logits [B, C] and labels [B]; gamma = 0 is CE itself.

    Class weights ``weight`` [C] multiply CE before p = exp(-CE) is taken, as in LDAM-DRW. ``detach`` takes no gradient
    through the factor, as in LADE. For gamma < 1 the gradient of a sample with p = 1 is NaN ("official"); "finite"
    replaces smaller values of 1 - p by 1e-7 (1e-12 in float64).
    """
    ce = F.cross_entropy(logits, labels, reduction="none")
    if weight is not None:
        ce = weight.to(ce)[labels] * ce
    if gamma == 0:
        return ce
    miss = -torch.expm1(-ce)
    if gamma < 1 and at_certainty == "finite":
        miss = miss.clamp(min=1e-12 if miss.dtype == torch.float64 else 1e-7)
    factor = miss**gamma
    return (factor.detach() if detach else factor) * ce


class Focal(Method):
    info = Info(
        name="Focal loss",
        title="Focal Loss for Dense Object Detection",
        authors="Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr Dollár",
        venue="ICCV",
        year=2017,
        idea="Multiplies the cross-entropy of each image by (1 - p)^gamma, where p is the probability of its label. "
        "Images that are already classified well then count less.",
        kind="imbalance",
        family="imbalance",
        scaling="gamma acts on the probability of the label, so the length of the training and the batch size do not "
        "matter. The factor makes the loss smaller; an adaptive optimizer such as Adam compensates for this. The class "
        "weights of 'drw' start after a share of the epochs. Their beta must fit the class sizes, as in the "
        "class-balanced loss.",
        arxiv="1708.02002",
        code="github.com/kaidic/LDAM-DRW @ 2536330 and github.com/hyperconnect/LADE @ 5db5d13 (softmax form)",
        deviations=(
            "The loss of the paper is a sigmoid loss for detection. This is the softmax form that is used for "
            "long-tailed recognition.",
            "For gamma < 1, 1 - p is at least 1e-7. Officially the gradient of an image with p = 1 is NaN "
            "(at_certainty='official').",
            "Deferred class weights start after a share of the training. Officially they start at epoch 160, and never "
            "in a shorter training. A class without training images has weight 0; officially NaN.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        gamma: float = hparam(2.0, "focusing exponent; 0 = cross-entropy", "LADE FocalLoss.py; LDAM-DRW has 1")
        detach: bool = hparam(
            False, "True: no gradient through the factor, as in LADE", "LDAM-DRW losses.py differentiates it"
        )
        weights: Literal["none", "drw"] = hparam(
            "none",
            "'drw': class weights by the effective number, inside the factor, late in training",
            "project default; LDAM-DRW cifar_train.py has both",
        )
        start: float = hparam(
            0.8, "'drw': share of the epochs without weights", "LDAM-DRW cifar_train.py: 160 of 200 epochs"
        )
        beta: float = hparam(0.9999, "'drw': beta of the effective number", "LDAM-DRW cifar_train.py")
        at_certainty: Literal["finite", "official"] = hparam(
            "finite", "gradient at p = 1 for gamma < 1; 'official' is NaN", "LDAM-DRW losses.py, made finite"
        )

        def __post_init__(self) -> None:
            require_range("gamma", self.gamma, low=0)
            require_range("start", self.start, 0, 1)
            require_range("beta", self.beta, 0, 0.999999)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        weights = effective_number_weights(task.class_counts, config.beta)
        self.register_buffer("class_weights", weights.float(), persistent=False)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        weighted = ", class weights inside the factor" if config.weights == "drw" else ""
        return (f"gamma {config.gamma:g}{weighted}",)

    @classmethod
    def sample_weight(cls, config: Config, epoch: int, epochs: int) -> SampleWeight:
        return lambda p_label, p_other: (1 - p_label) ** config.gamma

    def loss(self, batch: Batch, run: Run) -> Tensor:
        c, logits = self.config, self.net(batch.view("weak")).float()
        weighted = c.weights == "drw" and deferral_is_over(run.epoch, run.epochs, c.start)
        weight = self.class_weights if weighted else None
        return focal_loss(logits, batch.label, c.gamma, weight, c.detach, c.at_certainty).mean()
