"""PES: progressive early stopping, without the semi-supervised part.

Y. Bai, E. Yang, B. Han, Y. Yang, J. Li, Y. Mao, G. Niu, T. Liu. "Understanding and Improving Early Stopping for
Learning with Noisy Labels". NeurIPS 2021, arXiv 2106.15853. Code: github.com/tmllab/2021_NeurIPS_PES @ ec5290d
(PES_cs.py).

Late layers memorise wrong labels sooner than early layers, so each part of the network is stopped at a different time.

1. warm_up: the whole network is trained by cross-entropy and stopped early.
2. refine_1: the last block and the classifier are reset and trained again. All other layers are frozen.
3. refine_2: the classifier is reset and trained again, for an even shorter time.
4. selected: training continues with the samples whose label the network predicts. They are selected before each epoch.
   As in the official run, the refined layers are not trained any more (late_training).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Stage, Task, hparam
from fer_bench.ops import evaluating, require_positive, require_range, resolution_stages, warm_up_share

PATH = {"refine_1": 7 * 352 * 1e-4, "refine_2": 5 * 352 * 1e-4}
"""Learning rate times steps of the official refinements on CIFAR-10: the distance that Adam can move a weight."""
HIGHEST_RATE = 0.01
WARM_UP, WARM_UP_STEPS, LONGEST_WARM_UP = 25 / 211, 300, 0.4
DROPPED = ("refine_1", "refine_2", "selected")
"""Stages that are left out, in this order, if there are fewer epochs than stages."""


def mean_probability(logits: Tensor, logits_second: Tensor) -> Tensor:
    """The mean of the softmaxes [B, C] of two views (common/tools.py, predict_softmax)."""
    return (F.softmax(logits, dim=1) + F.softmax(logits_second, dim=1)) / 2


def class_weights(counts: Tensor, cap: float | None = None) -> Tensor:
    """w_c = m / n_c, float32 [C], of the numbers n_c of selected samples and the mean m of those that are not 0.

    0 for a class without selected samples; 1 for all where nothing is selected. (PES_cs.py, update_trainloader.)
    """
    present = counts > 0
    if not present.any():
        return torch.ones(len(counts))
    weight = torch.where(present, counts[present].double().mean() / counts.clamp(min=1), 0.0)
    return (weight if cap is None else weight.clamp(max=cap)).float()


class Pes(Method):
    info = Info(
        name="PES",
        title="Understanding and Improving Early Stopping for Learning with Noisy Labels",
        authors="Yingbin Bai, Erkun Yang, Bo Han, Yanhua Yang, Jiatong Li, Yinian Mao, Gang Niu, Tongliang Liu",
        venue="NeurIPS",
        year=2021,
        idea="The training of the network is stopped early. Its last block and then its classifier are reset and "
        "trained again, each for a shorter time, on frozen earlier layers. Training continues with the faces whose "
        "label the network predicts.",
        kind="label noise",
        family="early-learning",
        scaling="The stages are shares of the training. From random weights, the first stage is extended to 300 steps, "
        "but at most to 0.4 of the training. The learning rates of the refinements depend on their number of steps, so "
        "that reset layers can learn in a short stage.",
        arxiv="2106.15853",
        code="github.com/tmllab/2021_NeurIPS_PES @ ec5290d",
        deviations=(
            "The semi-supervised second half (PES_semi.py) is left out. This is the official PES_cs.py, 'PES without "
            "semi'.",
            "The stages have the shares of the official 25, 7, 5 and 174 passes over the data. In the refinements, "
            "learning rate times steps is the official value: 1e-4 for one short epoch would leave reset layers random "
            "(refine_lr).",
            "From random weights, the first stage is extended to 300 steps, up to 0.4 of the training. After fewer "
            "steps the network predicts only some of the classes, and the others are never selected (warm_up).",
            "In pre-trained networks only the classifier is reset, as the authors do with ImageNet weights. A reset "
            "block would lose its pre-training (renew).",
            "The last stage has a new optimizer: its momentum and the recipe's schedule start again. Officially the "
            "first optimizer continues.",
            "An incomplete batch is used; officially it is dropped. If no face is selected, all faces are used; "
            "officially the run ends.",
            "With fewer than four epochs, refinements are left out, beginning with the first.",
            "The last epoch is tested; officially the best epoch on held-out noisy labels.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        warm_up: float | None = hparam(
            None,
            "share of the training of the first stage; None: 25 of 211 passes or, from random weights, what holds 300 "
            "steps, at most 0.4",
            "official 25 of 211 passes, 8,800 steps (CIFAR-10); the steps are ours",
        )
        refine_1: float = hparam(
            7 / 211, "share of the training of the first refinement; 0: none", "official 7 of 211 passes"
        )
        refine_2: float = hparam(
            5 / 211,
            "share of the training of the second refinement, which renew='head' has not; 0: none",
            "official 5 of 211 passes",
        )
        refine_lr: float | None = hparam(
            None,
            "Adam's rate in refinements; None: 0.25 (first) and 0.18 (second) over their steps, at most 0.01",
            "official 1e-4 for 2,464 and 1,760 steps (CIFAR-10)",
        )
        renew: Literal["auto", "block", "head"] = hparam(
            "auto",
            "what the first refinement renews: the last block and the classifier, or the classifier; 'auto': the block "
            "unless weights are pre-trained",
            "official PES_cs.py ('block'), PES_Clothing1M.py ('head')",
        )
        late_training: Literal["frozen", "all"] = hparam(
            "frozen",
            "whether the last stage trains the refined layers: the official optimizer does not hold them",
            "official PES_cs.py as it runs",
        )
        warm_up_schedule: Literal["constant", "recipe"] = hparam(
            "constant", "learning rate of the first stage", "official: constant until epoch 100 of 200"
        )
        weight_cap: float | None = hparam(
            None, "largest class weight in the last stage; 3 under imbalance", "official PES_cs.py (3 in PES_semi.py)"
        )

        def __post_init__(self) -> None:
            for name in ("refine_1", "refine_2"):
                require_range(name, getattr(self, name), low=0, high=1)
            together = (self.warm_up or LONGEST_WARM_UP) + self.refine_1 + self.refine_2
            require_range("warm_up + refine_1 + refine_2", together, high=1)
            for name in ("warm_up", "refine_lr", "weight_cap"):
                if getattr(self, name) is not None:
                    require_positive(name, getattr(self, name))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # of a short training; about 2.4 in a long one, which selects for longer
        return Needs(views=("weak", "second"), forwards=1.85)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        renewed = {
            "auto": "the last block and the classifier (of pre-trained networks: the classifier) are",
            "block": "the last block and the classifier are",
            "head": "the classifier is",
        }[config.renew]
        late = " and trained to the end" if config.late_training == "all" else ""
        return (f"{renewed} renewed after early stopping{late}",)

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("selected", True)
        self.sample_buffer("label_probability", float("nan"))
        self.register_buffer("class_weight", torch.ones(task.num_classes))

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        by_weights = "head" if self.task.pretrained else "block"
        self.renew = by_weights if self.config.renew == "auto" else self.config.renew
        # in a list: the block is a part of self.net, and its parameters have their names there
        self.block = [resolution_stages(self.net)[-1][1]] if self.renew == "block" else []

    def late_parts(self, stage: str) -> list[nn.Module]:
        """The parts that a refinement resets and trains; of another stage those that any refinement resets."""
        names = [stage] if stage.startswith("refine") else [each.name for each in self.stages()]
        block = self.block if "refine_1" in names else []
        head = [self.net.get_classifier()] if {"refine_1", "refine_2"} & set(names) else []
        return [*block, *head]

    @property
    def warm_up(self) -> float:
        """Share of the training of the first stage."""
        if self.config.warm_up is not None or self.task.pretrained:
            return self.config.warm_up or WARM_UP
        return warm_up_share(self.task, WARM_UP, WARM_UP_STEPS, LONGEST_WARM_UP)

    def stages(self) -> Sequence[Stage]:
        c = self.config
        shares = {
            "warm_up": self.warm_up,
            "refine_1": c.refine_1,
            "refine_2": c.refine_2 if self.renew == "block" else 0,
        }
        shares["selected"] = 1 - sum(shares.values())
        shares = {name: share for name, share in shares.items() if share > 1e-9}
        for name in DROPPED:
            if len(shares) > self.task.epochs:
                shares.pop(name, None)
        return [Stage(name, share / sum(shares.values())) for name, share in shares.items()]

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        late = {id(p) for part in self.late_parts(stage) for p in part.parameters()}
        for parameter in self.net.parameters():  # here, because a resumed run calls this too
            is_late = id(parameter) in late
            if stage.startswith("refine"):
                parameter.requires_grad_(is_late)
            else:
                parameter.requires_grad_(
                    not (is_late and stage == "selected" and self.config.late_training == "frozen")
                )
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        if stage.startswith("refine"):
            return {"main": torch.optim.Adam([{"params": trained, "follows_recipe": False}])}
        constant = stage == "warm_up" and self.config.warm_up_schedule == "constant"
        return {"main": make_optimizer([{"params": trained, "follows_recipe": not constant}])}

    def on_stage_start(self, stage: str, run: Run) -> None:
        if stage == "selected":
            self.select(run)
        elif stage.startswith("refine"):
            for module in self._renewed(stage):
                module.reset_parameters()

    def _renewed(self, stage: str) -> Iterator[Any]:
        for part in self.late_parts(stage):
            yield from (module for module in part.modules() if hasattr(module, "reset_parameters"))

    def on_epoch_start(self, run: Run) -> None:
        if run.stage.startswith("refine"):
            by_path = min(PATH[run.stage] / (run.steps * run.stage_epochs), HIGHEST_RATE)
            for group in run.optimizers["main"].param_groups:
                group["lr"] = by_path if self.config.refine_lr is None else self.config.refine_lr
        elif run.stage == "selected":
            run.record_selection(torch.arange(self.task.num_samples, device=run.device), self.selected)

    def on_epoch_end(self, run: Run) -> None:
        if run.stage == "selected" and run.stage_epoch + 1 < run.stage_epochs:
            self.select(run)

    def select(self, run: Run) -> None:
        """Selects the samples whose label is the largest entry of the mean prediction for two augmented views."""
        with evaluating(self.net):
            for batch in run.training_set():
                p = mean_probability(self.net(batch.view("weak")).float(), self.net(batch.view("second")).float())
                self.selected[batch.index] = p.argmax(dim=1) == batch.label
                self.label_probability[batch.index] = p.gather(1, batch.label[:, None]).squeeze(1)
        counts = torch.bincount(self.task.labels[self.selected.cpu()], minlength=self.task.num_classes)
        self.class_weight.copy_(class_weights(counts, self.config.weight_cap))

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        rows = self.selected.cpu().nonzero().squeeze(1)
        if len(rows) in (0, len(labels)):
            return None
        return rows[torch.randperm(len(rows), generator=generator)]

    def objective(self, logits: Tensor, labels: Tensor, stage: str) -> Tensor:
        """Cross-entropy of logits [B, C]; in the last stage sum w_y CE / sum w_y with the class weights."""
        return F.cross_entropy(logits, labels, weight=self.class_weight if stage == "selected" else None)

    def loss(self, batch: Batch, run: Run) -> Tensor:
        return self.objective(self.net(batch.view("weak")).float(), batch.label, run.stage)

    def clean_score(self) -> Tensor | None:
        return None if bool(self.label_probability.isnan().any()) else self.label_probability
