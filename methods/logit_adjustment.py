"""Logit adjustment: post-hoc, or inside the training loss.

A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit, S. Kumar. "Long-tail learning via logit adjustment".
ICLR 2021, arXiv 2007.07314. Code: github.com/google-research/google-research @ 1d4d2f1 (logit_adjustment/).

1. With class prior pi, the best classifier for the mean of the per-class errors is argmax_c log p(c|x) - log pi_c.
2. Post-hoc: train by cross-entropy, and subtract tau log pi from the logits at test time.
3. Loss: add tau log pi to the logits inside the training softmax; the raw logits then learn the balanced score. At
   tau = 1 this is Balanced Softmax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Needs, Run, Task, hparam
from fer_bench.ops import require_range

EPSILON = 1e-12
"""Added to pi^tau by the official code. The adjustment is therefore at least -27.6, which a large tau reaches."""


def log_prior(counts: Tensor, tau: float, epsilon: float = EPSILON) -> Tensor:
    """log(pi_c^tau + epsilon), float64 [C], of the counts [C] (main.py, utils.py)."""
    prior = counts.double().cpu() / counts.sum().cpu()
    return (prior**tau + epsilon).log()


def replace_absent(adjustment: Tensor, counts: Tensor, by: float) -> Tensor:
    """The adjustment [C] with ``by`` for classes whose count is 0."""
    return adjustment.masked_fill(counts.cpu() == 0, by)


class LogitAdjustment(Method):
    info = Info(
        name="Logit adjustment",
        title="Long-tail learning via logit adjustment",
        authors="Aditya Krishna Menon, Sadeep Jayasumana, Ankit Singh Rawat, Himanshu Jain, Andreas Veit, Sanjiv Kumar",
        venue="ICLR",
        year=2021,
        idea="Trains by cross-entropy and subtracts tau log(class prior) from the logits at test time ('posthoc'), or "
        "adds it to the logits in the training loss ('loss').",
        kind="imbalance",
        family="imbalance",
        scaling="tau multiplies the logarithm of the class shares, so the length of the training and the batch size do "
        "not matter. The shares are those of the noisy labels, which symmetric noise makes more equal.",
        arxiv="2007.07314",
        code="github.com/google-research/google-research @ 1d4d2f1, logit_adjustment/",
        deviations=(
            "A class without training images gets no bonus in 'posthoc', and is left out of the softmax in 'loss'. "
            "Officially 'posthoc' predicts it for every image (absent='official').",
            "The class prior is computed from the training labels. The official code reads it from a file.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["posthoc", "loss"] = hparam(
            "posthoc", "'posthoc' adjusts at test time, 'loss' in training", "official main.py; loss: balanced_softmax"
        )
        tau: float = hparam(1.0, "factor on the log prior; 0 = cross-entropy", "official main.py")
        absent: Literal["neutral", "official"] = hparam(
            "neutral", "what a class without training images gets", "official utils.py, without its bonus"
        )

        def __post_init__(self) -> None:
            require_range("tau", self.tau, low=0)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        counts, adjustment = task.class_counts, log_prior(task.class_counts, config.tau)
        if config.absent == "neutral" and config.tau > 0:
            by = -math.inf if config.variant == "loss" else adjustment.max().item()
            adjustment = replace_absent(adjustment, counts, by)
        self.register_buffer("adjustment", adjustment.float(), persistent=False)
        self.may_be_infinite = bool(self.adjustment.isinf().any())

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(first_stage_of="ce" if config.variant == "posthoc" else "")

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        return (f"variant {config.variant}, tau {config.tau:g}",)

    def loss(self, batch: Batch, run: Run) -> Tensor:
        logits, labels = self.net(batch.view("weak")).float(), batch.label
        if self.config.variant == "posthoc":
            return F.cross_entropy(logits, labels)
        if self.may_be_infinite and bool(self.adjustment[labels].isinf().any()):
            raise ValueError("a label belongs to a class that had no training image when the prior was computed")
        return F.cross_entropy(logits + self.adjustment, labels)

    def predict(self, images: Tensor) -> Tensor:
        """The logits, minus the adjustment in 'posthoc'. In 'loss' the raw logits contain no prior."""
        logits = self.net(images).float()
        return logits - self.adjustment if self.config.variant == "posthoc" else logits

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        """For comparison: the logits that favour frequent classes."""
        logits = self.net(images).float()
        if self.config.variant == "posthoc":
            return {"unadjusted": logits}
        return {"with prior": logits + self.adjustment.clamp(min=-1e3)}  # finite for an absent class
