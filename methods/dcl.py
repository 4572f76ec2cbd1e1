"""DCL: dynamic curriculum learning.

Y. Wang, W. Gan, J. Yang, W. Wu, J. Yan. "Dynamic Curriculum Learning for Imbalanced Data Classification". ICCV 2019,
arXiv 1901.06783. There is no official code; the schedules agree with the unofficial chpark1111/CS376_Project @ df1bf3b.

1. In each batch, samples of a class are dropped or weighted, so that the classes follow a target distribution. The
   target changes from the natural to the balanced distribution during the training.
2. A triplet loss brings hard samples of rare classes closer to easy samples of the same class.
3. The weight of the triplet loss falls, so that the end of the training is mostly classification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, hparam
from fer_bench.ops import require_range

Curve = Literal["convex", "linear", "concave", "composite"]
Normalisation = Literal["sum", "min"]
Counting = Literal["round", "floor"]


def curriculum(kind: Curve, epoch: float, epochs: int, decay: float = 0.99) -> float:
    """SF(l) of a 0-based epoch l of L: from 1 towards 0; "concave" is decay^l and the others reach 0 at L."""
    share = epoch / epochs
    if kind == "convex":
        return math.cos(share * math.pi / 2)
    if kind == "linear":
        return 1 - share
    if kind == "concave":
        return decay**epoch
    return 0.5 * math.cos(share * math.pi) + 0.5


def triplet_factor(epoch: float, epochs: int, p: float, epsilon: float) -> float:
    """f(l) = cos(l pi / L) / 2 + 1 / 2 + epsilon for l < p L, and epsilon afterwards. The jump is intended."""
    return curriculum("composite", epoch, epochs) + epsilon if epoch < p * epochs else epsilon


def target_distribution(counts: Tensor, g: float, norm: Normalisation = "sum") -> Tensor:
    """(n_j / n_min)^g, float64 [C], 0 for absent classes: natural at g = 1, balanced at g = 0.

    "min" leaves the rarest class at 1, "sum" divides by the sum.
    """
    target = torch.where(counts > 0, counts.double().clamp(min=1) ** g, 0.0)
    return target / (target.sum() if norm == "sum" else target[counts > 0].min())


def class_ratios(batch_counts: Tensor, counts: Tensor, g: float, norm: Normalisation = "sum") -> Tensor:
    """r_j = target_j / current_j: float64 [C] of the class counts of a batch and of the training set; 0 if not present.

    "sum": both are shares over the classes that the batch holds, so sum_j N_j r_j is the batch size. "min": the target
    has its rarest class of the training set at 1, and the batch its rarest present class.
    """
    present = batch_counts > 0
    current = batch_counts.double()
    if norm == "min":
        target, current = target_distribution(counts, g, "min"), current / current[present].min()
    else:
        target, current = target_distribution(counts * present, g, "sum"), current / current.sum()
    return torch.where(present, target / torch.where(present, current, 1.0), 0.0)


def kept_counts(ratios: Tensor, batch_counts: Tensor, counting: Counting = "round") -> Tensor:
    """How many samples of each class a batch keeps: int64 [C]; all where r_j >= 1, else r_j N_j, half up or floored."""
    kept = torch.floor(ratios * batch_counts + (0.5 if counting == "round" else 0.0))
    return torch.where(ratios >= 1, batch_counts.to(kept.dtype), kept).long()


def draw_kept(labels: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """bool [B]: ``kept[c]`` samples of each class c, chosen uniformly without replacement."""
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    # the rank of a sample among those of its class, in the random order
    one_hot = F.one_hot(labels[order], len(kept))
    rank = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1) - 1
    mask = torch.empty(len(labels), dtype=torch.bool, device=labels.device)
    mask[order] = rank < kept[labels[order]]
    return mask


def sample_weights(labels: Tensor, ratios: Tensor, keep: Tensor) -> Tensor:
    """w [B]: r_j where r_j >= 1; elsewhere 1 for the kept samples and 0 for the dropped ones."""
    r = ratios[labels]
    return torch.where(r >= 1, r, keep.to(r.dtype))


def selective_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """L_DSL = -(1 / B) sum_i w_i log p(y_i), where B counts the dropped samples."""
    return (F.cross_entropy(logits, labels, reduction="none") * weights.to(logits.dtype)).mean()


def minority_classes(labels: Tensor, rho: float) -> list[int]:
    """The rarest classes of a batch, together at most the share rho of it; of equal counts the lower class."""
    counts = torch.bincount(labels).tolist()
    found, total = [], 0
    for c in sorted((c for c, n in enumerate(counts) if n), key=lambda c: (counts[c], c)):
        total += counts[c]
        if total > rho * len(labels):
            break
        found.append(c)
    return found


def mine_triplets(
    probabilities: Tensor, labels: Tensor, k: int, easy_threshold: float, rho: float
) -> tuple[Tensor, Tensor]:
    """Positions int64 [T, 3] of anchor, positive and negative, and the class int64 [T], of probabilities [B, C].

    Of each minority class of the batch: anchors are predicted correctly with more than ``easy_threshold``; positives
    are the k of the class with the lowest probability of it, negatives the k others with the highest. An anchor is not
    its own positive; ties go to the lower position.
    """
    predicted = probabilities.argmax(dim=1)
    triplets, classes = [], []
    for c in sorted(minority_classes(labels, rho)):
        score, mine = probabilities[:, c], labels == c
        easy = (mine & (predicted == c) & (score > easy_threshold)).nonzero().squeeze(1)
        order = torch.sort(score, stable=True).indices
        positives = order[mine[order]][:k]
        order = torch.sort(score, descending=True, stable=True).indices
        negatives = order[~mine[order]][:k]
        found = torch.cartesian_prod(easy, positives, negatives).reshape(-1, 3)
        found = found[found[:, 0] != found[:, 1]]
        triplets.append(found)
        classes.append(torch.full_like(found[:, 0], c))
    if not triplets:
        return labels.new_zeros((0, 3)), labels.new_zeros(0)
    return torch.cat(triplets), torch.cat(classes)


def triplet_hinges(features: Tensor, triplets: Tensor, margin: float) -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) [T], d being the Euclidean distance of features."""
    anchor, positive, negative = (features[rows] for rows in triplets.unbind(1))
    return F.relu(margin + (anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1))


