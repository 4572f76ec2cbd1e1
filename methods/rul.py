"""RUL: relative uncertainty learning by mixing features.

Y. Zhang, C. Wang, W. Deng. "Relative Uncertainty Learning for Facial Expression Recognition". NeurIPS 2021. Code:
github.com/zyh-uaiaaaa/Relative-Uncertainty-Learning @ 63b73f2 (src/utils.py).

1. Two heads on the last feature map give a feature mu and a positive uncertainty u for each face.
2. The features of two faces are mixed, each weighted by its share of the two uncertainties.
3. The mixture must be recognised as BOTH labels, which only works if the harder face weighs more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Run, Task, hparam
from fer_bench.ops import (
    clean_score_from_losses,
    clearly_better_class,
    first_relabelling_epoch,
    require_positive,
    require_range,
)

NOT_RELABELLED = -1
EPS = 2e-5
"""eps of both batch norms of a head (src/utils.py)."""


def log_uncertainty(log_var: Tensor) -> Tensor:
    """log u [B, 1] with u = mean_d exp(log_var_d) of [B, D], computed so that it cannot overflow."""
    return torch.logsumexp(log_var, dim=1, keepdim=True) - math.log(log_var.shape[1])


def shares(log_u: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """a1 = u / (u + u[partner]) and a2 = u[partner] / (u + u[partner]), both [B, 1], of log u [B, 1]."""
    difference = log_u - log_u[partner]
    return torch.sigmoid(difference), torch.sigmoid(-difference)


def mix(mu: Tensor, log_u: Tensor, partner: Tensor) -> Tensor:
    """a1 mu + a2 mu[partner]: [B, D]; nothing is detached."""
    own, other = shares(log_u, partner)
    return own * mu + other * mu[partner]


def add_up_loss(logits: Tensor, labels: Tensor, partner: Tensor) -> Tensor:
    """0.5 CE(z, y) + 0.5 CE(z, y[partner]), a scalar: both labels count alike, whatever the shares."""
    return 0.5 * F.cross_entropy(logits, labels) + 0.5 * F.cross_entropy(logits, labels[partner])


class Dropout(nn.Dropout):
    """``nn.Dropout`` with the draws of ``torch.rand``, which take a quarter of its time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * ((torch.rand_like(x) >= self.p) / (1 - self.p))


