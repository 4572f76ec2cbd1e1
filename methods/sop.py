"""SOP: sparse over-parameterisation of the label noise, and SOP+.

S. Liu, Z. Zhu, Q. Qu, C. You. "Robust Training under Label Noise by Over-parameterization". ICML 2022,
arXiv 2202.14026. Code: github.com/shengliu66/SOP @ 4d991ce (model/loss.py, trainer/trainer.py).

1. Each sample has parameters u and v: its label noise, u^2 at the label and -v^2 elsewhere, is added to the network's
   probabilities.
2. u and v start near 0 and are trained by plain gradient descent, so each visit multiplies them by a factor. They grow
   fast if the network contradicts the label again and again, and hardly in other cases.
3. The network does not have to memorise what the noise explains. Test images are predicted by the network alone.
4. SOP+ adds the consistency of two views, and a term that moves the mean prediction towards a prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, hparam
from fer_bench.ops import require_positive, require_range

EPS = 1e-4
OFFICIAL_BATCH = 128
LONG = 200
"""Fewest epochs that are enough for the official start and rates."""


def label_noise(u: Tensor, v: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(U, V), each [B, C] in [0, 1]: u^2 at the label, v^2 elsewhere, of u [B, 1] and v [B, C]. The noise is U - V.

    An entry above 1 gets no gradient and does not change.
    """
    one_hot = F.one_hot(labels, v.shape[1])
    return (u**2 * one_hot).clamp(0, 1), (v**2 * (1 - one_hot)).clamp(0, 1)


def noisy_prediction(logits: Tensor, u_part: Tensor, v_part: Tensor) -> Tensor:
    """h [B, C]: softmax plus noise, kept positive, normalised and clamped to [1e-4, 1]; V gets no gradient here."""
    q = (F.softmax(logits, dim=1) + u_part - v_part.detach()).clamp(min=EPS)
    return (q / q.sum(dim=1, keepdim=True)).clamp(EPS, 1)


def squared_error(logits: Tensor, labels: Tensor, u_part: Tensor, v_part: Tensor) -> Tensor:
    """mean_i sum_k (o + U - V - Y)^2 with the one-hot prediction o and label Y: a scalar without gradient to logits."""
    classes = logits.shape[1]
    residual = F.one_hot(logits.argmax(dim=1), classes) - F.one_hot(labels, classes)
    return (residual + u_part - v_part).square().sum(dim=1).mean()


def rate_for_arrival(std: float, visits: float) -> float:
    """The rate at which a v that starts at ``std`` and is always contradicted reaches 1 after ``visits``.

    A visit multiplies it by 1 + 4 rate / 128. The rate is clamped to 1 .. 30.
    """
    return min(max(OFFICIAL_BATCH * math.expm1(-math.log(std) / visits) / 4, 1.0), 30.0)


