"""Batches of a training run: order, views, landmarks and the unlabelled stream."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WALK_BATCH = 256
"""Images of a batch when a method walks over the training set; part of what its augmentations are drawn from."""


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of ``size``; a last batch of one image joins the one before, because BatchNorm cannot train on it."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _resident(pixels: np.ndarray, device: torch.device) -> Tensor:
    """The decoded images as a tensor: on the device where half of its free memory holds them, else memory-mapped."""
    images = torch.from_numpy(pixels)
    if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return images.to(device)
    return images
