"""Balanced Softmax.

J. Ren, C. Yu, S. Sheng, X. Ma, H. Zhao, S. Yi, H. Li. "Balanced Meta-Softmax for Long-Tailed Visual Recognition".
NeurIPS 2020, arXiv 2007.10740. Code: github.com/jiawei-ren/BalancedMetaSoftmax-Classification @ 34a61e4.

1. Training labels follow the class frequencies n_c, but the mean accuracy weighs all classes equally.
2. log n_c is added to the logits inside the training softmax, so the raw logits do not have to learn it.
3. At test time the term is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, Task, hparam
from fer_bench.ops import require_range


def log_prior(counts: Tensor, tau: float = 1.0) -> Tensor:
    """tau log n_c: float64 [C]. -inf leaves an absent class out of the softmax; all 0 if tau = 0."""
    return torch.zeros(len(counts), dtype=torch.float64) if tau == 0 else tau * counts.double().cpu().log()


def balanced_softmax_loss(logits: Tensor, labels: Tensor, prior: Tensor, reduction: str = "mean") -> Tensor:
    """CE(z + tau log n, y) of logits [B, C] and the log prior [C]; scaling all counts changes nothing.

    ``reduction`` is "mean" (scalar), "sum" (scalar) or "none" ([B]); a label of an absent class gives inf.
    """
    return F.cross_entropy(logits + prior.to(logits), labels, reduction=reduction)


class BalancedSoftmax(Method):
    info = Info(
        name="Balanced Softmax",
        title="Balanced Meta-Softmax for Long-Tailed Visual Recognition",
        authors="Jiawei Ren, Cunjun Yu, Shunan Sheng, Xiao Ma, Haiyu Zhao, Shuai Yi, Hongsheng Li",
        venue="NeurIPS",
        year=2020,
        idea="Adds the logarithm of the class counts to the logits in the training loss. At test time this term is "
        "left out, so that the logits do not favour frequent classes.",
        kind="imbalance",
        family="imbalance",
        scaling="tau multiplies the logarithm of the class counts, so the length of the training and the batch size do "
        "not matter. The counts are those of the noisy labels. Symmetric noise makes these counts more equal, and the "
        "correction becomes weaker.",
        arxiv="2007.10740",
        code="github.com/jiawei-ren/BalancedMetaSoftmax-Classification @ 34a61e4",
        deviations=(
            "The Meta Sampler is left out. It needs a second stage and a class-balanced stream of meta images. With "
            "wrong labels, this stream would fit the sampler to the noise.",
            "The class counts are computed from the training set. The official code reads them from a JSON file, which "
            "may be out of date.",
            "A label of a class without training images is an error. Officially the loss is infinite.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        tau: float = hparam(
            1.0, "exponent of the counts; 0 is cross-entropy, other values are logit adjustment", "official loss: 1"
        )

        def __post_init__(self) -> None:
            require_range("tau", self.tau, low=0)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("prior", log_prior(task.class_counts, config.tau).float(), persistent=False)
        self.has_absent = bool((task.class_counts == 0).any())

    def loss(self, batch: Batch, run: Run) -> Tensor:
        if self.has_absent and bool(self.prior[batch.label].isneginf().any()):
            raise ValueError("a label belongs to a class that had no training image when the prior was computed")
        return balanced_softmax_loss(self.net(batch.view("weak")).float(), batch.label, self.prior)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        """For comparison: the logits with the prior, which favour frequent classes."""
        return {"with prior": self.net(images).float() + self.prior.clamp(min=-1e3)}  # finite for an absent class