class Sop(Method):
    info = Info(
        name="SOP",
        title="Robust Training under Label Noise by Over-parameterization",
        authors="Sheng Liu, Zhihui Zhu, Qing Qu, Chong You",
        venue="ICML",
        year=2022,
        idea="Each face has its own parameters for the noise of its label, which is added to the network's "
        "probabilities. Plain gradient descent from near 0 keeps this noise sparse. The network need not memorise what "
        "the noise explains.",
        kind="label noise",
        family="early-learning",
        scaling="Below 200 epochs, the parameters of a face start larger, and their learning rates are chosen so that "
        "a wrong label can be removed within half of the training (arrival). The rates are per visit, for batches of "
        "128, and do not depend on the batch size. lam_b and lam_c multiply means.",
        arxiv="2202.14026",
        code="github.com/shengliu66/SOP @ 4d991ce",
        deviations=(
            "Below 200 epochs, u and v start with a standard deviation of 0.01 instead of 1e-8. They share one rate: a "
            "v that is contradicted in every visit reaches 1 after half of the training. With the official values "
            "nothing grows within 14 epochs (std, lr_u, lr_v, arrival).",
            "A visit moves u and v as far as in a batch of 128, for any batch size. Officially the faces of a short "
            "last batch move several times as far (step_size='official').",
            "u learns from both terms of the loss, as in the last official revision. In the first release it learns "
            "from cross-entropy alone (u_loss='ce').",
            "The second view of SOP+ has RandAugment and erasing. Officially it has AutoAugment's policy for CIFAR-10, "
            "crop, flip and cutout.",
            "The recipe sets the optimizer and the learning-rate schedule of the network. The last epoch is tested.",
            "The number of parameters includes u and v.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["sop", "sop_plus"] = hparam(
            "sop", "'sop', or 'sop_plus' with lam_c, lam_b and two views", "the paper's names"
        )
        std: float | None = hparam(
            None,
            "standard deviation of the initial u and v; None: 1e-8 from 200 epochs on, else 0.01",
            "official config_cifar100.json has 1e-8; 0.01 is ours",
        )
        lr_u: float | None = hparam(
            None,
            "rate of u, in batches of 128; None: 1 from 200 epochs on, else by arrival",
            "official config_cifar100.json has 1 (10 in a port for CIFAR-10)",
        )
        lr_v: float | None = hparam(
            None, "rate of v, as lr_u; None: 10 from 200 epochs on", "official config_cifar100.json has 10"
        )
        arrival: float = hparam(
            0.5, "share of the training after which an always contradicted v reaches 1 where rates are None", "ours"
        )
        step_size: Literal["per-visit", "official"] = hparam(
            "per-visit", "'official': divided by the size of the batch that a sample is in", "ours"
        )
        u_loss: Literal["both", "ce"] = hparam(
            "both", "what teaches u: both terms, or cross-entropy alone", "official model/loss.py @ 4d991ce"
        )
        lam_c: float = hparam(0.9, "SOP+: weight of the consistency of two views", "official config_cifar100.json")
        lam_b: float = hparam(0.1, "SOP+: weight of the pull towards the prior", "official config_cifar100.json")
        prior: Literal["uniform", "observed"] = hparam(
            "uniform", "SOP+: class shares that the mean prediction is pulled to", "official; 'observed' is ours"
        )
        second_view: Literal["strong", "second"] = hparam("strong", "SOP+: the second view", "ours, see deviations")

        def __post_init__(self) -> None:
            for name in ("std", "lr_u", "lr_v", "arrival"):
                if getattr(self, name) is not None:
                    require_positive(name, getattr(self, name))
            require_range("arrival", self.arrival, high=1)
            if self.std is not None:
                require_range("std", self.std, high=0.5)
            for name in ("lam_c", "lam_b"):
                require_range(name, getattr(self, name), low=0)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        if config.variant == "sop":
            return Needs()
        return Needs(views=("weak", config.second_view), forwards=2.0)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        if config.variant == "sop":
            return ()
        return (f"SOP+: two views, and a pull of the mean prediction to the {config.prior} class shares",)

    @property
    def std(self) -> float:
        """Standard deviation of the initial u and v."""
        if self.config.std is not None:
            return self.config.std
        return 1e-8 if self.task.epochs >= LONG else 0.01

    @property
    def rates(self) -> tuple[float, float]:
        """Rates of u and v, of a step in a batch of 128."""
        c, long = self.config, self.task.epochs >= LONG
        by_arrival = rate_for_arrival(self.std, c.arrival * self.task.epochs)
        rate_u = (1.0 if long else by_arrival) if c.lr_u is None else c.lr_u
        rate_v = (10.0 if long else by_arrival) if c.lr_v is None else c.lr_v
        return rate_u, rate_v

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        self.u = nn.Parameter(self.std * torch.randn(self.task.num_samples, 1))
        self.v = nn.Parameter(self.std * torch.randn(self.task.num_samples, self.task.num_classes))
        counts = self.task.class_counts.float()
        uniform = torch.full_like(counts, 1 / len(counts))
        self.register_buffer(
            "prior", uniform if self.config.prior == "uniform" else counts / counts.sum(), persistent=False
        )

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        # plain SGD at a constant rate: growth in proportion to u and v is what makes the noise sparse
        groups = [
            {"params": [parameter], "lr": rate, "follows_recipe": False}
            for parameter, rate in zip((self.u, self.v), self.rates, strict=True)
        ]
        return {"main": make_optimizer(self.net.parameters()), "noise": torch.optim.SGD(groups)}

    def objective(
        self, logits: Tensor, labels: Tensor, index: Tensor, second: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The loss of logits [B, C] of the first view, and of the second where there is one, and its parts."""
        c = self.config
        u_part, v_part = label_noise(self.u[index], self.v[index], labels)
        h = noisy_prediction(logits, u_part, v_part)
        ce = -h.gather(1, labels[:, None]).log().mean()
        square = squared_error(logits, labels, u_part if c.u_loss == "both" else u_part.detach(), v_part)
        parts = {"ce": ce, "square": square}
        loss = ce + square
        if c.variant == "sop_plus":
            parts["balance"] = -(self.prior * h.mean(dim=0).clamp(EPS, 1).log()).sum()
            loss = loss + c.lam_b * parts["balance"]
        if second is not None:
            target = F.log_softmax(logits.detach(), dim=1)
            gap = F.kl_div(F.log_softmax(second, dim=1), target, reduction="batchmean", log_target=True)
            parts["consistency"], loss = gap, loss + c.lam_c * gap
        return {"loss": loss, **parts}

    def train_step(self, batch: Batch, run: Run) -> dict[str, Tensor]:
        c, scale = self.config, len(batch) / OFFICIAL_BATCH
        for group, rate in zip(run.optimizers["noise"].param_groups, self.rates, strict=True):
            group["lr"] = rate * scale if c.step_size == "per-visit" else rate
        if c.variant == "sop":
            logits, second = self.net(batch.view("weak")).float(), None
        else:  # one pass: BatchNorm sees both views together, as officially
            both = torch.cat([batch.view("weak"), batch.view(c.second_view)])
            logits, second = self.net(both).float().chunk(2)
        parts = self.objective(logits, batch.label, batch.index, second)
        run.minimize(parts["loss"], "main", "noise")
        u_part, v_part = label_noise(self.u.detach()[batch.index], self.v.detach()[batch.index], batch.label)
        corrected = F.one_hot(batch.label, self.task.num_classes) - u_part + v_part
        run.record_selection(batch.index, corrected.argmax(dim=1) == batch.label)  # believed right
        return {**{name: value.detach() for name, value in parts.items()}, "noise": u_part.sum(dim=1).mean()}

    def clean_score(self) -> Tensor:
        labels = self.task.labels.to(self.u.device)
        u_part, v_part = label_noise(self.u.detach(), self.v.detach(), labels)
        return -(u_part.sum(dim=1) + v_part.amax(dim=1))
