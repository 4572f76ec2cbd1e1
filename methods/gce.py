"""GCE: generalised cross-entropy (the L_q loss) and its truncated form.

Z. Zhang, M. R. Sabuncu. "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels".
NeurIPS 2018, arXiv 1805.07836. The authors published no code. Compared with github.com/AlanChou/Truncated-Loss
@ fef5908 (truncated form) and github.com/HanxunH/Active-Passive-Losses @ 04bce53 (L_q).

1. L_q = (1 - p_y^q) / q lies between cross-entropy (q -> 0) and 1 - p_y (q = 1). Its gradient is that of cross-entropy
   times p_y^q, so an unlikely label has a smaller gradient.
2. Truncated: a sample with p_y <= k has no gradient. From time to time, a pass over the training set finds these
   samples. A sample returns if its label has become likely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Needs, Run, SampleWeight, Task, hparam
from fer_bench.ops import evaluating, label_log_probability, require_positive, require_range


def lq_loss(logits: Tensor, labels: Tensor, q: float, clamp: float = 0.0) -> Tensor:
    """(1 - p_y^q) / q, [B], of logits [B, C] and labels [B].

    p^q is computed as exp(q log p), so its gradient is finite if p underflows to 0. ``clamp`` > 0 replaces p_y by
    max(p_y, clamp), without a gradient below clamp (Active-Passive-Losses: 1e-7).
    """
    log_p = label_log_probability(logits, labels)
    if clamp > 0:
        log_p = log_p.clamp(min=math.log(clamp))
    return -torch.expm1(q * log_p) / q


def threshold(q: float, k: float) -> float:
    """L_q of a sample with p_y = k: (1 - k^q) / q."""
    return (1 - k**q) / q


def truncated_loss(per_sample: Tensor, kept: Tensor, q: float, k: float) -> Tensor:
    """mean_i kept_i (L_q,i - L_q(k)): a scalar of L_q [B] and kept bool [B]; pruned samples count in the mean.

    The threshold only shifts the value: the gradient is that of L_q for kept samples and 0 for pruned ones.
    """
    return (kept * (per_sample - threshold(q, k))).mean()


def prunes_before(epoch: int, start: int, every: int) -> bool:
    """Whether a pass is made before the 0-based ``epoch``: every ``every`` epochs, from the ``start``-th on."""
    return epoch + 1 >= start and (epoch + 1) % every == 0


class Gce(Method):
    info = Info(
        name="GCE",
        title="Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
        authors="Zhilu Zhang, Mert R. Sabuncu",
        venue="NeurIPS",
        year=2018,
        idea="A loss between cross-entropy and 1 - p, where p is the probability of the label. Compared with "
        "cross-entropy, images with a small p have a smaller gradient. The truncated form leaves out images whose p is "
        "at most k.",
        kind="label noise",
        family="losses",
        scaling="q acts on the probability of the label. While the network is unsure, the gradient is smaller than "
        "that of cross-entropy, and more so with more classes. With many classes, q = 0.7 therefore learns slowly from "
        "random weights. The passes of 'truncated' start and repeat after shares of the epochs. In the trials of the "
        "sweep tune-quick (drawn faces, one seed, test set), q = 0.7 reaches 76.1 % with symmetric noise of 0.4 where "
        "cross-entropy has 65.8 %, and 41.5 % with an imbalance factor of 50, where cross-entropy has 51.9 %. The "
        "search chooses one setting for both, q = 0.19, which is close to cross-entropy: 67.6 and 51.6 %.",
        arxiv="1805.07836",
        code="none by the authors; compared with github.com/AlanChou/Truncated-Loss @ fef5908 and "
        "github.com/HanxunH/Active-Passive-Losses @ 04bce53",
        deviations=(
            "The plain L_q loss is the default, as in most tables with the name GCE; variant='truncated' is the other "
            "form.",
            "The current network decides which images are left out. The public code uses the network of the best test "
            "epoch.",
            "Training continues after a pass. In the public code, the steps of that epoch change a copy that is then "
            "discarded.",
            "The first pass and the interval between passes are shares of the epochs. The public code uses epochs 40, "
            "50, ... of 120.",
            "The probability is not clamped; Active-Passive-Losses clamps it (clamp=1e-7).",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["lq", "truncated"] = hparam(
            "lq", "'lq', or 'truncated' with pruning", "project default: the common one"
        )
        q: float = hparam(0.7, "0 < q <= 1: towards 0 cross-entropy, at 1 the loss 1 - p", "public code, both")
        k: float = hparam(0.5, "'truncated': a label with p <= k is pruned", "public TruncatedLoss.py")
        prune_start: float = hparam(
            1 / 3,
            "'truncated': share of the epochs before the first pass; more than 1 = never",
            "public README: 40 of 120 epochs",
        )
        prune_every: float = hparam(
            1 / 12, "'truncated': share of the epochs from pass to pass", "public main.py: 10 of 120 epochs"
        )
        prune_view: Literal["weak", "plain"] = hparam(
            "weak", "'truncated': the images that a pass looks at", "public main.py: those of training"
        )
        clamp: float = hparam(0.0, "smallest p_y in the loss; 0 = none", "public TruncatedLoss.py has none")

        def __post_init__(self) -> None:
            require_positive("q", self.q)
            require_range("q", self.q, high=1)
            require_range("k", self.k, 0, 0.999)
            require_range("prune_start", self.prune_start, low=0)
            require_range("prune_every", self.prune_every, 0, 1)
            require_range("clamp", self.clamp, 0, 0.1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        if config.variant == "truncated":
            # p_y of each sample in the last pass; before the first one every sample is kept.
            self.sample_buffer("probability", 1.0)
            self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        if config.variant == "lq":
            return Needs()

        def forwards(epochs: int) -> float:
            start, every = cls.pass_epochs(config, epochs)
            return 1 + sum(prunes_before(epoch, start, every) for epoch in range(epochs)) / epochs

        return Needs(views=("weak",) if config.prune_view == "weak" else ("weak", "plain"), forwards=forwards)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        return ("variant truncated",) if config.variant == "truncated" else ()

    @classmethod
    def sample_weight(cls, config: Config, epoch: int, epochs: int) -> SampleWeight:
        return lambda p_label, p_other: p_label**config.q

    @classmethod
    def pass_epochs(cls, config: Config, epochs: int) -> tuple[int, int]:
        """(first epoch, counted from 1, epochs from pass to pass) in a budget of ``epochs``.

        An untrained network never prunes.
        """
        return max(2, round(config.prune_start * epochs)), max(1, round(config.prune_every * epochs))

    def on_epoch_start(self, run: Run) -> None:
        if self.config.variant == "truncated" and prunes_before(run.epoch, *self.pass_epochs(self.config, run.epochs)):
            self.look_at_all(run)

    def look_at_all(self, run: Run) -> None:
        """Updates the probability of every given label, in evaluation mode."""
        with evaluating(self.net):
            for batch in run.training_set():
                logits = self.net(batch.view(self.config.prune_view)).float()
                self.probability[batch.index] = label_log_probability(logits, batch.label).exp()
        self.passes += 1

    def kept(self, index: Tensor) -> Tensor:
        """bool [B]: which of the samples ``index`` the last pass kept (strictly p_y > k)."""
        return self.probability[index] > self.config.k

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        c = self.config
        per_sample = lq_loss(self.net(batch.view("weak")).float(), batch.label, c.q, c.clamp)
        if c.variant == "lq":
            loss = per_sample.mean()
        else:
            kept = self.kept(batch.index)
            loss = truncated_loss(per_sample, kept, c.q, c.k)
            run.record_selection(batch.index, kept)
        run.minimize(loss)
        return {"loss": loss.detach()}

    def clean_score(self) -> Tensor | None:
        """The probability of the label in the last pass, where there was one."""
        return self.probability if self.config.variant == "truncated" and bool(self.passes) else None
