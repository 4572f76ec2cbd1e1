"""RoLT: robust long-tailed learning by prototypical noise detection and soft pseudo-labels.

T. Wei, J.-X. Shi, W.-W. Tu, Y.-F. Li. "Robust Long-Tailed Learning under Label Noise". arXiv 2108.11569 (2021);
Frontiers of Computer Science (2025). Code: github.com/Stomach-ache/RoLT @ c78db7b (run_networks.py,
models/KNNClassifier.py).

1. The loss does not find wrong labels in rare classes, but the distance to the class prototype does. Before each epoch,
   prototypes are the class means of features. A mixture of two Gaussians splits each class into near and far faces.
2. Prototypes are computed again from the near faces, and the split is repeated.
3. After a warm-up, far faces get a soft label from the network's guess, the nearest prototype, the given label and the
   uniform distribution. Near faces keep their label.
4. Optionally ('drw'), the last part of the training weights classes by their effective number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, Task, hparam
from fer_bench.ops import deferral_is_over, effective_number_weights, evaluating, require_range, two_gaussians

FAR = -1e3
"""Distance logit of a class without a prototype. Those of other classes are from -4 to 0."""
RANDOM_STATE = 0
"""Seed of scikit-learn's 2-means, from which a split starts (run_networks.py)."""


def class_means(x: Tensor, labels: Tensor, kept: Tensor, num_classes: int) -> Tensor:
    """Means [C, D] of the rows x [N, D] of each class that are ``kept`` (bool [N]); NaN for a class without any."""
    members = F.one_hot(labels, num_classes).to(x.dtype) * kept[:, None]
    return members.T @ x / members.sum(dim=0)[:, None]


def centred(features: Tensor, mean: Tensor) -> Tensor:
    """(f - mean) / ||f - mean|| of features [N, D]."""
    return F.normalize(features - mean, dim=1, eps=1e-12)


def distance_logits(x: Tensor, prototypes: Tensor) -> Tensor:
    """Minus the squared distances [N, C] of rows x [N, D] to prototypes [C, D]; FAR where a prototype is absent."""
    squared = (x**2).sum(dim=1, keepdim=True) + (prototypes**2).sum(dim=1) - 2 * x @ prototypes.T
    return (-squared).masked_fill(prototypes.isnan().any(dim=1), FAR)


def nearness(distance: Tensor) -> Tensor:
    """Distance logits [n] of the members of a class, mapped to 0 (farthest) .. 1 (nearest); 0 where all are equal."""
    above = distance - distance.min()
    top = above.max()
    return above / top if top > 0 else above


def near_members(near: Tensor) -> Tensor:
    """bool [n]: which members of a class the split keeps, of their :func:`nearness`.

    These are the members that a mixture of two Gaussians assigns to the component with the larger mean. All members are
    kept if it is empty, if all values are equal, or if there are fewer than two.
    """
    everybody = torch.ones(len(near), dtype=torch.bool)
    if len(near) < 2 or near.max() == 0:
        return everybody
    kept = two_gaussians(near, RANDOM_STATE).posterior(near).argmax(dim=1) == 1
    return kept if bool(kept.any()) else everybody


