"""ELR+: early-learning regularisation with two networks, weight averages and mixup.

S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. "Early-Learning Regularization Prevents Memorization of Noisy
Labels". NeurIPS 2020, arXiv 2007.00151. Code: github.com/shengliu66/ELR @ 934af53 (ELR_plus/).

1. Each of two networks has a slow average of its weights.
2. The memory that regularises a network (see ELR) holds the predictions of the average of the OTHER network.
3. Images, labels and memories of a batch are mixed with those of a permutation of the batch (mixup).
4. The prediction is the mean of the logits of both networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    Mix,
    average_parameters,
    capped_momentum,
    copied,
    draw_mix,
    early_learning_term,
    label_share,
    require_positive,
    require_range,
)

NAMES = ("network 1", "network 2")


def sigmoid_ramp(current: float, length: float) -> float:
    """exp(-5 (1 - x)^2) with x = current / length kept within [0, 1]; 1 if the length is 0 (ELR_plus/utils/util.py)."""
    if length == 0:
        return 1.0
    return math.exp(-5 * (1 - min(max(current, 0), length) / length) ** 2)


def average_momentum(step: int, rule: str, momentum: float, ramp: float) -> float:
    """m of e <- m e + (1 - m) f after the 1-based ``step``; ``ramp`` is in steps (ELR_plus/trainer/trainer.py)."""
    return sigmoid_ramp(step + 1, ramp) * momentum if rule == "ramp" else capped_momentum(step, momentum)


class ElrPlus(Method):
    info = Info(
        name="ELR+",
        title="Early-Learning Regularization Prevents Memorization of Noisy Labels",
        authors="Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda",
        venue="NeurIPS",
        year=2020,
        idea="ELR with two networks. The memory of each network holds the predictions of the weight average of the "
        "other network. Images, labels and memories are mixed (mixup).",
        kind="label noise",
        family="early-learning",
        scaling="As in ELR, the memory covers about three epochs at beta = 0.7. The ramps are shares of all steps. A "
        "weight average covers 0.95 epochs, for any length of an epoch.",
        arxiv="2007.00151",
        code="github.com/shengliu66/ELR @ 934af53",
        ensemble="mean of two networks",
        deviations=(
            "Both networks are trained on each batch with the same pixels, the first before the second. Officially "
            "they are trained in turn for a whole epoch, each with its own order and augmentation.",
            "The weight averages start as copies of the networks. Officially they start from other random weights, "
            "which the ramp removes after one step.",
            "The average covers 0.95 epochs, and its ramp lasts half of all steps. These are the values of the "
            "official CIFAR-10 configuration, 0.997 and 40,000 steps, in units that fit any budget.",
            "The training follows the official code for one GPU. With two GPUs, the official code fills the memories "
            "from averages that are one epoch old, and tests one of the averages.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. The last epoch is "
            "tested; officially the best epoch on held-out noisy labels.",
            "The number of parameters includes the two averages, which are not trained.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        lam: float = hparam(3.0, "weight of the regulariser", "official CIFAR-10, Clothing1M and WebVision")
        beta: float = hparam(
            0.7, "share of the memory that one visit of a sample leaves", "official CIFAR-10, Clothing1M and WebVision"
        )
        alpha: float = hparam(
            1.0, "mixup draws its share from Beta(alpha, alpha); 0: no mixup", "official CIFAR and Clothing1M"
        )
        coefficient_ramp: float = hparam(
            0.0,
            "share of all steps over which lam grows to its value",
            "official CIFAR-10 (0.45 of all steps on CIFAR-100)",
        )
        average: Literal["ramp", "plain"] = hparam(
            "ramp",
            "how weight averages begin: 'ramp' follows the network closely at first, 'plain' is the mean of all steps",
            "official CIFAR ('plain' on Clothing1M and WebVision)",
        )
        average_ramp: float = hparam(
            0.5, "share of all steps over which average='ramp' slows down", "official 40,000 of 70,400 steps (CIFAR-10)"
        )
        horizon: float = hparam(
            0.95,
            "epochs over which a weight average reaches",
            "official 0.997, 333 of 352 steps of an epoch (CIFAR-10)",
        )
        label_target: Literal["mixed", "times-memory"] = hparam(
            "mixed",
            "'times-memory': the mixed label times the mixed memory, normalised",
            "official code for fewer than 100 classes (CIFAR-100: 'times-memory')",
        )
        warmup: float = hparam(
            0.0,
            "share of the epochs with plain cross-entropy, in which a memory holds the network's own answers",
            "official configurations",
        )

        def __post_init__(self) -> None:
            for name in ("lam", "alpha"):
                require_range(name, getattr(self, name), low=0)
            for name in ("beta", "coefficient_ramp", "average_ramp", "warmup"):
                require_range(name, getattr(self, name), low=0, high=1)
            require_positive("horizon", self.horizon)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(networks=2, forwards=4.0 - 2 * config.warmup)

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("memory", 0.0, (2, task.num_classes), dtype=torch.float32)

    def build(self, make_net: MakeNet) -> None:
        self.nets = nn.ModuleList([make_net(name) for name in NAMES])
        self.averages = nn.ModuleList([copied(net) for net in self.nets])

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {name: make_optimizer(net.parameters()) for name, net in zip(NAMES, self.nets, strict=True)}

    @torch.no_grad()
    def remember(self, k: int, answers: Tensor, index: Tensor) -> Tensor:
        """t <- beta t + (1 - beta) softmax(answers) for the memory of network k: the new t [B, C]."""
        self.memory[index, k] = self.config.beta * self.memory[index, k] + (1 - self.config.beta) * F.softmax(
            answers, 1
        )
        return self.memory[index, k]

    def objective(self, logits: Tensor, target: Tensor, memory: Tensor, weight: float) -> dict[str, Tensor]:
        """L = mean CE with the soft ``target`` + weight lam mean ln(1 - <q, c>), and its parts.

        ``logits`` [B, C] are of mixed images; ``target`` and ``memory`` q are mixed too.
        """
        if self.config.label_target == "times-memory":
            target = target * memory
            target = target / target.sum(dim=1, keepdim=True)
        ce = -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        regulariser = early_learning_term(logits, memory).mean()
        return {"loss": ce + weight * self.config.lam * regulariser, "ce": ce, "regulariser": regulariser}

    def parts(
        self, k: int, images: Tensor, labels: Tensor, index: Tensor, mix: Mix, weight: float
    ) -> dict[str, Tensor]:
        """The loss of network k and its parts. The other average sees the unmixed images, in training mode."""
        logits = self.nets[k](mix(images))
        with torch.no_grad():
            answers = self.averages[1 - k](images)
        target = F.one_hot(labels, self.task.num_classes).to(logits.dtype)
        return self.objective(logits, mix(target), mix(self.remember(k, answers, index)), weight)

    def warm_up_parts(self, k: int, images: Tensor, labels: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of network k. Its memory holds its own predictions."""
        logits = self.nets[k](images)
        self.remember(k, logits.detach(), index)
        return {"loss": F.cross_entropy(logits, labels)}

    def train_step(self, batch: Batch, run: Run) -> dict[str, Tensor]:
        c, images = self.config, batch.view("weak")
        logged: dict[str, Tensor] = {}
        warm_up = round(c.warmup * run.epochs)
        step = (run.epoch - warm_up) * run.steps + run.step + 1
        steps = (run.epochs - warm_up) * run.steps
        momentum = average_momentum(
            step, c.average, max(0.0, 1 - 1 / (c.horizon * run.steps)), round(c.average_ramp * steps)
        )
        for k, name in enumerate(NAMES):
            if run.epoch < warm_up:
                parts = self.warm_up_parts(k, images, batch.label, batch.index)
                run.minimize(parts["loss"], name)
            else:
                mix = draw_mix(len(batch), c.alpha, run.generator(f"mixup {name}"), dominant=True)
                weight = sigmoid_ramp(step, round(c.coefficient_ramp * steps))
                parts = self.parts(k, images, batch.label, batch.index, mix, weight)
                run.minimize(parts["loss"], name)
                average_parameters(self.averages[k], self.nets[k], momentum)
            logged |= {part if k == 0 else f"{part} of {name}": value.detach() for part, value in parts.items()}
        # the labels that agree with the memories: shows how many labels of each class are overruled
        run.record_selection(batch.index, self.memory[batch.index].sum(dim=1).argmax(dim=1) == batch.label)
        return logged

    def predict(self, images: Tensor) -> Tensor:
        return 0.5 * (self.nets[0](images) + self.nets[1](images))

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {
            **{name: net(images) for name, net in zip(NAMES, self.nets, strict=True)},
            "mean of the weight averages": 0.5 * (self.averages[0](images) + self.averages[1](images)),
        }

    def clean_score(self) -> Tensor:
        labels = self.task.labels.to(self.memory.device)
        return 0.5 * (label_share(self.memory[:, 0], labels) + label_share(self.memory[:, 1], labels))
