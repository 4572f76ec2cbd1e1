"""SCE: symmetric cross-entropy.

Y. Wang, X. Ma, Z. Chen, Y. Luo, J. Yi, J. Bailey. "Symmetric Cross Entropy for Robust Learning with Noisy Labels".
ICCV 2019, arXiv 1908.06112. Code: github.com/YisenWang/symmetric_cross_entropy_for_noisy_labels @ ec778df (TensorFlow);
its PyTorch version: github.com/HanxunH/SCELoss-Reproduce @ c81fb33.

1. Reverse cross-entropy exchanges prediction and label: -sum_c p_c log q_c, with A = log 1e-4 instead of log 0. For a
   one-hot label it is |A| (1 - p_y), which is bounded and tolerates label noise.
2. L = alpha CE + beta RCE: cross-entropy makes training converge, the reverse term makes it robust.
3. The gradient is that of cross-entropy times alpha + beta |A| p_y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, SampleWeight, hparam
from fer_bench.ops import LOG_ZERO, label_log_probability, require_range, reverse_cross_entropy

Clamp = Literal["none", "pytorch", "tensorflow"]
SMALLEST = 1e-7
"""Where the official codes clamp probabilities."""


def symmetric_cross_entropy(
    logits: Tensor, labels: Tensor, alpha: float, beta: float, log_zero: float = LOG_ZERO, clamp: Clamp = "none"
) -> Tensor:
    """alpha CE + beta RCE, [B], of logits [B, C] and labels [B].

    "pytorch" clamps probabilities to 1e-7 in the reverse term, "tensorflow" in cross-entropy; no gradient passes below.
    """
    if clamp == "tensorflow":
        ce = -label_log_probability(logits, labels).exp().clamp(min=SMALLEST).log()
    else:
        ce = F.cross_entropy(logits, labels, reduction="none")
    rce = reverse_cross_entropy(logits, labels, log_zero, SMALLEST if clamp == "pytorch" else 0.0)
    return alpha * ce + beta * rce


class Sce(Method):
    info = Info(
        name="SCE",
        title="Symmetric Cross Entropy for Robust Learning with Noisy Labels",
        authors="Yisen Wang, Xingjun Ma, Zaiyi Chen, Yuan Luo, Jinfeng Yi, James Bailey",
        venue="ICCV",
        year=2019,
        idea="Adds reverse cross-entropy to cross-entropy. The reverse loss exchanges prediction and label; it is "
        "bounded and tolerates label noise.",
        kind="label noise",
        family="losses",
        scaling="With an adaptive optimizer such as Adam, only the ratio of alpha and beta matters. alpha = 0.1 is for "
        "about ten classes. For 100 classes the official pair is 6 and 0.1, which is nearly plain cross-entropy. If "
        "rare classes are never predicted, a larger alpha helps.",
        arxiv="1908.06112",
        code="github.com/YisenWang/symmetric_cross_entropy_for_noisy_labels @ ec778df and "
        "github.com/HanxunH/SCELoss-Reproduce @ c81fb33",
        deviations=(
            "Probabilities are not clamped. The official codes clamp them at 1e-7, the TensorFlow code in "
            "cross-entropy and the PyTorch code in the reverse term (clamp).",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        alpha: float = hparam(0.1, "weight of cross-entropy", "official: CIFAR-10, whose classes are as few")
        beta: float = hparam(1.0, "weight of reverse cross-entropy", "official: CIFAR-10")
        log_zero: float = hparam(
            LOG_ZERO,
            "A, what stands for log 0; the authors speak of -4 (base 10), their codes take the natural log of 1e-4",
            "official loss.py",
        )
        clamp: Literal["none", "pytorch", "tensorflow"] = hparam(
            "none",
            "probabilities of 1e-7 at least in the reverse term ('pytorch') or in cross-entropy ('tensorflow')",
            "project default: the exact form",
        )

        def __post_init__(self) -> None:
            require_range("alpha", self.alpha, low=0)
            require_range("beta", self.beta, low=0)
            require_range("log_zero", self.log_zero, high=0)

    @classmethod
    def sample_weight(cls, config: Config, epoch: int, epochs: int) -> SampleWeight:
        return lambda p_label, p_other: config.alpha - config.beta * config.log_zero * p_label

    def loss(self, batch: Batch, run: Run) -> Tensor:
        c, logits = self.config, self.net(batch.view("weak")).float()
        return symmetric_cross_entropy(logits, batch.label, c.alpha, c.beta, c.log_zero, c.clamp).mean()
