"""CB: the class-balanced loss.

Y. Cui, M. Jia, T.-Y. Lin, Y. Song, S. Belongie. "Class-Balanced Loss Based on Effective Number of Samples". CVPR 2019,
arXiv 1901.05555. Code: github.com/richardaecn/class-balanced-loss @ 1d78572 (src/cifar_main.py, src/model_base.py).

1. Samples of a class overlap, so their effective number saturates: E_n = (1 - beta^n) / (1 - beta).
2. Each sample is weighted by 1 / E_n of its class; the weights of the classes are rescaled to sum to C.
3. The weights multiply an ordinary loss: softmax cross-entropy, sigmoid cross-entropy or the focal loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Run, Task, hparam
from fer_bench.ops import deferral_is_over, effective_number_weights, require_range

Reduction = Literal["batch_mean", "weighted_mean"]
Modulator = Literal["stable", "official"]


def softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy [B] of logits [B, C]."""
    return F.cross_entropy(logits, labels, reduction="none")


def focal_loss(logits: Tensor, labels: Tensor, gamma: float, modulator: Modulator = "stable") -> Tensor:
    """sum_c (1 - p^t_c)^gamma BCE_c: [B] of logits [B, C]; gamma = 0 is the sigmoid loss, exactly.

    p^t = sigmoid(z) for the label's unit, 1 - sigmoid(z) for the others. The modulator is differentiated too.
    "official" is exp(-gamma t z - gamma log1p(exp(-z))) (src/cifar_main.py). In float32 it is 0 for a positive unit
    with z < -88 or so, and the hardest samples are lost. "stable" computes the same number by
    exp(gamma logsigmoid(-(2t - 1) z)).
    """
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return bce.sum(dim=1)
    if modulator == "official":
        m = torch.exp(-gamma * target * logits - gamma * torch.log1p(torch.exp(-logits)))
    else:
        m = torch.exp(gamma * F.logsigmoid((1 - 2 * target) * logits))
    return (m * bce).sum(dim=1)


def sigmoid_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """sum_c BCE(z_c, [c = y]): [B] of logits [B, C]."""
    return focal_loss(logits, labels, gamma=0.0)


def weighted(per_sample: Tensor, weight: Tensor, reduction: Reduction = "batch_mean") -> Tensor:
    """sum_i a_i l_i / B ("batch_mean", as TensorFlow's reduction does) or / sum_i a_i ("weighted_mean"): a scalar."""
    total = (weight * per_sample).sum()
    return total / len(per_sample) if reduction == "batch_mean" else total / weight.sum()


class Cb(Method):
    info = Info(
        name="CB loss",
        title="Class-Balanced Loss Based on Effective Number of Samples",
        authors="Yin Cui, Menglin Jia, Tsung-Yi Lin, Yang Song, Serge Belongie",
        venue="CVPR",
        year=2019,
        idea="Divides the loss of each class by its effective number of images, E = (1 - beta^n) / (1 - beta) for n "
        "images. The loss is softmax cross-entropy, sigmoid cross-entropy or the focal loss.",
        kind="imbalance",
        family="imbalance",
        scaling="beta must fit the class sizes: 0.9999 distinguishes classes of up to about 10,000 images. If all "
        "classes are much smaller, the weights are inverse frequencies; if all are much larger, the weights are equal. "
        "start is a share of the epochs. Under imbalance, 'batch_mean' makes the loss smaller than cross-entropy; an "
        "adaptive optimizer such as Adam compensates for this. 'weighted_mean' keeps the scale of the loss.",
        arxiv="1901.05555",
        code="github.com/richardaecn/class-balanced-loss @ 1d78572",
        deviations=(
            "A class without training images has weight 0 and is left out when the weights are rescaled. Officially "
            "its weight is NaN.",
            "The focal factor is computed by logsigmoid. The official formula becomes 0 for the hardest images in "
            "float32, and they are lost (modulator='official').",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["softmax", "sigmoid", "focal"] = hparam(
            "softmax", "the loss that is weighted", "project default; the official scripts run all three"
        )
        beta: float = hparam(0.9999, "beta of the effective number; 0 = no weights", "official cifar_im_trainval_cb.sh")
        gamma: float = hparam(1.0, "focusing exponent of the focal variant", "official cifar_im_trainval_cb.sh")
        reduction: Literal["batch_mean", "weighted_mean"] = hparam(
            "batch_mean",
            "'batch_mean' divides by the batch size, 'weighted_mean' by the sum of the weights, as torch's weighted "
            "cross-entropy does",
            "official cifar_main.py",
        )
        modulator: Literal["stable", "official"] = hparam(
            "stable", "form of the focal factor", "official cifar_main.py, made stable"
        )
        start: float = hparam(
            0.0, "share of the epochs without weights; more than 0 is deferred re-weighting", "not part of this paper"
        )

        def __post_init__(self) -> None:
            if not 0 <= self.beta < 1:
                raise ValueError(f"beta = {self.beta!r} is out of range: it must be at least 0 and below 1")
            require_range("gamma", self.gamma, low=0)
            require_range("start", self.start, 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        weights = effective_number_weights(task.class_counts, config.beta)
        self.register_buffer("weights", weights.float(), persistent=False)
        self.has_absent = bool((task.class_counts == 0).any())

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        if self.config.variant != "softmax":
            # Every unit starts at sigmoid = 1 / C, so that the C - 1 negative units do not dominate the first steps.
            nn.init.constant_(self.net.get_classifier().bias, -math.log(self.task.num_classes - 1))

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        if self.config.variant == "softmax":
            return {"main": make_optimizer(self.parameters())}
        # src/model_base.py leaves the bias of the last layer out of weight decay for sigmoid and focal.
        bias = self.net.get_classifier().bias
        others = [p for p in self.parameters() if p is not bias]
        return {"main": make_optimizer([{"params": others}, {"params": [bias], "weight_decay": 0.0}])}

    def loss(self, batch: Batch, run: Run) -> Tensor:
        c, labels = self.config, batch.label
        logits = self.net(batch.view("weak")).float()
        if c.variant == "softmax":
            per_sample = softmax_loss(logits, labels)
        elif c.variant == "sigmoid":
            per_sample = sigmoid_loss(logits, labels)
        else:
            per_sample = focal_loss(logits, labels, c.gamma, c.modulator)
        if not deferral_is_over(run.epoch, run.epochs, c.start):
            return per_sample.mean()
        weight = self.weights[labels]
        if self.has_absent and bool((weight == 0).any()):
            raise ValueError("a label belongs to a class that had no training image when the weights were computed")
        return weighted(per_sample, weight, c.reduction)
