"""ReSup: reliable label-noise suppression.

X. Zhang, Y. Lu, H. Yan, J. Huang, Y. Ji, Y. Gu. "ReSup: Reliable Label Noise Suppression for Facial Expression
Recognition". arXiv 2305.17895 (2023); IEEE Transactions on Affective Computing (2025). Code:
github.com/purpleleaves007/FERDenoise @ 0eb4353 (utils.py, main.py).

1. The cosine between a softmax and the one-hot label is high for right labels and low for wrong ones.
2. Before each epoch, a mixture of two beta distributions is fitted to the cosines of all training faces, for each of
   two networks. It turns a cosine into the probability that the label is clean.
3. The cross-entropy of each network is weighted by the probabilities of the other. A second term brings the softmaxes
   of both networks together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, Task, hparam
from fer_bench.ops import evaluating, mean_log_probability, require_range

BINS = 100
EDGE = 1e-4
"""Similarities in a fit and weights in a loss are clamped to this distance from 0 and 1."""
TINY = 1e-12


@dataclass(frozen=True)
class BetaPair:
    """Two weighted beta distributions; component 0 is that of wrong labels, 1 of clean ones. All float64 [2]."""

    a: Tensor
    b: Tensor
    weight: Tensor

    def joint(self, x: Tensor) -> Tensor:
        """Weight times density of each component at x [N], in (0, 1): [N, 2]."""
        x = x[:, None]
        norm = torch.lgamma(self.a + self.b) - torch.lgamma(self.a) - torch.lgamma(self.b)
        return self.weight * torch.exp(norm + (self.a - 1) * torch.log(x) + (self.b - 1) * torch.log1p(-x))

    def clean_probability(self, x: Tensor) -> Tensor:
        """The posterior of component 1 at x [N]; 0 where both densities vanish."""
        joint = self.joint(x)
        return joint[:, 1] / (joint.sum(dim=1) + TINY)

    def is_finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in (self.a, self.b, self.weight))


def initial_pair() -> BetaPair:
    """The start of every fit: Beta(1, 2) and Beta(2, 1), equally likely."""
    return BetaPair(*(torch.tensor(pair, dtype=torch.float64) for pair in ([1.0, 2.0], [2.0, 1.0], [0.5, 0.5])))


def refitted(pair: BetaPair, x: Tensor) -> BetaPair:
    """One round on x float64 [N]: each component gets the mean and the variance of its share of the samples.

    These are moments, not maximum likelihood. A component whose share has no variance gets parameters that are not
    finite.
    """
    joint = pair.joint(x).clamp(min=TINY)
    share = joint / joint.sum(dim=1, keepdim=True)
    total = share.sum(dim=0)
    mean = (share * x[:, None]).sum(dim=0) / total
    variance = (share * (x[:, None] - mean) ** 2).sum(dim=0) / total
    a = mean * (mean * (1 - mean) / variance - 1)
    return BetaPair(a, a * (1 - mean) / mean, total / total.sum())


def fit_beta_pair(similarity: Tensor, rounds: int = 10) -> BetaPair:
    """``rounds`` rounds on similarities [N], always from the same start. Convergence is not tested."""
    x = similarity.double().clamp(EDGE, 1 - EDGE)
    pair = initial_pair()
    for _ in range(rounds):
        pair = refitted(pair, x)
    return pair


def clean_table(pair: BetaPair, monotone: bool = False) -> Tensor:
    """The clean probability at 100 points from 0 to 1, flat above its maximum: float64 [100].

    It does not always rise: with an untrained network, the "clean" component can be the wider one and include low
    similarities. ``monotone`` makes it flat below its minimum and rising above.
    """
    table = pair.clean_probability(torch.linspace(TINY, 1 - TINY, BINS, dtype=torch.float64))
    if monotone:
        table[: int(table.argmin())] = table.min()
        table = table.cummax(dim=0).values
    top = int(table.argmax())
    table[top:] = table[top]
    return table


def label_similarity(logits: Tensor, labels: Tensor) -> Tensor:
    """p_y / ||p||, [B]: the cosine of the softmax of logits [B, K] and the one-hot label. No gradient."""
    p = F.softmax(logits.detach(), dim=1)
    return p.gather(1, labels[:, None]).squeeze(1) / p.norm(dim=1)


def inside(similarity: Tensor) -> Tensor:
    """Similarities with 1 and above replaced by 0.999, 0 and below by 0.001."""
    return torch.where(similarity >= 1, 0.999, torch.where(similarity <= 0, 0.001, similarity))


def looked_up(similarity: Tensor, table: Tensor) -> Tensor:
    """The entries [B] of a table [100] at similarities [B].

    Entry i was computed at i / 99 and serves the bin from i / 100 to (i + 1) / 100, as in the official code.
    """
    return table[(inside(similarity) * BINS).long().clamp(max=BINS - 1)]


def clean_weight(logits: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    """u [B]: the probability that each label is clean, clamped, in the type of the logits. No gradient."""
    return looked_up(label_similarity(logits, labels), table).clamp(EDGE, 1 - EDGE).to(logits.dtype)


def warm_up_loss(logits_a: Tensor, logits_b: Tensor, labels: Tensor) -> Tensor:
    """The sum, not the mean, of both networks' cross-entropies."""
    return F.cross_entropy(logits_a, labels) + F.cross_entropy(logits_b, labels)


