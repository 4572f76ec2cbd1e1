"""How a network computes: in float32, or under bf16 autocast (``Recipe.precision``). Methods do not see which.

Only what a method calls of a network is changed: ``forward``, ``forward_features`` and ``forward_head``. Their answers
are float32 again, so losses, selections, memories and metrics are; parameters and optimizers stay float32. Layers that
a method takes out of a network and calls by itself, the classifier or a stage, compute in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fer_bench.spec import Recipe

PARTS = ("forward", "forward_features", "forward_head")


class Arithmetic:
    """The arithmetic of the networks of one run on ``device``. It begins with ``active``: what a method tries on a
    network while it is built is tried in plain float32."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.active = False
        self._kind, self._narrow = device.type, recipe.precision == "bf16"
        self._classes: dict[type[nn.Module], type[nn.Module]] = {}

    def adapt(self, net: nn.Module) -> None:
        """Changes the parts of ``net`` and of every copy that is made of it. Nothing for a recipe in float32.

        The network becomes one of a subclass, because a function that is stored in a network would go on calling that
        network from its copies.
        """
        if not self._narrow:
            return
        cls = type(net)
        if cls not in self._classes:
            parts = {name: self._part(getattr(cls, name)) for name in PARTS if hasattr(cls, name)}
            self._classes[cls] = type(cls.__name__, (cls,), {**parts, "__module__": cls.__module__})
        net.__class__ = self._classes[cls]

    def _part(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def part(net: nn.Module, *arguments: Any, **options: Any) -> Any:
            if not self.active:
                return plain(net, *arguments, **options)
            with torch.autocast(self._kind, torch.bfloat16):
                return _widened(plain(net, *arguments, **options))

        return part


def _widened(answer: Any) -> Any:
    """bf16 tensors as float32, also those in tuples and lists; everything else as it is."""
    if isinstance(answer, Tensor):
        return answer.float() if answer.dtype == torch.bfloat16 else answer
    if isinstance(answer, (tuple, list)):
        return type(answer)(_widened(each) for each in answer)
    return answer
