"""Why evaluation takes the time it does: its arithmetic beside that of training, and the rate of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.floor import CLASSES, Floor
from benchmarks.speed.timing import alternate
from benchmarks.speed.training import QUICK_SPLIT
from fer_bench.core.spec import Recipe
from fer_bench.engine import evaluate
from fer_bench.engine.augment import Views

OTHER_BATCHES = (128, 256, 512)
SIDE = 1024
"""Rows and columns of the two matrices whose product shows what a core can do."""


def measure(backbone: str, size: int, batch: int, images: int, repeats: int) -> dict[str, Any]:
    """Seconds of evaluating ``images`` images by size of batch, of as many in training steps, and of a matrix product;
    operations of the first two; the share of evaluation in the time of training that the operations alone make; and
    the batches whose logits are not those of the harness bit for bit."""
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch)
    step, views = Floor(recipe, networks=1, forwards=1, backwards=1), Views(recipe, torch.device("cpu"))
    for _ in range(3):  # otherwise the running means are those of a new network, 0 and 1
        step()
    net, steps = step.nets[0], images // batch
    pixels = torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    rows = torch.arange(images).numpy()

    def logits(chunk: int) -> Tensor:
        with patch.object(evaluate, "EVALUATION_BATCH", chunk):
            return evaluate.logits(net, pixels, rows, views, CLASSES)

    def train() -> None:
        net.train()
        for _ in range(steps):
            step()
        net.eval()

    net.eval()
    chunks = (evaluate.EVALUATION_BATCH, *OTHER_BATCHES)
    found = {chunk: logits(chunk) for chunk in chunks}
    unequal = [chunk for chunk in OTHER_BATCHES if not torch.equal(found[chunk], found[chunks[0]])]
    a = torch.randn(SIDE, SIDE)
    works: dict[str, Callable[[], object]] = {f"batches of {chunk}": partial(logits, chunk) for chunk in chunks}
    times = alternate({**works, "training": train, "matrix product": lambda: a @ a}, repeats)
    operations = {
        "evaluation": _operations(partial(logits, chunks[0])) / images,
        "training": _operations(step) / batch,
        "matrix product": 2 * SIDE**3,
    }
    share = operations["evaluation"] * QUICK_SPLIT["evaluated"] / (operations["training"] * QUICK_SPLIT["train"])
    return {
        "evaluated": images,
        "trained": steps * batch,
        **times,
        "operations": operations,
        "share_by_operations": share,
        "unequal": unequal,
    }


def _operations(work: Callable[[], object]) -> int:
    """Multiplications and additions of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
