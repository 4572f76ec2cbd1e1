"""Decoupled training for long-tailed recognition: cRT, LWS, tau-normalisation and nearest class means.

B. Kang, S. Xie, M. Rohrbach, Z. Yan, A. Gordo, J. Feng, Y. Kalantidis. "Decoupling Representation and Classifier for
Long-Tailed Recognition". ICLR 2020, arXiv 1910.09217. Code: github.com/facebookresearch/classifier-balancing @ f162ade.

1. Imbalance harms the classifier more than the features, so the features are learned by plain cross-entropy.
2. Then the features are frozen, and only the classifier is balanced: trained again on class-balanced samples (crt),
   scaled by one learned factor per class (lws) or by the norms of its rows (tau), or replaced by class means (ncm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Stage, Task, hparam
from fer_bench.ops import (
    Shuffle,
    class_probability,
    generator_shuffle,
    independent_rows,
    require_range,
    shuffled_cycle,
)

Sampler = Literal["instance", "class_aware", "sqrt", "progressive"]
FeatureKind = Literal["un", "l2n", "cl2n"]
Distance = Literal["l2", "cos"]

FIRST, SECOND = "representation", "classifier"
SMALLEST_NORM = 1e-12
LEAST_EPOCHS = 2
"""Fewest epochs of the second stage if the first has 8 or more: one epoch may not train a new classifier."""


def progressive_probability(
    counts: Tensor, epoch: int, epochs: int, formula: Literal["official", "paper"] = "official"
) -> Tensor:
    """(1 - a) natural + a balanced: float64 [C] of counts [C], in the 0-based ``epoch`` of ``epochs``.

    "official": a = t / (T - 1), balanced in the last epoch. "paper": a = t / T, which never reaches 1.
    """
    steps = epochs if formula == "paper" else max(1, epochs - 1)
    a = min(1.0, epoch / steps)
    return (1 - a) * class_probability(counts, 1.0) + a * class_probability(counts, 0.0)


def class_aware_rows(labels: Tensor, draws: int, per_class: int, shuffle: Shuffle) -> Tensor:
    """Rows int64 [draws] with every present class equally often (ClassAwareSampler.py).

    Classes come from a shuffled cycle, so each class comes once in every C blocks. A block has ``per_class`` samples of
    one class. They come from the shuffled cycle of that class, so all are used before one is repeated.
    """
    classes = shuffled_cycle(labels.unique().tolist(), shuffle)
    rows = {c: shuffled_cycle((labels == c).nonzero().squeeze(1).tolist(), shuffle) for c in labels.unique().tolist()}
    drawn: list[int] = []
    while len(drawn) < draws:
        block = rows[next(classes)]
        drawn.extend(next(block) for _ in range(per_class))
    return torch.tensor(drawn[:draws], dtype=torch.int64)


def class_cycle_rows(labels: Tensor, probability: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Rows int64 [draws] (ClassPrioritySampler.py).

    Classes are drawn independently by ``probability`` [C]; the samples of a class come from a shuffled cycle.
    """
    classes = torch.multinomial(probability, draws, replacement=True, generator=generator)
    rows = torch.empty(draws, dtype=torch.int64)
    for c in classes.unique().tolist():
        members, drawn = (labels == c).nonzero().squeeze(1), (classes == c).nonzero().squeeze(1)
        rounds = -(-len(drawn) // len(members))
        order = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])
        rows[drawn] = members[order[: len(drawn)]]
    return rows


def tau_grid() -> Tensor:
    """The values of tau that are tried: 0, 0.1, ... 2, float64 [21] (tau_norm.py)."""
    return torch.linspace(0, 2, 21, dtype=torch.float64)


def tau_normalise(weight: Tensor, tau: float, official: bool = False) -> Tensor:
    """w_c / ||w_c||^tau for the rows of a classifier's weight [C, D].

    A row of zeros stays 0; ``official=True`` divides by its norm of 0 and gives NaN (tau_norm.py).
    """
    norm = weight.norm(dim=1, keepdim=True)
    return weight / (norm if official else norm.clamp(min=SMALLEST_NORM)) ** tau


