"""SCN: the self-cure network.

K. Wang, X. Peng, J. Yang, S. Lu, Y. Qiao. "Suppressing Uncertainties for Large-Scale Facial Expression Recognition".
CVPR 2020, arXiv 2002.10392. Code: github.com/kaiwang960112/Self-Cure-Network @ 9f4c3ad (src/train.py).

1. The logits of each face are multiplied by a scalar alpha between 0 and 1, so uncertain faces weigh less.
2. A margin loss ranks alpha: the mean of the top 70 % of a batch must exceed that of the rest.
3. From epoch 10 on, a face is relabelled if another class is more probable than its label by 0.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, Method, Run, Task, hparam
from fer_bench.ops import (
    clearly_better_class,
    first_relabelling_epoch,
    membership,
    rank_groups,
    rank_loss,
    require_range,
)

NOT_RELABELLED = -1


class Scn(Method):
    info = Info(
        name="SCN",
        title="Suppressing Uncertainties for Large-Scale Facial Expression Recognition",
        authors="Kai Wang, Xiaojiang Peng, Jianfei Yang, Shijian Lu, Yu Qiao",
        venue="CVPR",
        year=2020,
        idea="Multiplies the logits of each face by a learned importance, which is ranked within the batch. A face "
        "gets a new label if another class is clearly more probable than the given one.",
        kind="label noise",
        family="faces",
        scaling="margin_1 depends on the batch size: 0.07 for 64, 0.15 for 1024. Relabelling starts after 9 / 70 of "
        "the epochs. A short training waits for 1728 steps, but at most for two thirds of its epochs. Both losses are "
        "means.",
        arxiv="2002.10392",
        code="github.com/kaiwang960112/Self-Cure-Network @ 9f4c3ad",
        deviations=(
            "margin_1 is 0.07, as the official README says for batches of 64. The default of the official script, "
            "0.15, is for the paper's batches of 1024.",
            "In a batch that is too small for two groups, the rank loss is 0. Officially it is the constant margin_1, "
            "without a gradient.",
            "Relabelling starts in epoch 10 of 70, as officially. A short training waits for the official 1728 steps, "
            "but at most for two thirds of its epochs (relabel_epoch=10).",
            "Relabelling looks at the whole batch, as in the official code. In the paper it looks at the group of low "
            "importance (relabel_scope='low').",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        beta: float = hparam(0.7, "share of the batch in the high-importance group", "official train.py")
        margin_1: float = hparam(
            0.07, "margin between the group means of alpha; 0.15 at a batch of 1024", "official README, for batch 64"
        )
        margin_2: float = hparam(0.2, "probability margin for relabelling", "official train.py")
        relabel_epoch: int | None = hparam(
            None,
            "first epoch, counted from 1, in which labels change; none = after 9 / 70 of the epochs, or what holds "
            "1728 steps where that is more, at most two thirds",
            "official train.py: 10 of 70, after 1728 steps",
        )
        relabel_scope: Literal["batch", "low"] = hparam(
            "batch", "'low' relabels only in the low-importance group, as the paper describes", "official train.py"
        )
        dropout: float = hparam(0.0, "dropout on the pooled features", "official train.py")

        def __post_init__(self) -> None:
            require_range("beta", self.beta, 0, 1)
            require_range("margin_1", self.margin_1, 0, 1)
            require_range("margin_2", self.margin_2, 0, 1)
            if self.relabel_epoch is not None:
                require_range("relabel_epoch", self.relabel_epoch, low=1)
            require_range("dropout", self.dropout, 0, 1)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.relabel_epoch = config.relabel_epoch or first_relabelling_epoch(task)
        self.sample_buffer("new_label", NOT_RELABELLED, dtype=torch.int64)
        self.sample_buffer("alpha", 0.5, dtype=torch.float32)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        # The width that goes into the classifier, which some networks expand beyond their last feature map.
        self.alpha_head = nn.Linear(self.net.get_classifier().in_features, 1)
        self.dropout = nn.Dropout(self.config.dropout)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """alpha [B] = sigmoid(Wa v + ba) and logits [B, K] = W v + b of the pooled features v, not yet multiplied."""
        v = self.dropout(self.net.forward_head(self.net.forward_features(images), pre_logits=True))
        return torch.sigmoid(self.alpha_head(v).float().squeeze(1)), self.net.get_classifier()(v).float()

    def current_labels(self, index: Tensor, given: Tensor) -> Tensor:
        """The labels that the method trains on: the given ones, or its own where it has relabelled; int64 [B]."""
        mine = self.new_label[index]
        return torch.where(mine == NOT_RELABELLED, given, mine)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor]:
        c = self.config
        labels = self.current_labels(batch.index, batch.label)
        alpha, logits = self(batch.view("weak"))
        z = alpha[:, None] * logits
        ce = F.cross_entropy(z, labels)
        rr = rank_loss(alpha, c.beta, c.margin_1)
        run.minimize(ce + rr)
        self.alpha[batch.index] = alpha.detach()
        log = {"loss": (ce + rr).detach(), "ce": ce.detach(), "rank": rr.detach(), "alpha": alpha.detach().mean()}
        if run.epoch + 1 >= self.relabel_epoch:
            log["relabelled"] = self.relabel(batch.index, labels, alpha.detach(), z.detach())
        return log

    def relabel(self, index: Tensor, labels: Tensor, alpha: Tensor, z: Tensor) -> Tensor:
        """Stores the new labels of this batch, which are used when its samples are next seen; returns how many changed.

        z [B, K] are the weighted logits of the training pass, from before the step.
        """
        changed, best = clearly_better_class(F.softmax(z, dim=1), labels, self.config.margin_2)
        if self.config.relabel_scope == "low":
            changed &= membership(rank_groups(alpha, self.config.beta)[1], len(alpha))
        self.new_label[index] = torch.where(changed, best, self.new_label[index])
        return changed.sum()

    def predict(self, images: Tensor) -> Tensor:
        """The weighted logits, as in the official code: alpha > 0 does not change the answer, only its confidence."""
        alpha, logits = self(images)
        return alpha[:, None] * logits

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {"without alpha": self(images)[1]}

    def clean_score(self) -> Tensor:
        """The importance alpha when the sample was last seen."""
        return self.alpha
