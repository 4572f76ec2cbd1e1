"""Forward and backward loss correction with an estimated noise transition matrix.

G. Patrini, A. Rozza, A. K. Menon, R. Nock, L. Qu. "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
Approach". CVPR 2017, arXiv 1609.03683. Code: github.com/giorgiop/loss-correction @ 15a79de.

1. T[i, j] = P(given label j | true label i).
2. A network is trained on the given labels. The anchor of class i is the image with the highest probability of i. Its
   true label is assumed to be i, and its softmax is row i of T.
3. A new network is trained with a corrected loss. Forward: its softmax is multiplied by T before the cross-entropy with
   the given label, so that the network itself predicts true labels. Backward: the vector of the losses of all labels is
   multiplied by the inverse of T.
4. The second network makes the predictions, without T.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Stage, Task, hparam
from fer_bench.ops import evaluating, held_out, require_range

Correction = Literal["forward", "backward"]

ESTIMATE, CORRECT = "estimate", "correct"
EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON], as Keras does."""
PERCENTILE = 97
"""The official filter of outliers removes what is above it."""
LARGEST_CONDITION = 1e3
"""Largest condition number of a matrix that the backward correction inverts."""


def estimate_transition(probabilities: Tensor, outlier_filter: bool = False) -> Tensor:
    """T, float64 [C, C], of the softmaxes [N, C] of the training images. Of equal images the first is the anchor.

    With ``outlier_filter`` the entries of a column at or above its 97th percentile cannot be anchors. They are set to 0
    in the probabilities, so a later row of T can have such a 0, as officially (models.py).
    """
    p = probabilities.detach().double().cpu().clone()
    count, classes = p.shape
    rows = []
    for c in range(classes):
        if outlier_filter:
            tau = p[:, c].sort().values[math.ceil(PERCENTILE / 100 * (count - 1))]
            p[p[:, c] >= tau, c] = 0.0
        anchor = (p[:, c] == p[:, c].max()).nonzero()[0, 0]
        rows.append(p[anchor].clone())
    transition = torch.stack(rows)
    return transition / transition.sum(dim=1, keepdim=True)


def corrected_loss(logits: Tensor, labels: Tensor, matrix: Tensor, correction: Correction = "forward") -> Tensor:
    """The corrected cross-entropy, [B], of logits [B, C] and given labels [B].

    "forward": -log (p T)_y with ``matrix`` = T. "backward": -sum_j (T^-1)[y, j] log p_j with ``matrix`` = T^-1; it can
    be negative. No gradient passes through a clipped probability. (loss.py.)
    """
    p = F.softmax(logits, dim=1).clamp(EPSILON, 1 - EPSILON)
    if correction == "forward":
        return -(p @ matrix).gather(1, labels[:, None]).squeeze(1).log()
    return -(matrix[labels] * p.log()).sum(dim=1)


