"""EAC: erasing attention consistency.

Y. Zhang, C. Wang, X. Ling, W. Deng. "Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression
Recognition". ECCV 2022, arXiv 2207.10299. Code: github.com/zyh-uaiaaaa/Erasing-Attention-Consistency @ 61efdfd
(src/main.py, src/loss.py, src/utils.py, src/model.py, src/dataset.py).

1. Networks memorise a wrong label from a part of the face.
2. Cross-entropy sees one randomly erased image only. Its class activation maps must be the mirror image of the maps of
   the mirrored image, in which another box is erased.
3. This penalises maps that depend on one patch. No face is selected, relabelled or weighted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, hparam
from fer_bench.ops import class_activation_maps, mirror, pooled_linear_classifier, require_range


def flip_consistency(maps: Tensor, maps_of_mirror: Tensor) -> Tensor:
    """AC = mean over (b, k, h, w) of (A1 - mirror(A2))^2, a scalar, of maps [B, K, H, W] (src/loss.py, ACLoss)."""
    return (maps - mirror(maps_of_mirror)).square().mean()


def attention_consistency(features: Tensor, features_mirror: Tensor, weight: Tensor) -> Tensor:
    """AC of feature maps [B, C, H, W] of both views and the classifier weight [K, C]: the mean over B, K, H and W.

    The gradient reaches the features of both views, but not the classifier (src/loss.py, src/main.py).
    """
    maps = class_activation_maps(features, weight)
    return flip_consistency(maps, class_activation_maps(features_mirror, weight))


class Eac(Method):
    info = Info(
        name="EAC",
        title="Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression Recognition",
        authors="Yuhang Zhang, Chengrui Wang, Xu Ling, Weihong Deng",
        venue="ECCV",
        year=2022,
        idea="Cross-entropy is trained on a randomly erased face. The class activation maps of this face must be the "
        "mirror image of the maps of the mirrored face, in which another box is erased.",
        kind="label noise",
        family="faces",
        scaling="lam = 5 fits a pre-trained network, or thousands of steps. From random weights and in some hundred "
        "steps, it makes the maps small before they distinguish expressions: with 658 steps and 40 % noise, the "
        "accuracy stays below that of cross-entropy, while lam = 1 learns. The consistency is a mean over the classes "
        "and the cells of the map, so their numbers do not matter. The official map has 7 x 7 cells, and the official "
        "batch has 32 faces.",
        arxiv="2207.10299",
        code="github.com/zyh-uaiaaaa/Erasing-Attention-Consistency @ 61efdfd",
        deviations=(
            "The two views always have different erased boxes. Officially this is so only for noisy label files; with "
            "the clean file the second view is the exact mirror image (shared_erasing=true).",
            "The recipe's random flip is applied before the two views are made; the official pipeline has no flip. The "
            "consistency does not change if the two views change places.",
            "Maps are mirrored exactly. The official grid_sample does the same up to rounding.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        lam: float = hparam(5.0, "weight of the attention consistency", "official main.py")
        shared_erasing: bool = hparam(
            False,
            "True: the second view is the exact mirror of the first, erased box included",
            "official dataset.py: for noisy labels each view has its own box",
        )

        def __post_init__(self) -> None:
            require_range("lam", self.lam, low=0)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(views=("weak", "mirror" if config.shared_erasing else "mirror-erased"), forwards=2.0)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        pooled_linear_classifier(self.net)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor]:
        # One call for each view: batch-norm statistics are then those of one view, as in the official code.
        features = self.net.forward_features(batch.view("weak"))
        second = "mirror" if self.config.shared_erasing else "mirror-erased"
        features_mirror = self.net.forward_features(batch.view(second))
        ce = F.cross_entropy(self.net.forward_head(features).float(), batch.label)
        with torch.autocast(features.device.type, enabled=False):
            weight = self.net.get_classifier().weight.float()
            ac = attention_consistency(features.float(), features_mirror.float(), weight)
        loss = ce + self.config.lam * ac
        run.minimize(loss)
        return {"loss": loss.detach(), "ce": ce.detach(), "consistency": ac.detach()}
