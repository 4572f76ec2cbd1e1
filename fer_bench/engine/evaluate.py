"""Evaluation: one way for all methods, on un-augmented images, in eval mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fer_bench.engine.augment import Views, gather

EVALUATION_BATCH = 64
"""Of the same speed on a CPU as larger batches, and no more memory than training."""


@torch.no_grad()
def logits(
    predict: Callable[[Tensor], Tensor], pixels: Tensor, rows: np.ndarray, views: Views, num_classes: int
) -> Tensor:
    """float32 [n, C] on the CPU for the images ``rows`` of the uint8 array ``pixels`` [N, 3, S, S].

    ValueError when ``predict`` does not return [B, C].
    """
    answers = torch.empty((len(rows), num_classes), device=views.device)
    for start in range(0, len(rows), EVALUATION_BATCH):
        chunk = torch.from_numpy(rows[start : start + EVALUATION_BATCH]).to(pixels.device)
        answer = predict(views.plain(gather(pixels, chunk)))
        if answer.shape != (len(chunk), num_classes):
            raise ValueError(f"predict() returned {tuple(answer.shape)}; expected {(len(chunk), num_classes)}")
        answers[start : start + len(chunk)] = answer
    return answers.cpu()