class Projection(nn.Linear):
    """The linear layer of a flattened feature map [B, C, h, w].

    It takes the pixels in the order in which they lie in memory: channels last. ``flatten`` would copy the map, and the
    backward passes of batch norm and pooling are several times slower with gradients in another layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(1, x.shape[1:]).permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)


class Head(nn.Module):
    """A feature map [B, C, grid, grid] to [B, D]: normalised, with dropout, projected, normalised again."""

    def __init__(self, channels: int, dim: int, grid: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=EPS, affine=False)
        self.dropout = Dropout(dropout)
        self.project = Projection(channels * grid * grid, dim)
        self.norm_out = nn.BatchNorm1d(dim, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_out(self.project(self.dropout(self.norm(x))))


class Rul(Method):
    info = Info(
        name="RUL",
        title="Relative Uncertainty Learning for Facial Expression Recognition",
        authors="Yuhang Zhang, Chengrui Wang, Weihong Deng",
        venue="NeurIPS",
        year=2021,
        idea="Mixes the features of two faces by their learned uncertainties. The mixture must be recognised as both "
        "labels, which works only if the harder face has the larger share.",
        kind="label noise",
        family="faces",
        scaling="classifier_lr = 10 is relative to the small rate of a pre-trained network. From random weights, where "
        "the rate of all layers is larger, a smaller factor may be enough. Feature maps are pooled to 7 x 7 cells for "
        "any image size. relabel='scn' starts after 9 / 70 of the epochs. A short training waits for 1728 steps, but "
        "at most for two thirds of its epochs. The loss is a mean over the batch. In the ten trials of the sweep "
        "tune-quick (drawn faces, 14 epochs, one seed) under symmetric noise of 0.4, the four with a classifier_lr "
        "below 2.5 reach 65 to 73 % on the test set, the six from 3.4 to 10 reach 52 to 67 %, and cross-entropy "
        "reaches 66 %. Learning rates and relabelling differ among them, too. The preset quick has 1.95. With it, RUL "
        "has 73.7 and cross-entropy 69.7 % on the test set of reference-grid (three seeds), and 74.3 and 75.0 % on its "
        "validation split of 300 images.",
        code="github.com/zyh-uaiaaaa/Relative-Uncertainty-Learning @ 63b73f2",
        deviations=(
            "There is no relabelling, as in the official code. According to its authors (official issue 4), the "
            "published results under label noise need a relabelling module, which is not public. Plain RUL is "
            "therefore not comparable with them; relabel='scn' is a substitute.",
            "Partners are drawn from the whole batch, as in the official code. The paper mixes different labels.",
            "A feature map that is not 7 x 7 is pooled to 7 x 7. Officially only images of 224 x 224 work.",
            "The shares of the uncertainties are computed from logarithms, which cannot overflow. The values are the "
            "same.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        dim: int = hparam(64, "length of the feature mu", "official utils.py")
        grid: int = hparam(7, "height and width of the feature map that the heads flatten", "official utils.py")
        dropout: float = hparam(0.4, "dropout of both heads, with a mask each", "official utils.py")
        classifier_lr: float = hparam(
            10.0, "learning rate of the classifier, as a multiple of the others'", "official code: 2e-3 against 2e-4"
        )
        relabel: Literal["off", "scn"] = hparam(
            "off",
            "'scn': faces are relabelled where the best class of their own feature clearly beats the label",
            "official issue 4, which names no settings",
        )
        relabel_epoch: int | None = hparam(
            None,
            "first epoch, counted from 1, in which labels change; none = after 9 / 70 of the epochs, or what holds "
            "1728 steps where that is more, at most two thirds",
            "SCN's train.py: 10 of 70, after 1728 steps",
        )
        relabel_margin: float = hparam(0.2, "probability margin for relabelling", "SCN's train.py")

        def __post_init__(self) -> None:
            require_range("dim", self.dim, low=1)
            require_range("grid", self.grid, low=1)
            require_range("dropout", self.dropout, 0, 0.99)
            require_positive("classifier_lr", self.classifier_lr)
            if self.relabel_epoch is not None:
                require_range("relabel_epoch", self.relabel_epoch, low=1)
            require_range("relabel_margin", self.relabel_margin, 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.relabel_epoch = config.relabel_epoch or first_relabelling_epoch(task)
        self.sample_buffer("new_label", NOT_RELABELLED, dtype=torch.int64)
        self.sample_buffer("log_u", float("nan"), dtype=torch.float32)

    def build(self, make_net: MakeNet) -> None:
        c = self.config
        self.net = make_net("main")
        # The network's own classifier is not used; frozen, it is not trained.
        self.net.get_classifier().requires_grad_(False)
        self.mu_head = Head(self.net.num_features, c.dim, c.grid, c.dropout)
        self.log_var_head = Head(self.net.num_features, c.dim, c.grid, c.dropout)
        self.fc = nn.Linear(c.dim, self.task.num_classes)

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        own = list(self.fc.parameters())
        others = [p for p in self.parameters() if p.requires_grad and all(p is not q for q in own)]
        optimizer = make_optimizer([{"params": others}, {"params": own}])
        optimizer.param_groups[1]["lr"] *= self.config.classifier_lr
        return {"main": optimizer}

    def features(self, images: Tensor) -> Tensor:
        """The last feature map, float32 [B, C, grid, grid]; pooled (or repeated) if it has another size."""
        maps = self.net.forward_features(images).float()
        if maps.ndim != 4 or maps.shape[1] != self.net.num_features:
            shape = tuple(maps.shape)
            raise ValueError(f"RUL needs feature maps [B, C, h, w]; {type(self.net).__name__} gives {shape}")
        return F.adaptive_avg_pool2d(maps, self.config.grid)

    def current_labels(self, index: Tensor, given: Tensor) -> Tensor:
        """The labels that the method trains on: the given ones, or its own where it has relabelled; int64 [B]."""
        mine = self.new_label[index]
        return torch.where(mine == NOT_RELABELLED, given, mine)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor]:
        c = self.config
        labels = self.current_labels(batch.index, batch.label)
        maps = self.features(batch.view("weak"))
        mu, log_u = self.mu_head(maps), log_uncertainty(self.log_var_head(maps))
        # Any permutation: the partner can be the face itself or of the same class, as in the official code.
        partner = torch.randperm(len(batch), generator=run.generator("mix"), device=run.device)
        loss = add_up_loss(self.fc(mix(mu, log_u, partner)), labels, partner)
        log = {"loss": loss.detach(), "log_uncertainty": log_u.detach().mean()}
        self.log_u[batch.index] = log_u.detach().squeeze(1)
        if c.relabel == "scn" and run.epoch + 1 >= self.relabel_epoch:
            log["relabelled"] = self.relabel(batch.index, labels, self.fc(mu.detach()).detach())
        run.minimize(loss)
        return log

    def relabel(self, index: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """Stores the new labels of this batch, which are used when its samples are next seen; returns how many changed.

        ``logits`` [B, K] are those of the faces' own features, not mixed.
        """
        changed, best = clearly_better_class(F.softmax(logits, dim=1), labels, self.config.relabel_margin)
        self.new_label[index] = torch.where(changed, best, self.new_label[index])
        return changed.sum()

    def predict(self, images: Tensor) -> Tensor:
        """The logits of the face's own feature, without the mixture and the uncertainty."""
        return self.fc(self.mu_head(self.features(images)))

    def clean_score(self) -> Tensor:
        """Minus the logarithm of the uncertainty when the sample was last seen."""
        return clean_score_from_losses(self.log_u)
