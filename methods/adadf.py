"""Ada-DF: dual-branch adaptive distribution fusion.

S. Liu, Y. Xu, T. Wan, X. Kui. "A Dual-Branch Adaptive Distribution Fusion Framework for Real-World Facial Expression
Recognition". ICASSP 2023; longer version arXiv 2404.15714. Code: github.com/taylor-xy0827/Ada-DF @ 1f033a5 (train.py,
model.py, utils.py).

1. Two branches share a stem. The auxiliary branch learns the given labels. Its softmax is the distribution of a face.
   The mean softmax over the faces of a class is the distribution of the class.
2. A learned attention says how certain a face is. It is ranked within the batch.
3. The target branch, which makes the predictions, learns a mixture: for certain faces mostly the distribution of the
   class, for other faces mostly their own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    evaluating,
    pooled_linear_classifier,
    rank_loss,
    require_positive,
    require_range,
    resolution_stages,
)

STEM_STRIDE = 4
"""The shared stem ends with the last layers of this stride (layer 1 of a ResNet)."""
ALL_EQUAL = 1e-12
OFFICIAL_REST = 0.4
"""Probability that the official fallback row spreads over the other classes, whatever the threshold."""


def ramps(epoch: int, beta: float, alpha: float | None = None) -> tuple[float, float]:
    """(alpha_1, alpha_2) of a 1-based epoch: the weights of the KL divergence and of cross-entropy.

    alpha_1 rises to 1 at ``beta``; then alpha_2 falls from 1 towards 1 / e. A given ``alpha`` fixes them at alpha and
    1 - alpha.
    """
    if alpha is not None:
        return alpha, 1 - alpha
    if epoch <= beta:
        return math.exp(-((1 - epoch / beta) ** 2)), 1.0
    return 1.0, math.exp(-((1 - beta / epoch) ** 2))


def attended(features: Tensor, classifier: nn.Linear, attention: nn.Linear) -> tuple[Tensor, Tensor]:
    """Logits z = a (W f + b) [B, C] and the attention a = sigmoid(v f + c) [B] of pooled features [B, D]."""
    a = torch.sigmoid(attention(features))
    return a * classifier(features), a.squeeze(1)


def rescaled(attention: Tensor, low: float, high: float) -> Tensor:
    """g [B]: the attentions of a batch, scaled to the range ``low`` to ``high``; ``high`` if all are equal.

    The gradient passes through the smallest and the largest attention too.
    """
    least = attention.min()
    span = attention.max() - least
    equal = span < ALL_EQUAL
    share = (attention - least) / torch.where(equal, 1.0, span)
    return torch.where(equal, high, share * (high - low) + low)


def fused_target(logits_1: Tensor, labels: Tensor, g: Tensor, distributions: Tensor) -> Tensor:
    """q = (1 - g) softmax(z_1) + g LD[y], [B, C], of class distributions LD [C, C]. It carries a gradient."""
    return (1 - g[:, None]) * F.softmax(logits_1, dim=1) + g[:, None] * distributions[labels].to(logits_1.dtype)


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """Mean over the batch of sum_c q (ln q - ln softmax(z)), a scalar, with 0 ln 0 = 0; the target has a gradient."""
    log_target = target.clamp(min=torch.finfo(target.dtype).tiny).log()
    return (target * (log_target - F.log_softmax(logits, dim=1))).sum(dim=1).mean()


def initial_distributions(num_classes: int, threshold: float, rest: float | None = None) -> Tensor:
    """LD before the first epoch, float64 [C, C]: ``threshold`` on the diagonal, ``rest`` spread evenly over the others.

    With ``rest`` = None each row sums to 1.
    """
    spread = ((1 - threshold) if rest is None else rest) / (num_classes - 1)
    return torch.full((num_classes, num_classes), spread, dtype=torch.float64).fill_diagonal_(threshold)


def class_distributions(
    probabilities: Tensor, labels: Tensor, num_classes: int, threshold: float, official_fallback: bool = False
) -> Tensor:
    """LD [C, C], float64: row c is the mean of ``probabilities`` [N, C] over the rows of class c.

    A class whose mean gives itself less than ``threshold``, or that has no rows, gets the row of
    :func:`initial_distributions`. Officially that row spreads 0.4 over the other classes and sums to threshold + 0.4.
    """
    means = F.one_hot(labels, num_classes).double().T @ probabilities.double()
    means /= torch.bincount(labels, minlength=num_classes)[:, None]  # 0 / 0 is NaN, which is below any threshold
    fallback = initial_distributions(num_classes, threshold, OFFICIAL_REST if official_fallback else None)
    return torch.where((means.diagonal() >= threshold)[:, None], means, fallback.to(means.device))


class Adadf(Method):
    info = Info(
        name="Ada-DF",
        title="A Dual-Branch Adaptive Distribution Fusion Framework for Real-World Facial Expression Recognition",
        authors="Shu Liu, Yan Xu, Tongming Wan, Xiaoyan Kui",
        venue="ICASSP",
        year=2023,
        idea="Two branches share the first layers of the network. The auxiliary branch learns the given labels and "
        "describes each face and each class by a probability distribution. The target branch, which makes the "
        "predictions, learns a mixture of the two. A learned attention says how certain a face is; for certain faces "
        "the distribution of the class counts more.",
        kind="label noise",
        family="faces",
        scaling="beta is a share of the epochs, and the ramp lasts at least one epoch. threshold is compared with a "
        "mean probability. Label noise, random initial weights and many classes make this probability smaller; 0.5 is "
        "then better than 0.7. tops is a share of the batch. All losses are means.",
        arxiv="2404.15714",
        code="github.com/taylor-xy0827/Ada-DF @ 1f033a5",
        deviations=(
            "A class whose mean probability is below threshold gets a default distribution that sums to 1. Officially "
            "it sums to threshold + 0.4, which is 1.1 at 0.7 (official_fallback=true).",
            "The shared layers are frozen only if the network starts from pre-trained weights. Officially they are "
            "always frozen; from random weights, random filters would then remain (freeze_stem).",
            "From random weights, the divergence sends no gradient to the attention. Officially it does. The attention "
            "of nearly all faces then falls towards 0, and the logits become small (detach_attention=false).",
            "If all attentions of a batch are equal, every face counts as certain. Officially the loss is NaN.",
            "The ramps last a share of the epochs, and at least one epoch. Officially they last 3 of 75 epochs.",
            "The rank loss and the divergence use the actual size of each batch. Officially a last batch that is "
            "smaller is dropped.",
            "Every face is used in every epoch. Officially AffectNet is reduced to the size of its smallest class in "
            "each epoch, and SFEW is trained on ten crops of each face.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. Officially it is Adam "
            "at 1e-3, multiplied by 0.9 after each epoch.",
            "The cost columns count the images that enter the shared layers. A training pass through both branches "
            "takes about 1.7 times as long as a pass through the plain network.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        threshold: float = hparam(
            0.7,
            "mean probability of itself from which on a class's own mean softmax is its distribution; under label "
            "noise or from random weights rather 0.5",
            "official train.py, for RAF-DB",
        )
        beta: float = hparam(
            0.04, "share of the epochs at which the divergence has its full weight", "official train.py: 3 of 75"
        )
        alpha: float | None = hparam(
            None, "fixed weight of the divergence, 1 - alpha being that of cross-entropy; none = the ramps", "official"
        )
        max_weight: float = hparam(1.0, "rescaled attention of the most certain face", "official train.py")
        min_weight: float = hparam(0.2, "rescaled attention of the least certain face", "official train.py")
        tops: float = hparam(0.7, "share of the batch in the certain group", "official train.py")
        margin: float = hparam(0.07, "margin between the groups' mean attentions", "official train.py")
        official_fallback: bool = hparam(
            False, "True: rows of classes below the threshold sum to threshold + 0.4", "official utils.py: True"
        )
        freeze_stem: bool | None = hparam(
            None, "whether the stem stays as it is (none = where the weights are pre-trained)", "official main: True"
        )
        detach_attention: bool | None = hparam(
            None,
            "whether the divergence leaves the attention alone (none = where the weights are random)",
            "project default; official train.py: False",
        )
        distribution_view: Literal["weak", "plain"] = hparam(
            "weak", "images that the class distributions are means over", "official train.py: augmented"
        )

        def __post_init__(self) -> None:
            for name in ("threshold", "beta", "max_weight", "min_weight", "tops"):
                require_range(name, getattr(self, name), 0, 1)
            require_range("margin", self.margin, low=0)
            require_positive("beta", self.beta)
            if self.alpha is not None:
                require_range("alpha", self.alpha, 0, 1)
            if self.min_weight > self.max_weight:
                raise ValueError(f"min_weight = {self.min_weight} is out of range: max_weight is {self.max_weight}")

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.beta_epochs = max(1.0, config.beta * task.epochs)
        self.frozen = task.pretrained if config.freeze_stem is None else config.freeze_stem
        self.detached = not task.pretrained if config.detach_attention is None else config.detach_attention
        self.register_buffer("distributions", initial_distributions(task.num_classes, config.threshold))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        views = ("weak",) if config.distribution_view == "weak" else ("weak", "plain")
        return Needs(views=views, forwards=2.0)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        classifier = pooled_linear_classifier(self.net)
        stages = resolution_stages(self.net)
        stem = nn.Sequential(*(layers for stride, layers in stages if stride <= STEM_STRIDE))
        rest = nn.Sequential(*(layers for stride, layers in stages if stride > STEM_STRIDE))
        if not len(stem) or not len(rest):
            raise ValueError(
                f"Ada-DF needs a network with layers up to stride {STEM_STRIDE} and beyond; {type(self.net).__name__} "
                f"has strides {[stride for stride, _ in stages]}"
            )
        # In a tuple, so that the network's own layers are not registered a second time.
        self._auxiliary = (stem, rest)
        self.target, self.target_classifier = copy.deepcopy(rest), copy.deepcopy(classifier)
        self.attention_1, self.attention_2 = (nn.Linear(classifier.in_features, 1) for _ in range(2))
        if self.frozen:
            stem.requires_grad_(False)

    def branch_1(self, stem_maps: Tensor) -> tuple[Tensor, Tensor]:
        """z_1 [B, C] and a_1 [B] of the auxiliary branch."""
        features = self._auxiliary[1](stem_maps).mean(dim=(2, 3))
        z, a = attended(features, self.net.get_classifier(), self.attention_1)
        return z.float(), a.float()

    def branch_2(self, stem_maps: Tensor) -> tuple[Tensor, Tensor]:
        """z_2 [B, C] and a_2 [B] of the target branch."""
        features = self.target(stem_maps).mean(dim=(2, 3))
        z, a = attended(features, self.target_classifier, self.attention_2)
        return z.float(), a.float()

    def on_epoch_start(self, run: Run) -> None:
        """From the second epoch on, computes the mean softmax of the auxiliary branch over the faces of each class."""
        if run.epoch == 0:
            return
        stem, c = self._auxiliary[0], self.config
        probabilities, labels = [], []
        with evaluating(self):
            for batch in run.training_set():
                probabilities.append(F.softmax(self.branch_1(stem(batch.view(c.distribution_view)))[0], dim=1))
                labels.append(batch.label)
        self.distributions.copy_(
            class_distributions(
                torch.cat(probabilities), torch.cat(labels), self.task.num_classes, c.threshold, c.official_fallback
            )
        )

    def objective(
        self, logits: tuple[Tensor, Tensor], attention: Tensor, labels: Tensor, weights: tuple[float, float]
    ) -> dict[str, Tensor]:
        """L = alpha_2 CE(z_1) + alpha_1 KL(q || softmax z_2) + RR and its parts.

        ``logits`` are z_1 and z_2 [B, C], ``attention`` [B] the mean of both branches', ``weights`` alpha_1 and
        alpha_2.
        """
        c = self.config
        g = rescaled(attention.detach() if self.detached else attention, c.min_weight, c.max_weight)
        kl = divergence(fused_target(logits[0], labels, g, self.distributions), logits[1])
        ce, rank = F.cross_entropy(logits[0], labels), rank_loss(attention, c.tops, c.margin)
        loss = weights[1] * ce + weights[0] * kl + rank
        return {"loss": loss, "ce": ce, "kl": kl, "rank": rank, "attention": attention.mean()}

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        maps = self._auxiliary[0](batch.view("weak"))
        (z_1, a_1), (z_2, a_2) = self.branch_1(maps), self.branch_2(maps)
        weights = ramps(run.epoch + 1, self.beta_epochs, self.config.alpha)
        parts = self.objective((z_1, z_2), (a_1 + a_2) / 2, batch.label, weights)
        run.minimize(parts["loss"])
        above = (self.distributions.diagonal() > self.config.threshold).float().mean()
        return {"classes_above": above} | {name: value.detach() for name, value in parts.items()}

    def predict(self, images: Tensor) -> Tensor:
        """The target branch."""
        return self.branch_2(self._auxiliary[0](images))[0]

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {"auxiliary branch": self.branch_1(self._auxiliary[0](images))[0]}