def scaled_logits(features: Tensor, weight: Tensor, bias: Tensor, scales: Tensor, scale_bias: bool = True) -> Tensor:
    """LWS: s * (W f + b), [B, C]; the bias is scaled too, as in the official code, unless ``scale_bias=False``."""
    return F.linear(features, weight, bias) * scales if scale_bias else F.linear(features, weight) * scales + bias


def transform(features: Tensor, mean: Tensor, kind: FeatureKind = "cl2n") -> Tensor:
    """Features [B, D] unchanged ("un"), of unit length ("l2n"), or minus ``mean`` [D] and of unit length ("cl2n").

    A vector of zeros stays 0; officially it becomes NaN.
    """
    if kind == "un":
        return features
    return F.normalize(features - mean if kind == "cl2n" else features, dim=1, eps=SMALLEST_NORM)


def class_means(features: Tensor, labels: Tensor, classes: int, kind: FeatureKind = "cl2n") -> tuple[Tensor, Tensor]:
    """The mean feature [D], and the mean of the transformed features of each class [C, D], not normalised again.

    A class without samples has a mean of NaN.
    """
    mean = features.mean(dim=0)
    members = F.one_hot(labels, classes).to(features.dtype)
    return mean, members.T @ transform(features, mean, kind) / members.sum(dim=0)[:, None]