def split(distance: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(kept bool [N], nearness [N]) of distance logits [N, C], class by class."""
    kept, near = torch.ones(len(labels), dtype=torch.bool), torch.ones(len(labels), dtype=distance.dtype)
    for c in labels.unique():
        rows = (labels == c).nonzero().squeeze(1)
        near[rows] = nearness(distance[rows, c])
        kept[rows] = near_members(near[rows])
    return kept, near


@dataclass(frozen=True)
class Detection:
    """What a pass over the training set finds. Tensors are in the order of the training set, on the CPU."""

    mean: Tensor
    """[D]: the mean feature, over all rows."""
    prototypes: Tensor
    """[C, D], of the faces that the first split kept."""
    distance: Tensor
    """Distance logits [N, C] to these prototypes."""
    kept: Tensor
    """bool [N], by the second split."""
    near: Tensor
    """[N]: nearness of each face to the prototype of its class."""


def detect(features: Tensor, labels: Tensor, num_classes: int) -> Detection:
    """Prototypes from all members, a split, prototypes from the kept ones, and the final split."""
    mean = features.mean(dim=0)
    x = centred(features, mean)
    kept = torch.ones(len(labels), dtype=torch.bool)
    first = class_means(x, labels, kept, num_classes)
    kept, _ = split(distance_logits(x, first), labels)
    prototypes = class_means(x, labels, kept, num_classes)
    distance = distance_logits(x, prototypes)
    return Detection(mean, prototypes, distance, *split(distance, labels))


def averaged(previous: Tensor, new: Tensor, passes: int, memory: float, official: bool = False) -> Tensor:
    """The running average of logits in the 1-based pass ``passes``: memory * previous + (1 - memory) * new.

    The first average is ``new``. ``official`` divides it by 1 - memory^passes in each pass and stores the result. This
    bias correction is not needed and gives early passes too much weight. Only the largest entry is used later.
    """
    average = new if passes == 1 else memory * previous + (1 - memory) * new
    return average / (1 - memory**passes) if official else average


def pseudo_labels(
    kept: Tensor, given: Tensor, candidates: list[tuple[float, Tensor]], num_classes: int
) -> tuple[list[float], Tensor]:
    """(weights [T], hard labels int64 [T, n]) whose weighted cross-entropies are added; the weights sum to 1.

    A kept face has its given label in all of them. Other faces have the labels of the candidates (weight, labels [n]),
    then every class; the classes share the remaining weight.
    """
    left = 1 - sum(weight for weight, _ in candidates)
    every = [(left / num_classes, torch.full_like(given, c)) for c in range(num_classes)]
    terms = candidates + every
    return [weight for weight, _ in terms], torch.stack([torch.where(kept, given, label) for _, label in terms])


def pseudo_label_loss(logits: Tensor, weights: list[float], labels: Tensor, class_weight: Tensor | None) -> Tensor:
    """sum_t weight_t CE(z, labels_t), a scalar, of logits [B, C] and labels [T, B].

    With class weights [C], each cross-entropy is a mean weighted by the classes of its labels. Without them, the sum is
    the cross-entropy with the soft label.
    """
    terms = (weight * F.cross_entropy(logits, y, class_weight) for weight, y in zip(weights, labels, strict=True))
    return torch.stack(list(terms)).sum()


class Rolt(Method):
    info = Info(
        name="RoLT",
        title="Robust Long-Tailed Learning under Label Noise",
        authors="Tong Wei, Jiang-Xin Shi, Wei-Wei Tu, Yu-Feng Li",
        venue="Frontiers of Computer Science",
        year=2025,
        idea="In each class, faces far from the prototype of the class are treated as wrongly labelled. They get a "
        "soft label from the network, the nearest prototype, the given label and the uniform distribution.",
        kind="both",
        family="noise-and-imbalance",
        scaling="warmup and drw_start are shares of the epochs. memory is the share of the averaged logits that a pass "
        "keeps. There is one pass per epoch, so 0.6 covers two or three epochs. The mixture of a class needs several "
        "faces of it.",
        arxiv="2108.11569",
        code="github.com/Stomach-ache/RoLT @ c78db7b",
        deviations=(
            "Features are those of images without augmentation; officially of cropped and mirrored ones (view='weak').",
            "The running averages of logits have no bias correction. Officially the stored value itself is corrected "
            "in each pass (ensemble='official').",
            "The phases start after shares of the training; officially after 80 and 160 of 200 epochs.",
            "A class of one member keeps it, and a class without members has no prototype. Officially both stop the "
            "training.",
            "With 'drw', a class without any label has weight 0; officially its weight is infinite.",
            "The variant with the LDAM loss is left out.",
            "The recipe sets the learning-rate schedule, as for every method. Officially the rate drops to a hundredth "
            "where 'drw' starts.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        warmup: float = hparam(
            0.4,
            "share of the epochs with the given labels, at least one epoch",
            "official run_networks.py: 80 of 200 epochs",
        )
        memory: float = hparam(0.6, "share that a pass keeps of the averaged logits", "official run_networks.py")
        guess: float = hparam(0.4, "weight of the network's guess in a soft label", "official run_networks.py")
        nearest: float = hparam(0.2, "weight of the nearest prototype", "official run_networks.py")
        given: float = hparam(
            0.2, "weight of the given label; the uniform distribution has the rest", "official run_networks.py"
        )
        drw: bool = hparam(False, "True: deferred re-weighting (RoLT-DRW)", "official config files have both")
        drw_start: float = hparam(
            0.8, "'drw': share of the epochs at which it begins", "official run_networks.py: 160 of 200 epochs"
        )
        surrogate: float = hparam(
            0.5,
            "'drw': weight of the surrogate label, fixed where it begins; the uniform distribution has the rest",
            "official run_networks.py",
        )
        beta: float = hparam(0.9999, "'drw': beta of the effective number", "official utils.py")
        view: Literal["plain", "weak"] = hparam(
            "plain", "images that features are taken from", "project default; official: weak"
        )
        ensemble: Literal["average", "official"] = hparam(
            "average", "'official': averaged logits with a repeated bias correction", "project default"
        )

        def __post_init__(self) -> None:
            for name in ("warmup", "memory", "guess", "nearest", "given", "surrogate"):
                require_range(name, getattr(self, name), 0, 1)
            require_range("memory", self.memory, 0, 0.999)
            require_range("beta", self.beta, 0, 0.999999)
            require_range("guess + nearest + given", self.guess + self.nearest + self.given, 0, 1 + 1e-9)
            if self.drw:
                require_range("drw_start", self.drw_start, self.warmup, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.warmup_epochs = max(1, math.floor(config.warmup * task.epochs + 1e-9))
        for name in ("average_logits", "average_distance"):
            self.sample_buffer(name, 0.0, (task.num_classes,), dtype=torch.float32)
        self.sample_buffer("kept", True, dtype=torch.bool)
        self.sample_buffer("near", float("nan"), dtype=torch.float32)
        self.sample_buffer("surrogate", 0, dtype=torch.int64)
        self.register_buffer("class_weight", torch.ones(task.num_classes))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(views=("weak",) if config.view == "weak" else ("weak", "plain"), forwards=2.0)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        width = self.net.get_classifier().in_features
        self.register_buffer("prototypes", torch.zeros(self.task.num_classes, width))
        self.register_buffer("mean_feature", torch.zeros(width))

    def features(self, images: Tensor) -> Tensor:
        """What goes into the classifier, float32 [B, D]."""
        return self.net.forward_head(self.net.forward_features(images), pre_logits=True).float()

    def deferred(self, epoch: int) -> bool:
        """Whether the 0-based epoch is one of re-weighting."""
        return self.config.drw and deferral_is_over(epoch, self.task.epochs, self.config.drw_start)

    def on_epoch_start(self, run: Run) -> None:
        """Sorts the whole training set by the distance to its prototypes."""
        count, classes = self.task.num_samples, self.task.num_classes
        features, logits = torch.empty(count, len(self.mean_feature)), torch.empty(count, classes)
        labels = torch.empty(count, dtype=torch.int64)
        with evaluating(self.net):
            for batch in run.training_set():
                rows, found = batch.index.cpu(), self.features(batch.view(self.config.view))
                features[rows], labels[rows] = found.cpu(), batch.label.cpu()
                logits[rows] = self.net.get_classifier()(found).float().cpu()
        self.clean(features, logits, labels, run.epoch + 1)
        if self.deferred(run.epoch) and not self.deferred(run.epoch - 1):
            self.fix_surrogates(labels)

    def clean(self, features: Tensor, logits: Tensor, labels: Tensor, passes: int) -> None:
        """Stores the results of the 1-based pass ``passes`` from its features [N, D], logits [N, C] and labels [N]."""
        c, found = self.config, detect(features, labels, self.task.num_classes)
        for average, new in ((self.average_logits, logits), (self.average_distance, found.distance)):
            average.copy_(averaged(average, new.to(average), passes, c.memory, c.ensemble == "official"))
        self.kept.copy_(found.kept)
        self.near.copy_(found.near)
        self.prototypes.copy_(found.prototypes)
        self.mean_feature.copy_(found.mean)

    def fix_surrogates(self, labels: Tensor) -> None:
        """Replaces the labels [N] of far faces by the network's guess, and computes class weights from the result."""
        self.surrogate.copy_(torch.where(self.kept, labels.to(self.kept.device), self.average_logits.argmax(dim=1)))
        counts = torch.bincount(self.surrogate, minlength=self.task.num_classes)
        self.class_weight.copy_(effective_number_weights(counts, self.config.beta))

    def targets(self, index: Tensor, given: Tensor, epoch: int) -> tuple[list[float], Tensor]:
        """(weights [T], labels [T, B]) of the faces ``index`` [B] with given labels [B] in a 0-based epoch."""
        c, classes = self.config, self.task.num_classes
        if self.deferred(epoch):
            fixed = self.surrogate[index]
            weights, labels = pseudo_labels(self.kept[index], given, [(c.surrogate, fixed)], classes)
            labels[0] = fixed  # a surrogate does not follow today's mask
            return weights, labels
        if epoch < self.warmup_epochs:
            return [1.0], given[None]
        guess, nearest = (a[index].argmax(dim=1) for a in (self.average_logits, self.average_distance))
        return pseudo_labels(
            self.kept[index], given, [(c.guess, guess), (c.nearest, nearest), (c.given, given)], classes
        )

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        weights, labels = self.targets(batch.index, batch.label, run.epoch)
        class_weight = self.class_weight if self.deferred(run.epoch) else None
        loss = pseudo_label_loss(self.net(batch.view("weak")).float(), weights, labels, class_weight)
        kept = self.kept[batch.index]
        if run.epoch >= self.warmup_epochs:
            run.record_selection(batch.index, kept)
        run.minimize(loss)
        return {"loss": loss.detach(), "kept": kept.float().mean()}

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        x = centred(self.features(images), self.mean_feature)
        return {"nearest prototype": distance_logits(x, self.prototypes)}

    def clean_score(self) -> Tensor | None:
        """How near each face is to its class prototype, relative to the class. None before the first pass."""
        return None if bool(self.near.isnan().any()) else self.near
