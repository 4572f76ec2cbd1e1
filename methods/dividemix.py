"""DivideMix: learning with noisy labels as semi-supervised learning.

J. Li, R. Socher, S. C. H. Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning". ICLR 2020,
arXiv 2002.07394. Code: github.com/LiJunnan1992/DivideMix @ d9d3058 (Train_cifar.py, Train_clothing1M.py).

1. Before each epoch, a mixture of two Gaussians is fitted to the losses of each of two networks. The probability of the
   component with the smaller losses is the probability that a label is clean.
2. Each network trains on the division of the other network. Probably clean faces keep their label, which is refined by
   the prediction of the network. The other faces get a label that both networks guess.
3. MixMatch trains on both kinds together (two views, sharpened targets, mixup).
4. A penalty keeps the mean prediction near the class prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    GaussianPair,
    draw_mix,
    evaluating,
    integer_seed,
    require_positive,
    require_range,
    sharpen,
    two_gaussians,
)

NAMES = ("a", "b")
FROM_RANDOM, FROM_PRETRAINED = 0.15, 0.05
"""Shares of the epochs of the warm-up."""
ROUNDS, TOLERANCE, FLOOR = 10, 1e-2, 5e-4
"""Of the mixture: most rounds, change of the likelihood that ends the fit, and a constant added to variances."""
FEW = 10
"""With mixture='per-class', a class of fewer faces is not divided."""


def normalised(losses: Tensor) -> Tensor:
    """(l - min) / (max - min) of losses [N]."""
    return (losses - losses.min()) / (losses.max() - losses.min())


def loss_mixture(losses: Tensor, random_state: int) -> GaussianPair:
    """The mixture on normalised losses [N]: few rounds from 2-means, often not converged (Train_cifar.py)."""
    return two_gaussians(losses, random_state, ROUNDS, TOLERANCE, FLOOR)


def clean_probability(losses: Tensor, random_state: int) -> Tensor | None:
    """float64 [N]: the posterior of the component of small losses; None where losses [N] cannot be divided.

    They cannot if there are fewer than two, or if they are all equal or not finite.
    """
    if len(losses) < 2 or not bool(losses.isfinite().all()) or bool(losses.max() == losses.min()):
        return None
    return loss_mixture(losses, random_state).posterior(losses)[:, 0]


def refined(labels: Tensor, w: Tensor, p: Tensor, temperature: float) -> Tensor:
    """Targets [n, C] of labelled faces: w Y + (1 - w) p, sharpened; labels [n], clean probabilities w [n], p [n, C]."""
    one_hot = F.one_hot(labels, p.shape[1]).to(p.dtype)
    w = w[:, None].to(p.dtype)
    return sharpen(w * one_hot + (1 - w) * p, temperature)


def guessed(p_own: Tensor, p_peer: Tensor, temperature: float) -> Tensor:
    """Targets [n, C] of unlabelled faces: the mean prediction of both networks, sharpened."""
    return sharpen((p_own + p_peer) / 2, temperature)


def prior_penalty(logits: Tensor, prior: Tensor) -> Tensor:
    """sum_k pi_k ln(pi_k / mean_i p_ik), a scalar, of logits [n, C] and class shares [C]: 0 where both agree."""
    mean = F.softmax(logits, dim=1).mean(dim=0)
    mean = mean.clamp(min=torch.finfo(mean.dtype).tiny)
    return (torch.special.xlogy(prior, prior) - prior * mean.log()).sum()


def confidence_penalty(logits: Tensor) -> Tensor:
    """Mean of sum_k p ln p, minus the entropy, a scalar."""
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * log_p).sum(dim=1).mean()


def mixmatch_losses(logits: Tensor, targets: Tensor, labelled: int) -> tuple[Tensor, Tensor]:
    """(L_x, L_u), scalars, of logits and mixed targets [n, C] whose first ``labelled`` rows are of labelled faces.

    L_x is the cross-entropy of the labelled rows; L_u the mean over the other rows and all classes of the squared
    difference of softmax and target, 0 if there is no such row. The number of rows does not weigh the losses.
    """
    cross_entropy = F.cross_entropy(logits[:labelled], targets[:labelled])
    if labelled == len(logits):
        return cross_entropy, torch.zeros_like(cross_entropy)
    return cross_entropy, F.mse_loss(F.softmax(logits[labelled:], dim=1), targets[labelled:])


def ramp(epoch: float, start: float, length: float) -> float:
    """Factor on lambda_u at a fractional epoch: from 0 at ``start`` to 1 at ``start`` + ``length``."""
    return min(max((epoch - start) / length, 0.0), 1.0)


def softmax(logits: Tensor) -> Tensor:
    """Probabilities in float32 at least."""
    return F.softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def mean_probability(net: nn.Module, views: tuple[Tensor, Tensor], training: bool = False) -> Tensor:
    """Mean softmax [B, C] of two views, without gradient, in evaluation mode or (``training``) as the network is."""
    with torch.no_grad() if training else evaluating(net):
        return (softmax(net(views[0])) + softmax(net(views[1]))) / 2


class Dividemix(Method):
    info = Info(
        name="DivideMix",
        title="DivideMix: Learning with Noisy Labels as Semi-supervised Learning",
        authors="Junnan Li, Richard Socher, Steven C. H. Hoi",
        venue="ICLR",
        year=2020,
        idea="Two networks are trained. For each of them, a mixture of two Gaussians on the losses of the other "
        "network divides the faces into labelled and unlabelled ones. MixMatch trains on both parts: the first with "
        "refined labels, the second with labels that both networks guess.",
        kind="label noise",
        family="semi-supervised",
        scaling="The warm-up is 0.15 of the epochs from random weights and 0.05 from pre-trained weights; the ramp is "
        "0.05. Each lasts at least one epoch. lambda_u = 25 multiplies a mean of squared differences over the classes,"
        " which is small at first. A mixture needs some hundred faces; 'per-class' does not divide a class of fewer "
        "than 10 faces. On drawn faces (658 steps, three seeds, reference sweep reference-grid) it reaches 77 % with "
        "symmetric noise of 0.4, where cross-entropy has 70 % on the test set: there it divides the faces well (AUROC "
        "of 96). With clean labels it reaches 63 %, where cross-entropy has 86 %. Why was not measured.",
        arxiv="2002.07394",
        code="github.com/LiJunnan1992/DivideMix @ d9d3058",
        deviations=(
            "Labelled and unlabelled faces are parts of the same shuffled batch, and each face is used once in an "
            "epoch. Officially a step takes 64 of each part, and an epoch ends when all labelled faces were used.",
            "Both networks are trained in every step. Officially they are trained in turn, each for a whole epoch.",
            "Labels are guessed in evaluation mode, once for both networks. Officially each network guesses in "
            "training mode (guess='training').",
            "The settings are the same for all noise. Officially they depend on the noise that the script is told: it "
            "averages the losses of five epochs at a noise rate of 0.9, uses the confidence penalty for asymmetric "
            "noise, and has its own lambda_u for each noise.",
            "The warm-up lasts 15 % of the epochs from random weights and 5 % from pre-trained weights. Officially it "
            "lasts 10 of 300 epochs, and 1 of 80 from pre-trained weights. The ramp lasts 5 %; officially 16 of 300 "
            "epochs.",
            "A division must give at least two labelled faces per class on average, and 1 % of all faces. Otherwise "
            "the previous division is kept. Officially an empty part stops the training.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method.",
            "One mixture serves all classes, as officially. Rare classes have larger losses, so correct labels of rare "
            "classes are lost (mixture='per-class' fits one mixture per class).",
        ),
        ensemble="mean of two networks",
    )

    @dataclass(frozen=True)
    class Config:
        alpha: float = hparam(4.0, "shape of mixup's Beta distribution", "official Train_cifar.py")
        temperature: float = hparam(0.5, "sharpening temperature T of the targets", "official Train_cifar.py")
        threshold: float = hparam(
            0.5, "clean probability tau above which a face is labelled", "official Train_cifar.py"
        )
        lambda_u: float = hparam(
            25.0, "weight of the loss of unlabelled faces; the scripts for real noise have 0", "official Train_cifar.py"
        )
        warmup: float | None = hparam(
            None,
            "share of the epochs with plain cross-entropy, at least one epoch (none = 0.15 from random weights, 0.05 "
            "from pre-trained ones)",
            "project default; official: 10 of 300, 1 of 80 epochs",
        )
        ramp: float = hparam(
            0.05, "share of the epochs in which lambda_u grows, at least one epoch", "official: 16 of 300 epochs"
        )
        prior: Literal["uniform", "observed", "none"] = hparam(
            "uniform", "class shares that the mean prediction is held to; 'observed' = of the labels", "official"
        )
        mixture: Literal["all", "per-class"] = hparam(
            "all", "one mixture for all losses, or one for each class of labels", "official: one"
        )
        average: int = hparam(
            1, "divisions whose normalised losses are averaged", "official Train_cifar.py: 5 at a noise rate of 0.9"
        )
        train_unlabelled: bool = hparam(
            True,
            "False: unlabelled faces are only mixed into labelled ones (lambda_u plays no part)",
            "official Train_cifar.py; False in Train_clothing1M.py",
        )
        confidence_penalty: bool = hparam(
            False, "True: a penalty on confident predictions in the warm-up", "official: for asymmetric noise"
        )
        guess: Literal["evaluation", "training"] = hparam(
            "evaluation",
            "mode of a network that guesses for itself; in 'training' its batch-norm statistics move",
            "project default; official: training",
        )

        def __post_init__(self) -> None:
            for name in ("alpha", "lambda_u"):
                require_range(name, getattr(self, name), low=0)
            for name in ("threshold", "ramp"):
                require_range(name, getattr(self, name), 0, 1)
            if self.warmup is not None:
                require_range("warmup", self.warmup, 0, 1)
            require_positive("temperature", self.temperature)
            require_range("average", self.average, low=1)

        def warmup_share(self, pretrained: bool) -> float:
            """The share of the epochs of the warm-up, with None resolved."""
            if self.warmup is not None:
                return self.warmup
            return FROM_PRETRAINED if pretrained else FROM_RANDOM

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.warmup_epochs = max(1, round(config.warmup_share(task.pretrained) * task.epochs))
        self.ramp_epochs = max(1.0, config.ramp * task.epochs)
        shares = task.class_counts / task.class_counts.sum()
        prior = shares if config.prior == "observed" else torch.full_like(shares, 1 / task.num_classes)
        self.register_buffer("prior", prior, persistent=False)
        for name in NAMES:
            self.sample_buffer(f"clean_{name}", 1.0, dtype=torch.float32)
            self.sample_buffer(f"history_{name}", float("nan"), (config.average,), dtype=torch.float32)
        self.register_buffer("divided", torch.tensor(False))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # After the warm-up both networks divide (2), guess for two views (4, or 8) and train on them (4).
        after = 10.0 if config.guess == "evaluation" else 14.0
        share = config.warmup_share(pretrained=False)
        return Needs(views=("weak", "second", "plain"), networks=2, forwards=2 * share + after * (1 - share))

    def build(self, make_net: MakeNet) -> None:
        self.nets = nn.ModuleDict({name: make_net(name) for name in NAMES})

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {name: make_optimizer(net.parameters()) for name, net in self.nets.items()}

    def on_epoch_start(self, run: Run) -> None:
        """After the warm-up, divides the training set by the losses of both networks."""
        if run.epoch < self.warmup_epochs:
            return
        losses = torch.empty(2, self.task.num_samples, device=run.device)
        labels = torch.empty(self.task.num_samples, dtype=torch.int64, device=run.device)
        with evaluating(self.nets):
            for batch in run.training_set():
                labels[batch.index] = batch.label
                for row, net in zip(losses, self.nets.values(), strict=True):
                    logits = net(batch.view("plain")).float()
                    row[batch.index] = F.cross_entropy(logits, batch.label, reduction="none")
        for name, row in zip(NAMES, losses, strict=True):
            self.divide(name, row, labels, integer_seed(run.generator(f"mixture {name}")))

    def divide(self, name: str, losses: Tensor, labels: Tensor, random_state: int) -> None:
        """Updates the clean probabilities of network ``name`` from its losses [N], unless too few faces are clean."""
        history = self.get_buffer(f"history_{name}")
        history.copy_(torch.cat([history[:, 1:], normalised(losses)[:, None]], dim=1))
        found = self.probabilities(history.nanmean(dim=1).cpu(), labels.cpu(), random_state)
        least = max(2 * self.task.num_classes, 0.01 * len(losses))
        if found is not None and int((found > self.config.threshold).sum()) >= least:
            self.get_buffer(f"clean_{name}").copy_(found)
            self.divided.fill_(True)

    def probabilities(self, losses: Tensor, labels: Tensor, random_state: int) -> Tensor | None:
        """Clean probabilities [N] of losses [N] by one mixture, or by one per class on its normalised losses."""
        if self.config.mixture == "all":
            return clean_probability(losses, random_state)
        found = torch.ones(len(losses), dtype=torch.float64)
        for c in labels.unique():
            rows = (labels == c).nonzero().squeeze(1)
            of_class = clean_probability(normalised(losses[rows]), random_state) if len(rows) >= FEW else None
            if of_class is not None:
                found[rows] = of_class
        return found

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        if run.epoch < self.warmup_epochs:
            return self.warm_up(batch, run)
        views = (batch.view("weak"), batch.view("second"))
        p: dict[str, Tensor] = {}
        log: dict[str, Tensor | float] = {}
        for own, peer in (NAMES, NAMES[::-1]):
            training = self.config.guess == "training"
            if training or not p:  # in evaluation mode both guess once, before a step of either
                p = {name: mean_probability(net, views, training and name == own) for name, net in self.nets.items()}
            w = self.get_buffer(f"clean_{peer}")[batch.index]
            if own == "a":
                run.record_selection(batch.index, w > self.config.threshold)
                log["labelled"] = (w > self.config.threshold).float().mean()
            parts = self.mixed_step(own, views, batch.label, w, (p[own], p[peer]), run)
            log |= {name if own == "a" else f"{name}_b": value for name, value in parts.items()}
        return log

    def warm_up(self, batch: Batch, run: Run) -> Mapping[str, Tensor]:
        """Cross-entropy with all labels, for both networks."""
        losses = {}
        for name, net in self.nets.items():
            logits = net(batch.view("weak")).float()
            loss = F.cross_entropy(logits, batch.label)
            if self.config.confidence_penalty:
                loss = loss + confidence_penalty(logits)
            run.minimize(loss, name)
            losses[name] = loss.detach()
        return {"loss": losses["a"], "loss_b": losses["b"]}

    def mixed_step(
        self, name: str, views: tuple[Tensor, Tensor], given: Tensor, w: Tensor, p: tuple[Tensor, Tensor], run: Run
    ) -> dict[str, Tensor]:
        """A step of network ``name`` by the division w [B] of the other; p are both networks' predictions, own first.

        Without a labelled face there is no step.
        """
        c = self.config
        labelled = w > c.threshold
        order = torch.cat([labelled.nonzero().squeeze(1), (~labelled).nonzero().squeeze(1)])
        count = int(labelled.sum())
        if count == 0:
            return {}
        x, u = order[:count], order[count:]
        targets = torch.cat([refined(given[x], w[x], p[0][x], c.temperature), guessed(p[0][u], p[1][u], c.temperature)])
        t_x, t_u = targets.split([count, len(u)])
        mix = draw_mix(2 * len(order), c.alpha, run.generator(f"mix {name}"), dominant=True)
        images = mix(torch.cat([views[0][x], views[1][x], views[0][u], views[1][u]]))
        mixed = mix(torch.cat([t_x, t_x, t_u, t_u]))
        rows = len(images) if c.train_unlabelled else 2 * count
        logits = self.nets[name](images[:rows]).float()
        now = run.epoch + run.step / run.steps
        parts = self.objective(logits, mixed[:rows], 2 * count, ramp(now, self.warmup_epochs, self.ramp_epochs))
        run.minimize(parts["loss"], name)
        return {part: value.detach() for part, value in parts.items()}

    def objective(self, logits: Tensor, targets: Tensor, labelled: int, share: float) -> dict[str, Tensor]:
        """L = L_x + share lambda_u L_u + L_pen and its parts, of the rows of :func:`mixmatch_losses`."""
        c = self.config
        l_x, l_u = mixmatch_losses(logits, targets, labelled)
        penalty = torch.zeros_like(l_x) if c.prior == "none" else prior_penalty(logits, self.prior.to(logits.dtype))
        loss = l_x + share * c.lambda_u * l_u + penalty
        return {"loss": loss, "labelled_loss": l_x, "unlabelled_loss": l_u, "penalty": penalty}

    def predict(self, images: Tensor) -> Tensor:
        return (self.nets["a"](images) + self.nets["b"](images)) / 2

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {f"net {name}": net(images) for name, net in self.nets.items()}

    def clean_score(self) -> Tensor | None:
        """The mean of both networks' clean probabilities in the last division; none before there is one."""
        return (self.clean_a + self.clean_b) / 2 if bool(self.divided) else None
