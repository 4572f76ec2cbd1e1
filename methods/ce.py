"""Cross-entropy: the baseline that every other method is compared with.

Softmax cross-entropy of one network on the labels as given, wrong ones included. Nothing is selected, weighted or
corrected, so what it loses under noise is what the data and the recipe lose.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, Method, Run


class Ce(Method):
    info = Info(
        name="Cross-entropy",
        title="Cross-entropy",
        authors="",
        venue="",
        year=0,
        idea="Softmax cross-entropy on the labels as given. The baseline.",
        kind="baseline",
        family="baseline",
        scaling="There is nothing to scale.",
    )

    def loss(self, batch: Batch, run: Run) -> Tensor:
        return F.cross_entropy(self.net(batch.view("weak")).float(), batch.label)
