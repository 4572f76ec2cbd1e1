"""The recipe's optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from fer_bench.core.spec import Recipe


def make_optimizer(
    recipe: Recipe, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], **overrides: Any
) -> torch.optim.Optimizer:
    """The recipe's optimizer; ``overrides`` (``lr=...``, ``weight_decay=...``) replace its settings."""
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True, **overrides}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, **{"momentum": recipe.momentum, **settings})
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](parameters, **settings)


def schedule(recipe: Recipe, epoch: int, epochs: int) -> float:
    """Factor on every learning rate in ``epoch`` (0-based) of a stage of ``epochs``."""
    if recipe.schedule == "exponential":
        return recipe.gamma**epoch
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    return 1.0
