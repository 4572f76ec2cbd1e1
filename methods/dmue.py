"""DMUE: dive into ambiguity, by latent distributions and pairwise uncertainty.

J. She, Y. Hu, H. Shi, J. Wang, Q. Shen, T. Mei. "Dive into Ambiguity: Latent Distribution Mining and Pairwise
Uncertainty Estimation for Facial Expression Recognition". CVPR 2021, arXiv 2104.00232. Code: github.com/JDAI-CV/
FaceX-Zoo @ 16b793a (addition_module/DMUE).

1. Auxiliary branch c is never trained on class c. For a face of class c it predicts a distribution over other classes.
2. These distributions are soft labels for the target branch, the only one that is used for testing.
3. A certainty score multiplies the logits of each face. It comes from the similarity to each class of the batch.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Run, Task, hparam
from fer_bench.ops import balanced_rows, pooled_linear_classifier, require_positive, require_range, resolution_stages

TEST_EVERY = 200
"""Steps between official tests; a test leaves the model in evaluation mode (train.py)."""

BASE_RATES = ((6, 1e-4), (12, 5e-5), (22, 1e-5), (25, 5e-5), (math.inf, 1e-5))
HEAD_RATES = ((4, 1e-3), (8, 5e-4), (14, 1e-4), (22, 1e-5), (25, 5e-5), (math.inf, 1e-5))
"""(end epoch, learning rate) of trunk and branches, and of classifiers (config.py, AffectNet)."""


def ramp_up(epoch: float, beta: float) -> float:
    """w_u = exp(-5 (1 - e / beta)^2) for e <= beta, then 1: the weight of the target branch in a 0-based epoch e."""
    return math.exp(-5 * (1 - epoch / beta) ** 2) if epoch <= beta else 1.0


def ramp_down(epoch: float, beta: float) -> float:
    """w_d = 1 for e < beta, then exp(-(1 - beta / e)^2): the weight of the auxiliary branches."""
    return 1.0 if epoch < beta else math.exp(-((1 - beta / epoch) ** 2))


def staircase_rate(table: Sequence[tuple[float, float]], epoch: int) -> float:
    """The learning rate of a 0-based epoch."""
    return next(rate for end, rate in table if epoch < end)


def batch_is_complete(labels: Tensor, present: Tensor) -> bool:
    """Whether labels [B] hold two rows at least of every class that is ``present`` (bool [C])."""
    counts = torch.bincount(labels, minlength=len(present))
    return bool((counts[present] >= 2).all())


def branch_rows(labels: Tensor, c: int) -> tuple[Tensor, Tensor]:
    """Positions int64 of the labels [B] that branch c trains on, y != c, and of those it describes, y == c."""
    own = labels == c
    return torch.nonzero(~own).squeeze(1), torch.nonzero(own).squeeze(1)


def branch_labels(labels: Tensor, c: int) -> Tensor:
    """Labels without class c as 0 .. C - 2: y if y < c, y - 1 otherwise."""
    return labels - (labels > c).to(labels.dtype)


def latent_distribution(logits: Tensor, c: int, temperature: float) -> Tensor:
    """Soft labels [n, C] of n faces of class c from branch c's logits [n, C - 1]: 0 at c, no gradient.

    p^(1/T), normalised, of p = softmax(logits): softmax(logits / T). T > 1 flattens.
    """
    q = F.softmax(logits.detach() / temperature, dim=1)
    return torch.cat([q[:, :c], torch.zeros_like(q[:, :1]), q[:, c:]], dim=1)


def soft_label_loss(logits: Tensor, soft: Tensor, labels: Tensor) -> Tensor:
    """L_soft: mean over B * C of (softmax(z) without the label's entry - soft label)^2, a scalar; not renormalised."""
    others = 1 - F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (F.softmax(logits, dim=1) * others - soft).square().mean()


def class_similarity(features: Tensor, labels: Tensor, num_classes: int, official: bool = False) -> Tensor:
    """[B, C]: mean cosine similarity of each face to each class of the batch (itself included), scaled to 0 .. 1.

    Features are [B, D]. A row whose classes are all equally similar is 0 (officially 0 / 0); so is the column of a
    class that the batch lacks, which takes no part in the scaling.
    """
    v = F.normalize(features, dim=1, eps=1e-12)
    one_hot = F.one_hot(labels, num_classes).to(v.dtype)
    counts = one_hot.sum(dim=0)
    mean = v @ v.T @ one_hot / counts.clamp(min=1)
    absent = counts == 0
    low = mean.masked_fill(absent, math.inf).min(dim=1, keepdim=True).values
    span = mean.masked_fill(absent, -math.inf).max(dim=1, keepdim=True).values - low
    if official:
        return (mean - low) / span
    defined = (span >= 1e-12) & ~absent
    return torch.where(defined, (mean - low) / torch.where(span >= 1e-12, span, 1.0), 0.0)


def gram(x: Tensor) -> Tensor:
    """x x^T of rows [n, D], each row of the result [n, n] divided by its length."""
    return F.normalize(x @ x.T, dim=1, eps=1e-12)


def similarity_loss(target: Tensor, branch: Tensor) -> Tensor:
    """Mean squared difference of the two Gram matrices of the same n faces: a scalar of [n, D] and [n, D']."""
    return (gram(branch) - gram(target)).square().mean()


class Certainty(nn.Module):
    """The score in (0, 1), [B, 1], of scaled similarities to the classes [B, C] and labels [B]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.project = nn.Sequential(
            nn.Linear(2 * num_classes, num_classes), nn.PReLU(), nn.Linear(num_classes, 1)
        )  # fmt: skip

    def forward(self, similarity: Tensor, labels: Tensor) -> Tensor:
        own = F.one_hot(labels, self.num_classes).to(similarity.dtype)
        return torch.sigmoid(self.project(torch.cat([similarity, own], dim=1)))


class Dmue(Method):
    info = Info(
        name="DMUE",
        title="Dive into Ambiguity: Latent Distribution Mining and Pairwise Uncertainty Estimation for Facial "
        "Expression Recognition",
        authors="Jiahui She, Yibo Hu, Hailin Shi, Jun Wang, Qiu Shen, Tao Mei",
        venue="CVPR",
        year=2021,
        idea="Each class has an auxiliary branch that is never trained on it. This branch says how the faces of the "
        "class spread over the other classes; the target branch learns from these soft labels. A certainty score "
        "multiplies the logits of each face.",
        kind="label noise",
        family="faces",
        scaling="beta is a share of the epochs. A batch needs two faces of each class; 9 per class is a good size. The "
        "similarity loss is a mean over pairs of unit rows and falls as 1 / B, so gamma is for batches of about 64. "
        "The soft-label loss is a mean over the classes and falls as 1 / C. head_lr_factor is for the small rate of a "
        "pre-trained trunk. If the layers of the score are trained (train_uncertainty=true), they see the label and "
        "learn to switch whole classes off. In the trials of the sweep tune-quick at symmetric noise of 0.4 (one seed, "
        "test set), the two with learning rates of 0.008 and more, and with a large gamma, reach 39 and 42 %, "
        "cross-entropy 66 and 69 %, and the seven with rates from 0.001 to 0.005 62 to 67 %.",
        arxiv="2104.00232",
        code="github.com/JDAI-CV/FaceX-Zoo @ 16b793a",
        deviations=(
            "The similarity loss compares features without dropout. Officially each side has its own dropout, and the "
            "loss penalises their difference (similarity_dropout=true).",
            "gamma is 100; officially 1000. That value was chosen for AffectNet, for logits, and for a training that "
            "is in evaluation mode from step 200 of each epoch on, because the official test does not switch back. "
            "Epochs of RAF-DB are too short for this (official_eval_mode=true).",
            "Both sides of the similarity loss are features, as in the paper's figure. Officially the auxiliary side "
            "is logits, for which gamma was chosen (sp_source='logits').",
            "A batch with fewer than two faces of a class is drawn again; officially it is skipped (redraw=false). A "
            "short last batch is left out.",
            "If a face is equally similar to all classes, its similarities are set to 0. Officially 0 / 0 makes the "
            "loss NaN.",
            "One ramp ends and the other begins after a sixth of the epochs, officially after 6 of 36. A batch need "
            "not contain a class without training images.",
            "Batch norm sees the target branch, then each auxiliary branch with the faces that it describes. "
            "Officially it sees all auxiliary branches, the target, then all described faces. No effect was measured.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; classifiers have ten "
            "times the rate (lr_schedule='official' is the table for AffectNet).",
            "Classes are drawn equally often for every data set, so DMUE is partly a method against imbalance.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        temperature: float = hparam(1.2, "T of the latent distributions; above 1 flattens", "official config.py")
        omega: float = hparam(0.5, "weight of the soft labels", "official config.py")
        gamma: float = hparam(
            100.0, "weight of the similarity loss", "project default; official config.py: 1000, with logits"
        )
        beta: float = hparam(
            1 / 6,
            "share of the epochs after which the target branch has its full weight and the auxiliary ones begin to "
            "lose theirs; one epoch at least",
            "official config.py: 6 of 36 epochs on AffectNet",
        )
        dropout: float = hparam(0.5, "dropout on the pooled features", "official config.py")
        neck: Literal["shared", "separate", "off"] = hparam(
            "shared",
            "batch norm between features and classifiers: one for all branches, one each, or none",
            "official make_model.py; off for ResNet-50-IBN",
        )
        sp_source: Literal["features", "logits"] = hparam(
            "features",
            "what the auxiliary side of the similarity loss is made of; the target side is features",
            "paper's figure; official make_model.py: logits",
        )
        similarity_dropout: bool = hparam(
            False, "True: the features that the similarity loss compares carry dropout", "official make_model.py: true"
        )
        official_eval_mode: bool = hparam(
            False,
            f"True: from step {TEST_EVERY} of each epoch on, networks train in evaluation mode, without dropout and "
            "with fixed batch-norm statistics",
            "official train.py: true",
        )
        train_uncertainty: bool = hparam(
            False,
            "True: the score's layers and the batch norm before the classifiers are trained, at the recipe's rate",
            "official train.py: the optimizer leaves them out",
        )
        sampler: Literal["balanced", "natural"] = hparam(
            "balanced", "'balanced' draws each class equally often, with replacement", "official: weights 1 / n_class"
        )
        redraw: bool = hparam(
            True,
            "a balanced batch that lacks two faces of a class is drawn again, so that the batches trained on are "
            "distributed as officially and no step is lost; False skips it",
            "project default; official train.py skips",
        )
        max_skipped: float = hparam(
            0.2, "an epoch that skips more than this share of its batches is an error", "project default"
        )
        head_lr_factor: float = hparam(
            10.0, "learning rate of the classifiers, as a multiple of the recipe's", "official config.py: 1e-3 to 1e-4"
        )
        lr_schedule: Literal["recipe", "official"] = hparam(
            "recipe", "'official': the two tables for the 36 epochs of AffectNet", "official config.py"
        )

        def __post_init__(self) -> None:
            require_positive("temperature", self.temperature)
            require_positive("head_lr_factor", self.head_lr_factor)
            for name in ("omega", "gamma"):
                require_range(name, getattr(self, name), low=0)
            for name in ("dropout", "max_skipped", "beta"):
                require_range(name, getattr(self, name), 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.beta = max(1.0, config.beta * task.epochs)
        self.register_buffer("present", task.class_counts > 0, persistent=False)
        self.steps_in_epoch = self.skipped_in_epoch = 0
        self.said = False
        needed = 2 * int(self.present.sum())
        if min(task.batch_size, task.num_samples) < needed:
            raise ValueError(
                f"DMUE needs two faces of each class in a batch: at least {needed} here; the batch size is "
                f"{task.batch_size}, the training set has {task.num_samples}"
            )

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        classifier = pooled_linear_classifier(self.net)
        parts = [layers for _, layers in resolution_stages(self.net)]
        if len(parts) < 2:
            raise ValueError(f"DMUE needs a network of two stages or more; {type(self.net).__name__} has {len(parts)}")
        # In a tuple, so that the network's own layers are not registered a second time.
        self._shared = (nn.Sequential(*parts[:-1]), parts[-1])
        classes, width = self.task.num_classes, classifier.in_features
        self.branches = nn.ModuleList(copy.deepcopy(parts[-1]) for _ in range(classes))
        self.heads = nn.ModuleList(nn.Linear(width, classes - 1, bias=False) for _ in range(classes))
        self.certainty = Certainty(classes)
        necks = {"shared": 1, "separate": classes + 1, "off": 0}[self.config.neck]
        self.necks = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(necks))
        for neck in self.necks:
            neck.bias.requires_grad_(False)
        # Classifiers have no bias and start near 0 (make_model.py).
        with torch.no_grad():
            if classifier.bias is not None:
                classifier.bias.zero_().requires_grad_(False)
            for layer in (classifier, *self.heads):
                layer.weight.normal_(std=0.001)

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        weight = self.net.get_classifier().weight
        heads = [weight, *self.heads.parameters()]
        base = [p for p in (*self.net.parameters(), *self.branches.parameters()) if p.requires_grad and p is not weight]
        groups = [{"params": base}, {"params": heads}]
        if self.config.train_uncertainty:
            # Not in the classifiers' group: at their rate the score soon learns to switch whole classes off.
            groups.append({"params": [*self.certainty.parameters(), *(neck.weight for neck in self.necks)]})
        optimizer = make_optimizer(groups)
        optimizer.param_groups[1]["lr"] *= self.config.head_lr_factor
        return {"main": optimizer}

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.config.sampler == "natural":
            return None
        return balanced_rows(labels, self.task.batch_size, 2 if self.config.redraw else 0, generator)

    def on_epoch_start(self, run: Run) -> None:
        self.steps_in_epoch = self.skipped_in_epoch = 0
        if self.config.lr_schedule == "official":
            # The third group is not trained officially; it gets the rate of the trunk.
            tables = (BASE_RATES, HEAD_RATES, BASE_RATES)
            for group, table in zip(run.optimizers["main"].param_groups, tables, strict=False):
                group["lr"] = staircase_rate(table, run.epoch)

    def on_epoch_end(self, run: Run) -> None:
        if self.skipped_in_epoch > self.config.max_skipped * self.steps_in_epoch:
            raise RuntimeError(
                f"DMUE skipped {self.skipped_in_epoch} of {self.steps_in_epoch} batches of epoch {run.epoch + 1}, "
                "which lacked two faces of some class: take larger batches, sampler='balanced' and redraw=true, or "
                "raise max_skipped"
            )

    def neck(self, branch: int, pooled: Tensor) -> Tensor:
        """Pooled features [n, D] after the batch norm of a branch; branch -1 is the target."""
        return self.necks[branch if len(self.necks) > 1 else 0](pooled) if len(self.necks) else pooled

    def drop(self, pooled: Tensor) -> Tensor:
        return F.dropout(pooled, self.config.dropout, self.training)

    def compared(self, branch: int, pooled: Tensor, features: Tensor) -> Tensor:
        """What the similarity loss compares: the ``features`` of a branch, computed without dropout."""
        dropped = self.training and self.config.dropout > 0
        return self.neck(branch, pooled) if dropped and not self.config.similarity_dropout else features

    def objective(
        self,
        target: Tensor,
        others: Sequence[Tensor],
        own: Sequence[Tensor],
        labels: Tensor,
        epoch: float,
        official: bool = False,
    ) -> dict[str, Any]:
        """The loss and its parts from pooled features.

        ``target`` [B, D] are those of the target branch; ``others[c]`` and ``own[c]`` those of branch c for the rows
        whose label is not c, and is c. ``official`` allows 0 / 0 in the scaling of similarities.
        """
        c, classes = self.config, self.task.num_classes
        u = self.neck(-1, self.drop(target))
        z = self.net.get_classifier()(u).float()
        u = self.compared(-1, target, u).float()
        soft = torch.zeros_like(z)
        aux, preserved = [], []
        for branch in range(classes):
            rows, mine = branch_rows(labels, branch)
            if len(rows):
                features = self.neck(branch, self.drop(others[branch]))
                logits = self.heads[branch](features).float()
                aux.append(F.cross_entropy(logits, branch_labels(labels[rows], branch)))
                side = self.compared(branch, others[branch], features)
                side = (self.heads[branch](side) if c.sp_source == "logits" else side).float()
                preserved.append(similarity_loss(u[rows], side))
            if len(mine):
                with torch.no_grad():  # no dropout here
                    logits = self.heads[branch](self.neck(branch, own[branch])).float()
                soft[mine] = latent_distribution(logits, branch, c.temperature)
        similarity = class_similarity(target.float(), labels, classes, official)
        score = self.certainty(similarity, labels).float()
        l_wce = F.cross_entropy(score * z, labels)
        l_soft = soft_label_loss(z, soft, labels)
        l_aux, l_sp = torch.stack(aux).mean(), torch.stack(preserved).mean()
        w_up, w_down = ramp_up(epoch, self.beta), ramp_down(epoch, self.beta)
        return {
            "loss": w_up * (l_wce + c.omega * l_soft + c.gamma * l_sp) + w_down * l_aux,
            "weighted_ce": l_wce,
            "soft_label": l_soft,
            "similarity": l_sp,
            "auxiliary": l_aux,
            "auxiliary_each": aux,
            "scaled_similarity": similarity,
            "score": score,
            "logits": z,
            "soft": soft,
        }

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        labels = batch.label
        self.steps_in_epoch += 1
        if not batch_is_complete(labels, self.present):
            self.skipped_in_epoch += 1
            if not self.said:
                self.said = True
                warnings.warn(
                    f"DMUE: a batch of {len(labels)} lacks two faces of some class and is skipped (said once; the "
                    "number of skipped steps is in the results)",
                    stacklevel=2,
                )
            return {}
        trunk, last = self._shared
        shared = trunk(batch.view("weak"))
        others, own = [], []
        for branch, layers in enumerate(self.branches):
            rows, mine = branch_rows(labels, branch)
            others.append(layers(shared[rows]).mean(dim=(2, 3)) if len(rows) else shared.new_empty(0))
            with torch.no_grad():
                own.append(layers(shared[mine]).mean(dim=(2, 3)) if len(mine) else shared.new_empty(0))
        found = self.objective(last(shared).mean(dim=(2, 3)), others, own, labels, run.epoch)
        run.minimize(found["loss"])
        if self.config.official_eval_mode and (run.step + 1) % TEST_EVERY == 0:
            self.eval()  # until the next epoch
        names = ("loss", "weighted_ce", "soft_label", "similarity", "auxiliary")
        return {name: found[name].detach() for name in names} | {"score": found["score"].detach().mean()}

    def predict(self, images: Tensor) -> Tensor:
        """The target branch alone. The score is positive, so it would not change the predicted class."""
        return self.net.get_classifier()(self.neck(-1, self.net.forward_features(images).mean(dim=(2, 3))))