def triplet_loss(features: Tensor, triplets: Tensor, margin: float) -> Tensor:
    """L_TEA, the mean of the hinges; a 0 with a gradient of 0 where there is no triplet."""
    return triplet_hinges(features, triplets, margin).mean() if len(triplets) else features.sum() * 0.0


class Dcl(Method):
    info = Info(
        name="DCL",
        title="Dynamic Curriculum Learning for Imbalanced Data Classification",
        authors="Yiru Wang, Weihao Gan, Jie Yang, Wei Wu, Junjie Yan",
        venue="ICCV",
        year=2019,
        idea="Weights or drops images of each batch so that its class distribution changes from natural to balanced "
        "during the training. A triplet loss brings hard faces of rare classes closer to easy faces of the same class; "
        "its weight falls with time.",
        kind="imbalance",
        family="imbalance",
        scaling="The curves cover the whole training, except 'concave': decay^epoch hardly changes in a short "
        "training. p is a share of the training. A triplet needs several faces of a rare class in one batch, so more "
        "classes and stronger imbalance need larger batches. Both losses are means.",
        arxiv="1901.06783",
        code="no official code; schedules as in github.com/chpark1111/CS376_Project @ df1bf3b",
        deviations=(
            "There is no official code, and the formulas come from a secondary source. Where this source is silent, "
            "the rules are ours: how the distribution of the batch is normalised (dist_norm), how many images are kept "
            "(keep_count), and which images form triplets.",
            "margin, k, easy_threshold and rho are values of this project, chosen for expressions. The values of the "
            "paper are for attributes.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        curve: Literal["convex", "linear", "concave", "composite"] = hparam(
            "convex", "curve of the target distribution from natural to balanced", "paper's best, by a secondary source"
        )
        decay: float = hparam(0.99, "base of the 'concave' curve, decay^epoch", "unofficial code")
        p: float = hparam(0.3, "share of the training after which the triplet loss fades", "secondary source")
        epsilon: float = hparam(0.1, "weight of the triplet loss from there on", "unofficial code")
        dist_norm: Literal["sum", "min"] = hparam(
            "sum",
            "'sum' compares shares over the classes that a batch holds; 'min' divides by the rarest class, and its "
            "loss grows or shrinks with the classes that a batch happens to hold",
            "project default; 'min' is the unofficial code's",
        )
        keep_count: Literal["round", "floor"] = hparam(
            "round", "how r_j N_j becomes a number of kept samples; 'floor' drops single samples", "project default"
        )
        margin: float = hparam(0.5, "margin of the triplet loss", "project default")
        k: int = hparam(5, "hard positives and hard negatives of each rare class", "project default")
        easy_threshold: float = hparam(0.5, "an anchor's probability of its label exceeds this", "project default")
        rho: float = hparam(0.5, "share of a batch that its rare classes may make up", "project default")
        normalise: bool = hparam(True, "L2-normalised features in the triplet loss", "project default")

        def __post_init__(self) -> None:
            for name in ("decay", "p", "easy_threshold", "rho"):
                require_range(name, getattr(self, name), 0, 1)
            for name in ("epsilon", "margin"):
                require_range(name, getattr(self, name), low=0)
            require_range("k", self.k, low=1)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        c, labels, counts = self.config, batch.label, self.task.class_counts.to(batch.label.device)
        features = self.net.forward_head(self.net.forward_features(batch.view("weak")), pre_logits=True)
        logits, features = self.net.get_classifier()(features).float(), features.float()

        batch_counts = torch.bincount(labels, minlength=len(counts))
        ratios = class_ratios(batch_counts, counts, curriculum(c.curve, run.epoch, run.epochs, c.decay), c.dist_norm)
        keep = draw_kept(labels, kept_counts(ratios, batch_counts, c.keep_count), run.generator("keep"))
        weights = sample_weights(labels, ratios, keep)
        dsl = selective_loss(logits, labels, weights)

        probabilities = F.softmax(logits.detach(), dim=1)
        triplets, _ = mine_triplets(probabilities, labels, c.k, c.easy_threshold, c.rho)
        tea = triplet_loss(F.normalize(features, dim=1) if c.normalise else features, triplets, c.margin)
        loss = dsl + triplet_factor(run.epoch, run.epochs, c.p, c.epsilon) * tea
        run.record_selection(batch.index, weights > 0)
        run.minimize(loss)
        return {
            "loss": loss.detach(),
            "selective": dsl.detach(),
            "triplet": tea.detach(),
            "triplets": float(len(triplets)),
            "weight": weights.mean(),
        }