def nearest_mean_logits(
    features: Tensor, mean: Tensor, means: Tensor, kind: FeatureKind = "cl2n", distance: Distance = "l2"
) -> Tensor:
    """Minus the squared Euclidean distance to each class mean, or the dot product divided by D ("cos"): [B, C].

    A class with a mean of NaN gets a lower score than all others.
    """
    x = transform(features, mean, kind)
    cosine = distance == "cos"
    scores = x @ means.T / x.shape[1] if cosine else -(x[:, None] - means).square().sum(dim=2)
    absent = means.isnan().any(dim=1)
    lowest = scores.masked_fill(absent, math.inf).amin(dim=1, keepdim=True)
    return torch.where(absent, lowest - 1, scores)


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean recall over the classes that have samples, of logits [N, C]. tau is chosen by it."""
    hit = (logits.argmax(dim=1) == labels).double()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    recall = torch.bincount(labels, hit, minlength=logits.shape[1]) / counts.clamp(min=1)
    return float(recall[counts > 0].mean())


def cosine_rate(lr: float, epoch: int, epochs: int, official: bool = True) -> float:
    """Cosine to 0 in a 0-based epoch. The official one is an epoch ahead: its last epoch has a rate of 0."""
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch + official) / epochs))


class Crt(Method):
    info = Info(
        name="cRT",
        title="Decoupling Representation and Classifier for Long-Tailed Recognition",
        authors="Bingyi Kang, Saining Xie, Marcus Rohrbach, Zhicheng Yan, Albert Gordo, Jiashi Feng, Yannis Kalantidis",
        venue="ICLR",
        year=2020,
        idea="First, the whole network is trained by cross-entropy. Then its features are frozen, and only the "
        "classifier is balanced: it is trained again on class-balanced batches, rescaled, or replaced by the mean "
        "features of the classes.",
        kind="imbalance",
        family="imbalance",
        scaling="The second stage is added to the epochs of the first. It lasts 0.11 of them, and at least two epochs "
        "if there are 8 or more. Any batch size works. 'class_aware' needs several faces of each class.",
        arxiv="1910.09217",
        code="github.com/facebookresearch/classifier-balancing @ f162ade",
        deviations=(
            "The second stage is added to the recipe's epochs, as officially, but it uses the recipe's optimizer.",
            "Batch norm is frozen together with the features. Officially its running statistics change in the second "
            "stage (bn_train=true).",
            "The recipe's learning-rate schedule starts again in the second stage. Officially it is a cosine, with a "
            "rate of 0 in the last epoch (lr_schedule='official').",
            "tau is fixed, or chosen on the training labels. Officially it is chosen on a validation set.",
            "A feature of zeros keeps a distance to each class mean (variant 'ncm'). Officially it becomes NaN.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["crt", "lws", "tau", "ncm"] = hparam(
            "crt",
            "'crt' trains a new classifier, 'lws' learns one scale per class, 'tau' divides the rows of the classifier "
            "by their norms, 'ncm' answers with the nearest class mean",
            "project default; the official code has all four",
        )
        share: float = hparam(
            0.11,
            "epochs of the second stage of 'crt' and 'lws', which come on top, as a share of the first stage's; two "
            "at least after 8 or more",
            "official: 10 on top of 90; 5 on top of 90 for lws",
        )
        sampler: Literal["instance", "class_aware", "sqrt", "progressive"] = hparam(
            "instance", "draws of the first stage; 'instance' is every image once", "official"
        )
        classifier_sampler: Literal["instance", "class_aware", "sqrt", "progressive"] = hparam(
            "class_aware", "draws of the second stage", "official config/*"
        )
        samples_per_class: int = hparam(4, "images in a row of a class drawn by 'class_aware'", "official config/*")
        progressive: Literal["official", "paper"] = hparam(
            "official",
            "'official' is balanced in the last epoch of the stage, 'paper' would be one epoch later",
            "official",
        )
        bn_train: bool = hparam(
            False, "True: the frozen features are taken in training mode in the second stage", "official: true"
        )
        lr_schedule: Literal["recipe", "cosine", "official"] = hparam(
            "recipe",
            "second stage: the recipe's schedule from its start, a cosine, or the official cosine, one epoch ahead",
            "the harness's, for equal terms",
        )
        scale_bias: bool = hparam(True, "'lws' scales the bias as well as the weights", "official: true")
        tau: float = hparam(1.0, "exponent of the norm for 'tau'; 0 = no scaling", "project default: unit norms")
        tau_choice: Literal["fixed", "train"] = hparam(
            "fixed",
            "'train' takes the tau of 0 to 2 with the best mean recall on the given training labels",
            "project default; official: a validation set",
        )
        features: Literal["cl2n", "un", "l2n"] = hparam(
            "cl2n", "'ncm': features centred and of unit length, as they are, or of unit length", "official"
        )
        distance: Literal["l2", "cos"] = hparam("l2", "'ncm': squared Euclidean distance or dot product", "official")

        def __post_init__(self) -> None:
            require_range("share", self.share, 0, 1)
            require_range("samples_per_class", self.samples_per_class, low=1)
            require_range("tau", self.tau, low=0)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("balanced", torch.zeros((), dtype=torch.bool))
        self.register_buffer("in_second", torch.zeros((), dtype=torch.bool))
        self.register_buffer("stage_epoch", torch.zeros((), dtype=torch.int64))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        views = ("weak", "plain") if config.variant in ("tau", "ncm") else ("weak",)
        return Needs(views=views, first_stage_of="ce" if config.sampler == "instance" else "")

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        return (f"variant {config.variant}",)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        first = self.net.get_classifier()
        if not isinstance(first, nn.Linear):
            raise ValueError(f"the classifier must be one nn.Linear, not {type(first).__name__}")
        classes, width = first.weight.shape
        if self.config.variant == "crt":
            self.classifier = nn.Linear(width, classes)
        elif self.config.variant == "lws":
            self.scales = nn.Parameter(torch.ones(classes))
        elif self.config.variant == "tau":
            self.register_buffer("tau", torch.tensor(float(self.config.tau)))
        else:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("means", torch.full((classes, width), math.nan))

    # --- stages

    @property
    def second_trains(self) -> bool:
        """Whether a second stage trains a classifier. Otherwise the classifier is computed after the training."""
        return self.config.variant in ("crt", "lws")

    def stages(self) -> Sequence[Stage]:
        if not self.second_trains:
            return (Stage(FIRST),)
        return Stage(FIRST), Stage(SECOND, self.second_epochs() / self.task.epochs, extra=True)

    def second_epochs(self) -> int:
        least = LEAST_EPOCHS if self.task.epochs >= 4 * LEAST_EPOCHS else 1
        return max(least, round(self.config.share * self.task.epochs))

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        if stage == SECOND:
            trained = self.classifier.parameters() if self.config.variant == "crt" else [self.scales]
            return {"main": make_optimizer(trained)}
        return {"main": make_optimizer(self.net.parameters())}

    def on_stage_start(self, stage: str, run: Run) -> None:
        self.in_second.fill_(stage == SECOND)
        self.balanced.logical_or_(self.in_second)
        self.stage_epoch.zero_()

    def on_epoch_start(self, run: Run) -> None:
        if run.stage != SECOND:
            return
        if not self.config.bn_train:
            self.net.eval()
        if self.config.lr_schedule != "recipe":
            official = self.config.lr_schedule == "official"
            for optimizer in run.optimizers.values():
                lr = cosine_rate(optimizer.defaults["lr"], run.stage_epoch, run.stage_epochs, official)
                for group in optimizer.param_groups:
                    group["lr"] = lr

    def on_epoch_end(self, run: Run) -> None:
        self.stage_epoch += 1

    @torch.no_grad()
    def on_fit_end(self, run: Run) -> None:
        """Computes the classifier of 'tau' and 'ncm', from the features of the training set if it needs them."""
        if self.second_trains:
            return
        if self.config.variant == "ncm" or self.config.tau_choice == "train":
            self.net.eval()
            parts = [(self.features(batch.view("plain")).float(), batch.label) for batch in run.training_set()]
            features, labels = (torch.cat(part) for part in zip(*parts, strict=True))
            self.take_features(features, labels)
        self.balanced.fill_(True)

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        sampler = self.config.classifier_sampler if bool(self.in_second) else self.config.sampler
        counts, draws = torch.bincount(labels, minlength=self.task.num_classes), len(labels)
        if sampler == "instance":
            return None
        if sampler == "class_aware":
            return class_aware_rows(labels, draws, self.config.samples_per_class, generator_shuffle(generator))
        if sampler == "sqrt":
            return independent_rows(labels, class_probability(counts, 0.5), draws, generator)
        epochs = self.second_epochs() if bool(self.in_second) else self.task.epochs
        probability = progressive_probability(counts, int(self.stage_epoch), epochs, self.config.progressive)
        return class_cycle_rows(labels, probability, draws, generator)

    # --- training

    def features(self, images: Tensor) -> Tensor:
        """The pooled features [B, D] that go into the classifier."""
        return self.net.forward_head(self.net.forward_features(images), pre_logits=True)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        images = batch.view("weak")
        if run.stage == SECOND:
            with torch.no_grad():
                features = self.features(images)
            logits = self.second_logits(features)
        else:
            logits = self.net(images)
        loss = F.cross_entropy(logits.float(), batch.label)
        run.minimize(loss)
        return {"loss": loss.detach()}

    def take_features(self, features: Tensor, labels: Tensor) -> None:
        """The class means, or the choice of tau, from the features [N, D] and given labels [N] of the training set."""
        if self.config.variant == "ncm":
            self.mean, self.means = class_means(features, labels, self.task.num_classes, self.config.features)
            return
        weight = self.net.get_classifier().weight.detach().float()
        # the smallest of equally good values, which changes the classifier least
        scores = [balanced_accuracy(F.linear(features, tau_normalise(weight, t)), labels) for t in tau_grid().tolist()]
        self.tau.fill_(tau_grid()[scores.index(max(scores))])

    def second_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] of the balanced classifier for features [B, D]."""
        c, first = self.config, self.net.get_classifier()
        if c.variant == "crt":
            return self.classifier(features)
        weight, bias = first.weight.detach(), first.bias.detach()
        if c.variant == "lws":
            return scaled_logits(features, weight, bias, self.scales, c.scale_bias)
        if c.variant == "tau":
            return F.linear(features, tau_normalise(weight, float(self.tau)))
        return nearest_mean_logits(features.float(), self.mean, self.means, c.features, c.distance)

    def predict(self, images: Tensor) -> Tensor:
        """The balanced classifier, or that of the first stage until it exists."""
        return self.second_logits(self.features(images)) if bool(self.balanced) else self.net(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {"first stage": self.net(images)}
