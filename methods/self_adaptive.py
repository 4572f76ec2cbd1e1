"""SAT: self-adaptive training.

L. Huang, C. Zhang, H. Zhang. "Self-Adaptive Training: beyond Empirical Risk Minimization". NeurIPS 2020,
arXiv 2002.10319. Code: github.com/LayneH/self-adaptive-training @ 2f902b3 (losses/sat.py, losses/loss.py, main.py).

1. For the first 30 % of the epochs, cross-entropy with the labels.
2. Then the target of each sample is a running average. It starts at the one-hot label and adds the predictions of the
   network, so wrong labels are replaced step by step.
3. Samples with a confident target weigh more, relative to the others in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, Task, hparam
from fer_bench.ops import require_range, scaled_momentum

OFFICIAL_MOMENTUM, OFFICIAL_EPOCHS = 0.9, 200
LEAST_MOMENTUM = 0.5


def certainty_weights(target: Tensor) -> Tensor:
    """[B] of soft labels [B, C]: their largest entries, scaled to mean 1."""
    largest = target.max(dim=1).values
    return largest * len(largest) / largest.sum()


def symmetric_cross_entropy(logits: Tensor, target: Tensor, forward: float, backward: float) -> Tensor:
    """forward CE(t, p) + backward CE(p, t), [B], with gradient through p in both; log t is not below log 1e-8."""
    log_p = F.log_softmax(logits, dim=1)
    log_t = target.clamp(min=1e-8).log()
    return -(forward * target * log_p + backward * log_p.exp() * log_t).sum(dim=1)


class SelfAdaptive(Method):
    info = Info(
        name="SAT",
        title="Self-Adaptive Training: beyond Empirical Risk Minimization",
        authors="Lang Huang, Chao Zhang, Hongyang Zhang",
        venue="NeurIPS",
        year=2020,
        idea="After some epochs of cross-entropy, the target of each face becomes a running average of its label and "
        "the network's predictions. Faces with a confident target weigh more.",
        kind="label noise",
        family="early-learning",
        scaling="start is a share of the epochs. momentum depends on their number: 0.9 for 200 epochs, less for fewer, "
        "so that a wrong label can still be replaced. With fewer than about ten epochs, hardly any visits remain after "
        "start.",
        arxiv="2002.10319",
        code="github.com/LayneH/self-adaptive-training @ 2f902b3",
        deviations=(
            "Targets change faster in a short training: momentum is 0.9^(200 / epochs), between 0.5 and 0.9; "
            "officially it is 0.9 for 200 epochs. With 0.9, a label is replaced after seven visits at the earliest "
            "(momentum).",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; officially it is SGD "
            "with a cosine over 200 epochs. The last epoch is tested.",
            "The symmetric loss takes log 1e-8 for log 0. Officially it is NaN for extreme logits.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        start: float = hparam(
            0.3, "share of the epochs before targets adapt", "official run_sat.sh: 60 of 200 (25 without augmentation)"
        )
        momentum: float | None = hparam(
            None,
            "share of the target that a visit leaves; None: 0.9^(200 / epochs), from 0.5 to 0.9",
            "official run_sat.sh has 0.9 for 200 epochs; the scaling is ours",
        )
        weights: bool = hparam(True, "whether sure targets weigh more", "official losses/sat.py")
        loss: Literal["ce", "sce"] = hparam(
            "ce", "cross-entropy with the target, or the symmetric one", "official run_sat.sh ('sce': losses/loss.py)"
        )
        forward: float = hparam(1.0, "sce: weight of CE(target, p)", "official losses/__init__.py")
        backward: float = hparam(0.3, "sce: weight of CE(p, target)", "official losses/__init__.py")

        def __post_init__(self) -> None:
            require_range("start", self.start, low=0, high=1)
            if self.momentum is not None:
                require_range("momentum", self.momentum, low=0, high=1)
            for name in ("forward", "backward"):
                require_range(name, getattr(self, name), low=0)

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("target", F.one_hot(task.labels, task.num_classes).float())
        scaled = max(LEAST_MOMENTUM, scaled_momentum(OFFICIAL_MOMENTUM, OFFICIAL_EPOCHS, task.epochs))
        self.momentum = scaled if config.momentum is None else config.momentum

    def adapting(self, run: Run) -> bool:
        """Whether targets adapt in this epoch."""
        return run.epoch >= round(self.config.start * run.epochs)

    def objective(self, logits: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The loss of logits [B, C] and its parts. The targets are updated with the predictions first."""
        c, m = self.config, self.momentum
        self.target[index] = m * self.target[index] + (1 - m) * F.softmax(logits.detach(), dim=1)
        target = self.target[index]
        weight = certainty_weights(target) if c.weights else torch.ones_like(target[:, 0])
        if c.loss == "ce":
            each = -(target * F.log_softmax(logits, dim=1)).sum(dim=1)
        else:
            each = symmetric_cross_entropy(logits, target, c.forward, c.backward)
        return {"loss": (weight * each).mean(), "certainty": target.max(dim=1).values.mean(), "weight": weight}

    def train_step(self, batch: Batch, run: Run) -> dict[str, Tensor]:
        logits = self.net(batch.view("weak")).float()
        if not self.adapting(run):
            loss = F.cross_entropy(logits, batch.label)
            run.minimize(loss)
            return {"loss": loss.detach()}
        parts = self.objective(logits, batch.index)
        run.minimize(parts["loss"])
        # the labels that are still the largest entry of their target: shows how many of each class are overruled
        run.record_selection(batch.index, self.target[batch.index].argmax(dim=1) == batch.label)
        return {"loss": parts["loss"].detach(), "certainty": parts["certainty"]}

    def clean_score(self) -> Tensor:
        return self.target.gather(1, self.task.labels.to(self.target.device)[:, None]).squeeze(1)
