"""Cross-entropy: the baseline that every other method is compared with.

Softmax cross-entropy of one network on the given labels, including the wrong ones. Nothing is selected, weighted or
corrected. The accuracy that is lost under noise is therefore due to the data and the recipe.
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
        idea="Softmax cross-entropy with the given labels, including the wrong ones. It is the baseline of all other "
        "methods.",
        kind="baseline",
        family="baseline",
        scaling="Cross-entropy has no settings.",
    )

    def loss(self, batch: Batch, run: Run) -> Tensor:
        return F.cross_entropy(self.net(batch.view("weak")).float(), batch.label)