class ForwardCorrection(Method):
    info = Info(
        name="Forward correction",
        title="Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach",
        authors="Giorgio Patrini, Alessandro Rozza, Aditya Krishna Menon, Richard Nock, Lizhen Qu",
        venue="CVPR",
        year=2017,
        idea="A first network is used to estimate how often each class is labelled as each other class. A second "
        "network is trained with a loss that is corrected by this transition matrix.",
        kind="label noise",
        family="losses",
        scaling="By default each of the two stages is a whole training. held_out is a share of each class. Each row of"
        " the matrix is read from a single face. A network that has seen few steps is not confident about any face, "
        "and a class of few faces gives a poor row. A network that memorises is too sure instead: on drawn faces with "
        "the searched settings and symmetric noise of 0.4 (three seeds, reference sweep reference-grid), the mean "
        "diagonal of the matrix is 0.83 to 0.90 instead of 0.60, and the second stage is 1.2 points better than the "
        "first on the test set (66.5 and 65.3 %), but not better than cross-entropy. The first stage leaves out the "
        "held-out images, so the gain is not that of the correction alone.",
        arxiv="1609.03683",
        code="github.com/giorgiop/loss-correction @ 15a79de",
        deviations=(
            "Outliers are not filtered. For each class, the official filter removes 3 % of all images, which is more "
            "than a rare expression has (outlier_filter=true).",
            "The second network is trained on all images, and its last epoch makes the predictions. Officially the "
            "held-out images are left out, and the epoch with the lowest corrected loss on them makes the predictions.",
            "The cross-entropy of the first stage does not clip probabilities; officially they are clipped at 1e-7.",
            "The backward correction stops with an error if the condition number of the matrix is above 1000.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        correction: Literal["forward", "backward"] = hparam(
            "forward", "the softmax times T, or the losses times the inverse of T", "project default; official: both"
        )
        estimate_from: Literal["held-out", "last"] = hparam(
            "held-out",
            "the epoch whose network gives T: the one with the lowest loss on rows held out, or the last",
            "official experiment.py",
        )
        held_out: float = hparam(
            0.1, "'held-out': share of the rows, of each class, that the first stage leaves out", "official models.py"
        )
        outlier_filter: bool = hparam(
            False,
            "True: the surest 3 % of all images cannot be anchors of a class",
            "official: on for 10 classes, off for 100; here rare classes have fewer images than that",
        )
        first_share: float = hparam(
            1.0,
            "share of the epochs of the first stage; 1 = all of them, and the second stage as many on top",
            "official: two whole trainings",
        )

        def __post_init__(self) -> None:
            require_range("held_out", self.held_out, 0.01, 0.5)
            require_range("first_share", self.first_share, 0.01, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("in_second", torch.zeros((), dtype=torch.bool))
        self.register_buffer("transition", torch.eye(task.num_classes))
        self.register_buffer("matrix", torch.eye(task.num_classes))
        self.register_buffer("condition", torch.ones(()))
        if self.holds_out:
            self.sample_buffer("probability", 0.0, (task.num_classes,))
            self.register_buffer("best_loss", torch.tensor(math.inf))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        holds_out = config.estimate_from == "held-out"
        first, second = (1.0, 1.0) if config.first_share == 1 else (config.first_share, 1 - config.first_share)
        visited = first * (1 - config.held_out if holds_out else 1) + second
        passes = first if holds_out else 0.0  # over the whole training set, after each epoch of the first stage
        first_stage_of = "" if holds_out or config.first_share < 1 else "ce"
        return Needs(views=("weak", "plain"), networks=2, forwards=1 + passes / visited, first_stage_of=first_stage_of)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        epoch = "last epoch" if config.estimate_from == "last" else "epoch with the lowest loss on held-out rows"
        return (f"{config.correction} correction, T estimated from the {epoch}",)

    @property
    def holds_out(self) -> bool:
        return self.config.estimate_from == "held-out"

    def build(self, make_net: MakeNet) -> None:
        self.net, self.corrected = make_net("main"), make_net("corrected")
        if self.holds_out:
            self.register_buffer("held", held_out(self.task.labels, self.config.held_out))

    # --- stages

    def stages(self) -> Sequence[Stage]:
        share = self.config.first_share
        if share == 1:
            return Stage(ESTIMATE), Stage(CORRECT, 1.0, extra=True)
        return Stage(ESTIMATE, share), Stage(CORRECT, 1 - share)

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        trained = self.net if stage == ESTIMATE else self.corrected
        return {"main": make_optimizer(trained.parameters())}

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        if bool(self.in_second) or not self.holds_out:
            return None
        rows = (~self.held.cpu()).nonzero().squeeze(1)
        return rows[torch.randperm(len(rows), generator=generator)]

    def on_epoch_end(self, run: Run) -> None:
        if run.stage == ESTIMATE and self.holds_out:
            self.keep_if_best(self.look_at_all(run))

    def on_stage_start(self, stage: str, run: Run) -> None:
        if stage == CORRECT:
            self.in_second.fill_(True)
            self.take_transition(self.probability if self.holds_out else self.look_at_all(run))

    # --- the matrix

    def look_at_all(self, run: Run) -> Tensor:
        """The first network's softmaxes [N, C] of all training images, without augmentation."""
        with evaluating(self.net):
            parts = [F.softmax(self.net(batch.view("plain")).float(), dim=1) for batch in run.training_set()]
        return torch.cat(parts)

    def keep_if_best(self, probability: Tensor) -> None:
        """Keeps the softmaxes [N, C] if their loss on the given labels of the held-out rows is the lowest so far."""
        labels = self.task.labels.to(probability.device)[self.held]
        loss = F.nll_loss(probability[self.held].clamp(min=EPSILON).log(), labels)
        if loss < self.best_loss:
            self.best_loss.copy_(loss)
            self.probability.copy_(probability)

    def take_transition(self, probability: Tensor) -> None:
        """Sets T and the matrix of the loss from the softmaxes [N, C]."""
        transition = estimate_transition(probability, self.config.outlier_filter)
        condition = torch.linalg.cond(transition).item()
        absent = (self.task.class_counts == 0).nonzero().squeeze(1).tolist()
        if absent:
            warnings.warn(f"classes {absent} have no label: their rows of T are those of images of other classes")
        self.transition.copy_(transition)
        self.matrix.copy_(transition)
        self.condition.fill_(min(condition, 1 / EPSILON))  # finite for a singular matrix, which 'forward' can use
        if self.config.correction == "backward":
            if not condition <= LARGEST_CONDITION:
                raise ValueError(
                    f"the estimated transition matrix has a condition number of {condition:.3g}, and its inverse would "
                    f"amplify noise (at most {LARGEST_CONDITION:g}); use correction='forward'"
                )
            self.matrix.copy_(torch.linalg.inv(transition))

    # --- training

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        images, labels = batch.view("weak"), batch.label
        if run.stage == ESTIMATE:
            loss = F.cross_entropy(self.net(images).float(), labels)
            run.minimize(loss)
            return {"loss": loss.detach()}
        logits = self.corrected(images).float()
        loss = corrected_loss(logits, labels, self.matrix, self.config.correction).mean()
        run.minimize(loss)
        diagonal = self.transition.diagonal()
        return {
            "loss": loss.detach(),
            "diagonal": diagonal.mean(),
            "least_diagonal": diagonal.min(),
            "condition": self.condition,
        }

    def predict(self, images: Tensor) -> Tensor:
        return self.corrected(images) if bool(self.in_second) else self.net(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {"first stage": self.net(images)}
