"""Co-teaching+: co-teaching on the samples about which two networks disagree.

X. Yu, B. Han, J. Yao, G. Niu, I. W. Tsang, M. Sugiyama. "How does Disagreement Help Generalization against Label
Corruption?". ICML 2019, arXiv 1901.04215. Code: github.com/xingruiyu/coteaching_plus @ a68ed61 (loss.py, main.py).

1. The two networks of co-teaching become similar, and then learn nothing from each other.
2. After a warm-up of plain co-teaching, only samples are kept for which the networks predict different classes.
3. Among these, each network is trained on the small-loss part of the OTHER, as in co-teaching.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    PeerSettings,
    clean_score_from_losses,
    disagreement,
    forget_rate_at,
    keep_count,
    mean_log_probability,
    membership,
    positions,
    require_range,
    small_loss_exchange,
)

Schedule = Literal["paper", "official", "official_type_2"]
Counting = Literal["at-least-one", "official"]

FEW = 0.01
"""An epoch with a smaller share of disagreement is reported: the method has almost no samples left."""
OFFICIAL_STEPS = 5000
"""Up to epoch * step = 5000 (a product, not a count) the official code trains on batches without disagreement."""


def ramp(epoch: int, epochs: int, tau: float, num_gradual: int, schedule: Schedule = "paper") -> float:
    """The forget rate of a 0-based epoch: to tau within T_k epochs, as in co-teaching with an exponent of 1.

    "official_type_2" goes on from tau to 2 tau during the rest of the epochs (commented out in main.py); the caller
    bounds it by 1.
    """
    if schedule != "official_type_2":
        return forget_rate_at(epoch, tau, num_gradual, schedule=schedule)
    if epoch < num_gradual:
        return forget_rate_at(epoch, tau, num_gradual, schedule="official")
    rest = epochs - num_gradual - 1
    return tau * (1 + (epoch - num_gradual) / rest) if rest > 0 else tau


def cross_entropy(logits: Tensor, labels: Tensor, double_softmax: bool = False) -> Tensor:
    """[B]; ``double_softmax`` uses the probabilities as logits, as loss.py does after the warm-up.

    The loss then lies between ln(1 + (C - 1) / e) and ln(e + C - 1), and the order of the samples changes.
    """
    return F.cross_entropy(F.softmax(logits, dim=1) if double_softmax else logits, labels, reduction="none")


def count_kept(size: int, forget_rate: float, counting: Counting = "at-least-one") -> int:
    """How many of ``size`` samples are kept: at least one. If the "official" number is 0, all are kept."""
    count = keep_count(size, forget_rate, counting)
    return count if count > 0 else size


class CoteachingPlus(Method):
    info = Info(
        name="Co-teaching+",
        title="How does Disagreement Help Generalization against Label Corruption?",
        authors="Xingrui Yu, Bo Han, Jiangchao Yao, Gang Niu, Ivor W. Tsang, Masashi Sugiyama",
        venue="ICML",
        year=2019,
        idea="After a warm-up by co-teaching, only images are used for which the two networks predict different "
        "classes. Among these, each network is trained on the images that have a small loss in the other network.",
        kind="label noise",
        family="selection",
        scaling="As in co-teaching, the forget rate grows during 10 epochs, or during a quarter of the epochs if there "
        "are fewer than 40. The warm-up is a tenth of the epochs and at least one epoch. In a short training, the "
        "networks that select images have therefore seen few steps. The loss is a mean over the kept images, even if "
        "they are few.",
        arxiv="1901.04215",
        code="github.com/xingruiyu/coteaching_plus @ a68ed61",
        deviations=(
            "Cross-entropy is computed from logits. After the warm-up, the official code computes it from "
            "probabilities. This bounds losses and gradients and changes the order of the images "
            "(double_softmax=true).",
            "The loss is the mean over the kept images. The official code divides it by their number once more, and "
            "this number changes from step to step (divide_twice=true).",
            "A batch without any disagreement trains nothing. Officially the whole batch is trained on while epoch * "
            "step < 5000; after that, a step with a loss of 0 is made (when_agreed='official').",
            "At least one image is kept, and the number of kept images is computed exactly. Officially all are kept if "
            "this number is 0 (counting='official').",
            "The official code computes with row numbers to find the images with disagreement. It loses the last of "
            "them whenever row 0 of the training set is among them. Here none is lost.",
            "The warm-up lasts a tenth of the epochs, as officially for CIFAR-10. For other data sets it officially "
            "lasts between none and half of the epochs.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; lr_schedule='official' "
            "sets the official schedule.",
            "The first network makes the predictions; the official log shows both networks. All epochs are trained; "
            "the official code skips the training of its epoch 0.",
        ),
    )

    @dataclass(frozen=True)
    class Config(PeerSettings):
        warmup: float = hparam(
            0.1,
            "share of the epochs with plain co-teaching, at the start; above 0, one epoch at least",
            "official main.py: 20 of 200 epochs for CIFAR-10, 0 for MNIST and NEWS, 5 for CIFAR-100, 100 for "
            "Tiny-ImageNet",
        )
        schedule: Literal["paper", "official", "official_type_2"] = hparam(
            "paper",
            "'paper': tau is reached at epoch T_k; 'official': one epoch before; 'official_type_2': goes on to 2 tau",
            "project default; official main.py, where type 2 is commented out",
        )
        counting: Literal["at-least-one", "official"] = hparam(
            "at-least-one",
            "'official' truncates in floating point, and keeps all where nothing is left",
            "official loss.py",
        )
        double_softmax: bool = hparam(False, "True: cross-entropy of probabilities", "official loss.py")
        divide_twice: bool = hparam(
            False, "True: divide the mean loss by the number kept once more", "official loss.py"
        )
        when_agreed: Literal["skip", "official"] = hparam(
            "skip",
            "a batch without disagreement: 'skip' trains nothing; 'official' the whole batch while epoch * step < 5000",
            "official loss.py",
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            require_range("warmup", self.warmup, 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("last_loss", float("nan"), dtype=torch.float32)
        self.seen_in_epoch = self.differing_in_epoch = 0
        self.has_warned = False

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(noise_rate=config.forget_rate is None, networks=2, forwards=2.0)

    def build(self, make_net: MakeNet) -> None:
        # Two roles: with equal heads on one pre-trained trunk the networks would never disagree.
        self.net_a, self.net_b = make_net("a"), make_net("b")

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {"a": make_optimizer(self.net_a.parameters()), "b": make_optimizer(self.net_b.parameters())}

    def forget_rate(self, epoch: int) -> float:
        """r_e of a 0-based epoch over the whole budget: the ramp also rises during the warm-up."""
        c = self.config
        tau, num_gradual = c.target(self.task.noise_rate), c.ramp_epochs(self.task.epochs)
        return min(1.0, ramp(epoch, self.task.epochs, tau, num_gradual, c.schedule))

    @property
    def warmup_epochs(self) -> int:
        """Epochs of plain co-teaching."""
        share = self.config.warmup
        return max(1, round(share * self.task.epochs)) if share else 0

    def on_epoch_start(self, run: Run) -> None:
        self.seen_in_epoch = self.differing_in_epoch = 0
        self.config.schedule_optimizers(run)

    def on_epoch_end(self, run: Run) -> None:
        few = self.differing_in_epoch < FEW * self.seen_in_epoch
        if few and run.epoch >= self.warmup_epochs and not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"co-teaching+: the networks disagreed about {self.differing_in_epoch} of {self.seen_in_epoch} images "
                f"in epoch {run.epoch + 1}; hardly anything is trained any more (see 'disagreement' of each epoch)",
                stacklevel=2,
            )

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        c, images, labels = self.config, batch.view("weak"), batch.label
        # Both networks forward the whole batch, so batch-norm statistics include samples that are not kept.
        logits_a, logits_b = self.net_a(images).float(), self.net_b(images).float()
        with torch.no_grad():
            self.last_loss[batch.index] = (cross_entropy(logits_a, labels) + cross_entropy(logits_b, labels)) / 2
        differ = disagreement(logits_a, logits_b)
        members = positions(differ)
        self.seen_in_epoch += len(batch)
        self.differing_in_epoch += len(members)
        rate = self.forget_rate(run.epoch)
        log: dict[str, Tensor | float] = {"forget_rate": rate, "disagreement": len(members) / len(batch)}
        if run.epoch < self.warmup_epochs:
            members, double_softmax = torch.arange(len(batch), device=labels.device), False
        else:
            double_softmax = c.double_softmax
        ce_a = cross_entropy(logits_a, labels, double_softmax)
        ce_b = cross_entropy(logits_b, labels, double_softmax)
        if len(members) > 0:
            count = count_kept(len(members), rate, c.counting)
            loss_a, loss_b, _, kept = small_loss_exchange(ce_a, ce_b, count, members, c.divide_twice)
        else:
            train = c.when_agreed == "official" and run.epoch * run.step < OFFICIAL_STEPS
            kept = torch.arange(len(batch) if train else 0, device=labels.device)
            loss_a, loss_b = ce_a.mean() * float(train), ce_b.mean() * float(train)
        # Network a makes the predictions, and network b selects its samples.
        run.record_selection(batch.index, membership(kept, len(batch)))
        if len(members) == 0 and c.when_agreed == "skip":
            return log
        run.minimize(loss_a, "a")
        run.minimize(loss_b, "b")
        return {"loss": loss_a.detach(), "loss_b": loss_b.detach(), **log}

    def predict(self, images: Tensor) -> Tensor:
        return self.net_a(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        a, b = self.net_a(images), self.net_b(images)
        return {"net b": b, "mean": mean_log_probability(a, b)}

    def clean_score(self) -> Tensor:
        """Minus the mean cross-entropy of the two networks when the sample was last seen."""
        return clean_score_from_losses(self.last_loss)
