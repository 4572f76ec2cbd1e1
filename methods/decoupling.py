"""Decoupling "when to update" from "how to update": two networks learn only from samples on which they disagree.

E. Malach, S. Shalev-Shwartz. "Decoupling 'when to update' from 'how to update'". NIPS 2017, arXiv 1706.02613. Code:
github.com/emalach/UpdateByDisagreement @ 86d01a8 (train.py).

1. Late in training, most wrong predictions are on wrong labels, so ordinary updates do more harm than good.
2. WHEN to update is decided without labels: if two networks predict different classes.
3. HOW to update does not change: both networks use the usual rule with the given labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    clean_score_from_losses,
    disagreement,
    mean_log_probability,
    require_positive,
    require_range,
)

QUEUE = ("queue_image", "queue_label", "queue_row")


def update_mask(logits_a: Tensor, logits_b: Tensor, warm_up: bool = False) -> Tensor:
    """u, bool [B]: which samples update both networks; all of them during the warm-up."""
    differ = disagreement(logits_a, logits_b)
    return torch.ones_like(differ) if warm_up else differ


def class_balance_weights(labels: Tensor, num_classes: int) -> Tensor:
    """p_i = B / (C max(1, batch count of class y_i)): float64 [B] of labels [B] (train.py, where C is 2)."""
    counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    return len(labels) / (num_classes * counts[labels].double())


def denominator(mask: Tensor, min_ratio: float) -> float:
    """max(min_ratio * B, number of updating samples)."""
    return max(min_ratio * len(mask), float(mask.sum()))


def update_loss(per_sample: Tensor, mask: Tensor, min_ratio: float = 0.0, weight: Tensor | None = None) -> Tensor:
    """sum_i p_i u_i l_i / max(min_ratio * B, sum_i u_i), a scalar, of losses and weights [B]; 0 where no u_i is set.

    With ``min_ratio`` = 0 and no weights it is the mean over the updating samples, as in the paper. The weights are not
    in the denominator (train.py).
    """
    terms = per_sample if weight is None else weight * per_sample
    total, below = terms[mask].sum(), denominator(mask, min_ratio)
    return total / below if below > 0 else total


def first_in_first_out(queue: Tensor, incoming: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(batch, queue) after ``incoming`` [m, ...] joined ``queue`` [q, ...]: a batch of ``size``, or an empty one."""
    joined = torch.cat([queue, incoming])
    taken = size if len(joined) >= size else 0
    return joined[:taken], joined[taken:]