def crossed_loss(
    logits: tuple[Tensor, Tensor], labels: Tensor, weights: tuple[Tensor, Tensor], consistency: float
) -> dict[str, Tensor]:
    """L and its parts: each network's cross-entropy, weighted by the other one's weights, and the consistency term.

    The weights are not divided by their sum. The consistency is the mean squared difference of the two softmaxes, with
    a gradient to both networks and no weight for the sample.
    """
    ce_a, ce_b = (F.cross_entropy(z, labels, reduction="none") for z in logits)
    weighted = (weights[1] * ce_a + weights[0] * ce_b).mean()
    apart = F.mse_loss(F.softmax(logits[0], dim=1), F.softmax(logits[1], dim=1))
    return {"loss": weighted + consistency * apart, "weighted": weighted, "consistency": apart}


class Resup(Method):
    info = Info(
        name="ReSup",
        title="ReSup: Reliable Label Noise Suppression for Facial Expression Recognition",
        authors="Xiang Zhang, Yan Lu, Huan Yan, Jingyang Huang, Yusheng Ji, Yu Gu",
        venue="IEEE Transactions on Affective Computing",
        year=2025,
        idea="Two networks are trained. For each, a mixture of two beta distributions turns the similarity of "
        "prediction and label into the probability that the label is clean. The loss of each network is weighted by "
        "the probabilities of the other.",
        kind="label noise",
        family="faces",
        scaling="The warm-up is a thirtieth of the epochs and at least one epoch. From random weights, two or three "
        "epochs separate clean and wrong labels better. The mixtures need some hundred faces. The consistency is a "
        "mean over batch and classes.",
        arxiv="2305.17895",
        code="github.com/purpleleaves007/FERDenoise @ 0eb4353",
        deviations=(
            "Both networks start from the recipe's weights and differ in their classifiers. Officially one starts from "
            "MS-Celeb-1M and the other from ImageNet.",
            "If all similarities of a component are equal, its fit is 0 / 0. The table of the previous epoch is then "
            "kept, with a warning. Officially the loss becomes NaN.",
            "The warm-up is a share of the epochs, officially 1 of 30, and lasts at least one epoch.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. Officially it is Adam "
            "at 2e-4, divided by 10 at a third and at two thirds of the epochs.",
            "One mixture serves all classes, as officially. Rare classes have lower similarities and get lower "
            "weights.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        warmup: float = hparam(
            1 / 30, "share of the epochs with plain cross-entropy, at least one epoch", "official main.py: 1 of 30"
        )
        consistency: float = hparam(
            5.0, "weight of the mean squared difference of the two softmaxes", "official utils.py"
        )
        rounds: int = hparam(10, "rounds of the fit of the mixture", "official utils.py")
        fit_view: Literal["weak", "plain"] = hparam(
            "weak",
            "images that the mixtures are fitted on: augmented at random, or as they are tested",
            "official main.py",
        )
        monotone: bool = hparam(
            False, "True: the probability of being clean never falls with the similarity", "official utils.py: it may"
        )

        def __post_init__(self) -> None:
            require_range("warmup", self.warmup, 0, 1)
            require_range("consistency", self.consistency, low=0)
            require_range("rounds", self.rounds, low=1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.warmup_epochs = max(1, round(config.warmup * task.epochs))
        self.register_buffer("table", torch.ones(2, BINS, dtype=torch.float64))
        self.sample_buffer("clean", float("nan"), dtype=torch.float32)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # Both networks, to train and to fit the mixtures.
        views = ("weak",) if config.fit_view == "weak" else ("weak", "plain")
        return Needs(views=views, networks=2, forwards=4.0)

    def build(self, make_net: MakeNet) -> None:
        self.net_a, self.net_b = make_net("a"), make_net("b")

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.net_a(images).float(), self.net_b(images).float()

    def on_epoch_start(self, run: Run) -> None:
        """After the warm-up, fits both networks' mixtures to the similarities of the whole training set."""
        if run.epoch < self.warmup_epochs:
            return
        similarity = torch.empty(2, self.task.num_samples, device=run.device)
        with evaluating(self.net_a, self.net_b):
            for batch in run.training_set():
                for row, logits in zip(similarity, self.both(batch.view(self.config.fit_view)), strict=True):
                    row[batch.index] = inside(label_similarity(logits, batch.label))
        for number, row in enumerate(similarity):
            self.fit(number, row)
        weights = [looked_up(row, table) for row, table in zip(similarity, self.table, strict=True)]
        self.clean.copy_(torch.stack(weights).mean(dim=0))

    def fit(self, number: int, similarity: Tensor) -> None:
        """Updates the table of one network from its similarities [N], unless the fit fails."""
        pair = fit_beta_pair(similarity.cpu(), self.config.rounds)
        table = clean_table(pair, self.config.monotone)
        if pair.is_finite() and bool(table.isfinite().all()):
            self.table[number] = table.to(self.table.device)
        else:
            warnings.warn("resup: all similarities of a component are equal; its table is not renewed")

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        logits = self.both(batch.view("weak"))
        if run.epoch < self.warmup_epochs:
            loss = warm_up_loss(*logits, batch.label)
            run.minimize(loss)
            return {"loss": loss.detach()}
        u_a, u_b = (clean_weight(z, batch.label, table) for z, table in zip(logits, self.table, strict=True))
        parts = crossed_loss(logits, batch.label, (u_a, u_b), self.config.consistency)
        # Network a makes the predictions, and network b weights its samples.
        run.record_selection(batch.index, u_b > 0.5)
        run.minimize(parts["loss"])
        return {"weight": u_b.mean()} | {name: value.detach() for name, value in parts.items()}

    def predict(self, images: Tensor) -> Tensor:
        return self.net_a(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        a, b = self.net_a(images), self.net_b(images)
        return {"net b": b, "mean": mean_log_probability(a, b)}

    def clean_score(self) -> Tensor | None:
        """The mean of the clean probabilities of both networks in the last pass. None if there was no pass."""
        return None if bool(self.clean.isnan().any()) else self.clean
