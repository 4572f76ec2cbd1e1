"""ELR: early-learning regularisation.

S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. "Early-Learning Regularization Prevents Memorization of Noisy
Labels". NeurIPS 2020, arXiv 2007.00151. Code: github.com/shengliu66/ELR @ 934af53 (ELR/model/loss.py).

1. A memory t_i of each sample is a running average of the network's own predictions for it.
2. The loss is cross-entropy plus lam times ln(1 - <t_i, p_i>), which rewards agreement with the memory.
3. If the label contradicts the memory, the gradients of both terms cancel, and the early prediction remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run, Task, hparam
from fer_bench.ops import clamped_softmax, early_learning_term, label_share, require_range


@torch.no_grad()
def remembered(memory: Tensor, logits: Tensor, beta: float) -> Tensor:
    """beta t + (1 - beta) a, [B, C], of memories t and predictions a, which are clamped and normalised softmaxes."""
    c = clamped_softmax(logits)
    return beta * memory + (1 - beta) * c / c.sum(dim=1, keepdim=True)


class Elr(Method):
    info = Info(
        name="ELR",
        title="Early-Learning Regularization Prevents Memorization of Noisy Labels",
        authors="Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda",
        venue="NeurIPS",
        year=2020,
        idea="Keeps a running average of the network's predictions for each face, and rewards agreement with it. If a "
        "label contradicts the average, the two gradients cancel, and the early prediction remains.",
        kind="label noise",
        family="early-learning",
        scaling="beta is the share of the average that remains after each visit, so the memory covers several epochs: "
        "about three with 0.7, about ten with 0.9. The latter is too slow for fewer than 40 epochs. The regulariser is "
        "a mean over the batch. The official lam is 3 for 10 classes and 7 for 100 classes.",
        arxiv="2007.00151",
        code="github.com/shengliu66/ELR @ 934af53",
        deviations=(
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. Officially it is SGD "
            "for 120 to 150 epochs; on CIFAR-10 with symmetric noise the learning rate restarts every 10 epochs.",
            "The whole training set is used, and the last epoch is tested. Officially a tenth is held out with its "
            "noisy labels, and the best epoch on it is tested.",
            "The official README calls a label suspicious if it is not the largest entry of the average. Here the "
            "score of a label is its share of the average: the same idea, with more than two values.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        lam: float = hparam(
            3.0,
            "weight of the regulariser; above 1 a memory without doubt overrules the label, right rare ones included",
            "official config_cifar10.json and ELR_plus Clothing1M, WebVision (1 asymmetric, 7 CIFAR-100)",
        )
        beta: float = hparam(
            0.7,
            "share of the memory that one visit of a sample leaves: of an epoch, whatever the budget",
            "official config_cifar10.json and ELR_plus Clothing1M, WebVision (0.9 elsewhere)",
        )

        def __post_init__(self) -> None:
            require_range("lam", self.lam, low=0)
            require_range("beta", self.beta, low=0, high=1)

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("memory", 0.0, (task.num_classes,), dtype=torch.float32)

    def objective(self, logits: Tensor, labels: Tensor, index: Tensor) -> dict[str, Tensor]:
        """L = mean CE + lam mean ln(1 - <t, c>) and its parts, of logits [B, C]; the memory is updated first."""
        self.memory[index] = remembered(self.memory[index], logits, self.config.beta)
        ce = F.cross_entropy(logits, labels)
        regulariser = early_learning_term(logits, self.memory[index]).mean()
        return {"loss": ce + self.config.lam * regulariser, "ce": ce, "regulariser": regulariser}

    def train_step(self, batch: Batch, run: Run) -> dict[str, Tensor]:
        parts = self.objective(self.net(batch.view("weak")).float(), batch.label, batch.index)
        run.minimize(parts["loss"])
        # the labels that agree with the memory: shows how many labels of each class are overruled
        run.record_selection(batch.index, self.memory[batch.index].argmax(dim=1) == batch.label)
        return {name: value.detach() for name, value in parts.items()}

    def clean_score(self) -> Tensor:
        return label_share(self.memory, self.task.labels.to(self.memory.device))
