"""NCE+RCE: active passive losses, normalised cross-entropy with reverse cross-entropy.

X. Ma, H. Huang, Y. Wang, S. Romano, S. Erfani, J. Bailey. "Normalized Loss Functions for Deep Learning with Noisy
Labels". ICML 2020, arXiv 2006.13554. Code: github.com/HanxunH/Active-Passive-Losses @ 04bce53.

1. A loss divided by its sum over all labels tolerates label noise, but underfits. Normalised cross-entropy is
   log p_y / sum_c log p_c. It is "active": it looks at the label only.
2. A robust "passive" loss also pushes the other classes down: reverse cross-entropy, |A| (1 - p_y), A = log 1e-4, or
   the mean absolute error 1 - p_y.
3. L = alpha NCE + beta RCE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, hparam
from fer_bench.ops import LOG_ZERO, label_log_probability, require_range, reverse_cross_entropy


def normalised_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y / sum_c log p_c, [B] in [0, 1], of logits [B, C] and labels [B]; the sum over all labels is 1."""
    return label_log_probability(logits, labels) / F.log_softmax(logits, dim=1).sum(dim=1)


def mean_absolute_error(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - p_y, [B]: half of sum_c |p_c - q_c|, as in the official code."""
    return reverse_cross_entropy(logits, labels, log_zero=-1.0)


class NceRce(Method):
    info = Info(
        name="NCE+RCE",
        title="Normalized Loss Functions for Deep Learning with Noisy Labels",
        authors="Xingjun Ma, Hanxun Huang, Yisen Wang, Simone Romano, Sarah Erfani, James Bailey",
        venue="ICML",
        year=2020,
        idea="Adds two losses. Normalised cross-entropy tolerates noise but underfits. Reverse cross-entropy also "
        "lowers the probability of the other classes. Of several such pairs, NCE+RCE did best.",
        kind="label noise",
        family="losses",
        scaling="alpha = beta = 1 is for about ten classes. With more classes the normalised loss has smaller "
        "gradients; the authors then raise alpha and lower beta. With an adaptive optimizer such as Adam, only the "
        "ratio of alpha and beta matters.",
        arxiv="2006.13554",
        code="github.com/HanxunH/Active-Passive-Losses @ 04bce53",
        deviations=(
            "Probabilities are not clamped in the reverse term; the official code clamps them at 1e-7 (clamp=1e-7).",
            "The norm of the gradient is limited as the recipe says; officially to 5.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        alpha: float = hparam(1.0, "weight of the active loss", "official configs: CIFAR-10, whose classes are as few")
        beta: float = hparam(1.0, "weight of the passive loss", "official configs: CIFAR-10")
        passive: Literal["rce", "mae"] = hparam(
            "rce", "reverse cross-entropy, or the mean absolute error 1 - p_y", "official: NCE+RCE"
        )
        log_zero: float = hparam(
            LOG_ZERO,
            "'rce': A, what stands for log 0; in words it is -4 (base 10), the code takes the natural log of 1e-4",
            "official loss.py",
        )
        clamp: float = hparam(0.0, "'rce': smallest probability; 0 = none", "official: 1e-7; here the exact form")

        def __post_init__(self) -> None:
            require_range("alpha", self.alpha, low=0)
            require_range("beta", self.beta, low=0)
            require_range("log_zero", self.log_zero, high=0)
            require_range("clamp", self.clamp, 0, 0.1)

    def loss(self, batch: Batch, run: Run) -> Tensor:
        c, labels = self.config, batch.label
        logits = self.net(batch.view("weak")).float()
        active = normalised_cross_entropy(logits, labels)
        if c.passive == "mae":
            passive = mean_absolute_error(logits, labels)
        else:
            passive = reverse_cross_entropy(logits, labels, c.log_zero, c.clamp)
        return (c.alpha * active + c.beta * passive).mean()