def staircase(step: int, lr: float, every: int, factor: float = 0.5) -> float:
    """The learning rate at a 0-based step: times ``factor`` after each ``every`` steps (train.py)."""
    return lr * factor ** (step // every)


class Decoupling(Method):
    info = Info(
        name="Decoupling",
        title='Decoupling "when to update" from "how to update"',
        authors="Eran Malach, Shai Shalev-Shwartz",
        venue="NIPS",
        year=2017,
        idea="Two networks are trained with the given labels, but only on images for which they predict different "
        "classes.",
        kind="label noise",
        family="selection",
        scaling="warmup is a share of the training, and min_ratio is a share of the batch. When the networks agree "
        "more often, fewer images are used and the training becomes slower. This happens sooner from pre-trained "
        "weights. Under symmetric noise the disagreement does not leave out wrong labels: in a run on drawn faces "
        "(`fer-bench run --methods decoupling --noise 0.4`, epochs.jsonl) the networks disagree on 34 % of the images "
        "in epoch 2 and on 22 % in epoch 14, and 60 and 50 % of their labels are right, as are 60 % of all labels. So "
        "the method trains on fewer images, but not on cleaner ones. With the settings of the papers it "
        "is 6 points ahead of cross-entropy on the test set (71 and 65 %, reference sweep reference-defaults). With "
        "searched settings, which give cross-entropy a larger learning rate, both have 70 % (reference-grid).",
        arxiv="1706.02613",
        code="github.com/emalach/UpdateByDisagreement @ 86d01a8",
        deviations=(
            "A batch without disagreement makes no step. Officially it makes a step with a loss of 0, in which "
            "momentum and weight decay still change the weights.",
            "Both networks are trained on all images during the first twentieth of the training. The official default "
            "has no warm-up (warmup=0).",
            "Images are not weighted by class. The official code weights its two classes (class_balance=true).",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; lr_schedule='official' "
            "sets the official schedule. The recipe's weight decay replaces the official L2 term.",
            "The first network makes the predictions. The official results are averages of the best test accuracies of "
            "each run.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        warmup: float = hparam(
            0.05, "share of the training that is ordinary, at the start", "project default; official train.py: 0 steps"
        )
        min_ratio: float = hparam(
            0.1,
            "the loss is divided by this share of the batch at least, so that few disagreements make a small step; "
            "0 = the mean over the disagreement, as in the paper",
            "official train.py",
        )
        class_balance: bool = hparam(
            False, "True: weight samples by the inverse frequency of their class in the batch", "official train.py"
        )
        buffer: bool = hparam(
            False,
            "True: collect disagreeing samples over batches and train on them a full batch at a time",
            "official train.py, min_batch_size = -1",
        )
        lr_schedule: Literal["recipe", "official"] = hparam(
            "recipe", "'official': official_lr, halved after each official_lr_steps", "official train.py"
        )
        official_lr: float = hparam(0.002, "learning rate of lr_schedule='official'", "official train.py")
        official_lr_steps: int = hparam(5000, "steps between its halvings", "official train.py")

        def __post_init__(self) -> None:
            require_range("warmup", self.warmup, 0, 1)
            require_range("min_ratio", self.min_ratio, 0, 1)
            require_positive("official_lr", self.official_lr)
            require_range("official_lr_steps", self.official_lr_steps, low=1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("last_loss", float("nan"), dtype=torch.float32)
        if config.buffer:
            self.register_buffer("queue_image", torch.empty(0))
            self.register_buffer("queue_label", torch.empty(0, dtype=torch.int64))
            self.register_buffer("queue_row", torch.empty(0, dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of rows in the queue varies, so the queue takes the shape of the loaded one."""
        for name in QUEUE if self.config.buffer else ():
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.last_loss.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # With the buffer every disagreeing sample passes both networks twice, so 4 is the maximum.
        return Needs(networks=2, forwards=4.0 if config.buffer else 2.0)

    def build(self, make_net: MakeNet) -> None:
        # Two roles: with equal heads on one pre-trained trunk the networks would never disagree.
        self.net_a, self.net_b = make_net("a"), make_net("b")

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {"a": make_optimizer(self.net_a.parameters()), "b": make_optimizer(self.net_b.parameters())}

    def weights(self, labels: Tensor) -> Tensor | None:
        return class_balance_weights(labels, self.task.num_classes).float() if self.config.class_balance else None

    def remember(self, rows: Tensor, ce_a: Tensor, ce_b: Tensor) -> None:
        self.last_loss[rows] = (ce_a.detach() + ce_b.detach()) / 2

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        c = self.config
        if c.lr_schedule == "official":
            rate = staircase(run.epoch * run.steps + run.step, c.official_lr, c.official_lr_steps)
            for optimizer in run.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate
        warm_up = (run.epoch + run.step / run.steps) / run.epochs < c.warmup
        images, labels = batch.view("weak"), batch.label
        with torch.set_grad_enabled(warm_up or not c.buffer):
            logits_a, logits_b = self.net_a(images).float(), self.net_b(images).float()
            ce_a = F.cross_entropy(logits_a, labels, reduction="none")
            ce_b = F.cross_entropy(logits_b, labels, reduction="none")
        self.remember(batch.index, ce_a, ce_b)
        mask = update_mask(logits_a, logits_b, warm_up)
        run.record_selection(batch.index, mask)
        differ = disagreement(logits_a, logits_b).float().mean()
        if c.buffer and not warm_up:
            return self.buffered_step(images[mask], labels[mask], batch.index[mask], run) | {"disagreement": differ}
        if not bool(mask.any()):
            return {"disagreement": differ}
        weight = self.weights(labels)
        loss_a, loss_b = update_loss(ce_a, mask, c.min_ratio, weight), update_loss(ce_b, mask, c.min_ratio, weight)
        return self.step(loss_a, loss_b, run) | {"disagreement": differ}

    def step(self, loss_a: Tensor, loss_b: Tensor, run: Run) -> dict[str, Tensor | float]:
        run.minimize(loss_a, "a")
        run.minimize(loss_b, "b")
        return {"loss": loss_a.detach(), "loss_b": loss_b.detach()}

    def buffered_step(self, images: Tensor, labels: Tensor, rows: Tensor, run: Run) -> dict[str, Tensor | float]:
        """Adds the samples to the queue. If it holds a whole batch, both networks make a step on the oldest samples.

        The networks are trained on these samples even if they no longer disagree on them.
        """
        taken = []
        for name, incoming in zip(QUEUE, (images, labels, rows), strict=True):
            waiting = getattr(self, name)
            batch, rest = first_in_first_out(waiting if len(waiting) else incoming[:0], incoming, self.task.batch_size)
            setattr(self, name, rest.clone())
            taken.append(batch)
        images, labels, rows = taken
        if len(labels) == 0:
            return {}
        ce_a = F.cross_entropy(self.net_a(images).float(), labels, reduction="none")
        ce_b = F.cross_entropy(self.net_b(images).float(), labels, reduction="none")
        self.remember(rows, ce_a, ce_b)
        everybody, weight = torch.ones_like(labels, dtype=torch.bool), self.weights(labels)
        return self.step(update_loss(ce_a, everybody, 0.0, weight), update_loss(ce_b, everybody, 0.0, weight), run)

    def predict(self, images: Tensor) -> Tensor:
        return self.net_a(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        a, b = self.net_a(images), self.net_b(images)
        return {"net b": b, "mean": mean_log_probability(a, b)}

    def clean_score(self) -> Tensor:
        """Minus the mean cross-entropy of the two networks when the sample was last seen."""
        return clean_score_from_losses(self.last_loss)
