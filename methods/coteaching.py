"""Co-teaching: two networks, each trained on the samples that are easy for the other.

B. Han, Q. Yao, X. Yu, G. Niu, M. Xu, W. Hu, I. W. Tsang, M. Sugiyama. "Co-teaching: Robust Training of Deep Neural
Networks with Extremely Noisy Labels". NeurIPS 2018, arXiv 1804.06872. Code: github.com/bhanML/Co-teaching @ 7c7fbe2
(loss.py, main.py).

1. Networks fit clean labels first, so samples with a small loss are probably clean.
2. Two networks rank the same batch by their own cross-entropy; each is trained on the small-loss part of the OTHER.
3. The kept share falls from 1 to 1 - (noise rate) during the first T_k epochs.
"""

from __future__ import annotations

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
    forget_rate_at,
    keep_count,
    mean_log_probability,
    membership,
    require_positive,
    small_loss_exchange,
)


class Coteaching(Method):
    info = Info(
        name="Co-teaching",
        title="Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
        authors="Bo Han, Quanming Yao, Xingrui Yu, Gang Niu, Miao Xu, Weihua Hu, Ivor W. Tsang, Masashi Sugiyama",
        venue="NeurIPS",
        year=2018,
        idea="Two networks see the same batches. Each network is trained only on the images that have a small loss in "
        "the other network. The share of kept images falls to 1 - noise rate during the first epochs.",
        kind="label noise",
        family="selection",
        scaling="The forget rate grows during 10 epochs, or during a quarter of the epochs if there are fewer than 40. "
        "By then the networks must have learned something, which takes a few hundred steps from random weights; the "
        "official training has 200 epochs of 390 steps. The loss is a mean over the kept images. In a small batch "
        "their number is rounded down, but at least one image is kept.",
        arxiv="1804.06872",
        code="github.com/bhanML/Co-teaching @ 7c7fbe2",
        deviations=(
            "The loss is the mean over the kept images. The official code divides this mean by their number once more; "
            "with SGD this reduces the learning rate by the same factor (divide_twice=true).",
            "The exponent of the ramp acts on time. Officially it acts on the rate, which then ends at a wrong value "
            "if the exponent is not 1 (schedule='official').",
            "At least one image is kept, and the number of kept images is computed exactly. Officially a rounding "
            "error can drop one image, and a number of 0 makes the loss NaN (counting='official').",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; lr_schedule='official' "
            "sets the official schedule.",
            "The first network makes the predictions; the official log shows both networks. All epochs are trained; "
            "the official code skips the training of its epoch 0.",
        ),
    )

    @dataclass(frozen=True)
    class Config(PeerSettings):
        exponent: float = hparam(1.0, "exponent c of the ramp", "official main.py")
        schedule: Literal["paper", "official"] = hparam(
            "paper",
            "'paper': the exponent acts on time; 'official': on the rate",
            "project default; official main.py ramps the rate",
        )
        divide_twice: bool = hparam(False, "True: divide the mean loss by the kept count again", "official loss.py")

        def __post_init__(self) -> None:
            super().__post_init__()
            require_positive("exponent", self.exponent)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("last_loss", float("nan"), dtype=torch.float32)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(noise_rate=config.forget_rate is None, networks=2, forwards=2.0)

    def build(self, make_net: MakeNet) -> None:
        # Two roles: pre-trained trunks are equal, so the networks differ only in their random heads.
        self.net_a, self.net_b = make_net("a"), make_net("b")

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {"a": make_optimizer(self.net_a.parameters()), "b": make_optimizer(self.net_b.parameters())}

    def forget_rate(self, epoch: int) -> float:
        """r_e of a 0-based epoch."""
        c = self.config
        tau, num_gradual = c.target(self.task.noise_rate), c.ramp_epochs(self.task.epochs)
        return forget_rate_at(epoch, tau, num_gradual, c.exponent, c.schedule)

    def on_epoch_start(self, run: Run) -> None:
        self.config.schedule_optimizers(run)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        images, labels = batch.view("weak"), batch.label
        # Both networks forward the whole batch, so batch-norm statistics include samples that are not kept.
        ce_a = F.cross_entropy(self.net_a(images).float(), labels, reduction="none")
        ce_b = F.cross_entropy(self.net_b(images).float(), labels, reduction="none")
        rate = self.forget_rate(run.epoch)
        count = keep_count(len(batch), rate, self.config.counting)
        self.last_loss[batch.index] = (ce_a.detach() + ce_b.detach()) / 2
        if count == 0:
            run.record_selection(batch.index, torch.zeros_like(labels, dtype=torch.bool))
            return {"forget_rate": rate}
        loss_a, loss_b, _, kept_by_b = small_loss_exchange(ce_a, ce_b, count, divide_twice=self.config.divide_twice)
        # Network a makes the predictions, and network b selects its samples.
        run.record_selection(batch.index, membership(kept_by_b, len(batch)))
        run.minimize(loss_a, "a")
        run.minimize(loss_b, "b")
        return {"loss": loss_a.detach(), "loss_b": loss_b.detach(), "forget_rate": rate}

    def predict(self, images: Tensor) -> Tensor:
        return self.net_a(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        a, b = self.net_a(images), self.net_b(images)
        return {"net b": b, "mean": mean_log_probability(a, b)}

    def clean_score(self) -> Tensor:
        """Minus the mean cross-entropy of the two networks when the sample was last seen."""
        return clean_score_from_losses(self.last_loss)
