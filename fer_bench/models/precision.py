"""How a network computes: in float32 or under bf16 autocast, compiled or not. Methods do not see which.

Only what a method calls of a network is changed: ``forward``, ``forward_features`` and ``forward_head``. Their answers
are float32 again, so losses, selections, memories and metrics are; parameters and optimizers stay float32. Layers that
a method takes out of a network and calls by itself, the classifier or a stage, compute in float32 and are not compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Recipe

PARTS = ("forward", "forward_features", "forward_head")

BACKEND = "inductor"


class Precision:
    """How the networks of one run on ``device`` compute (``Recipe.precision`` and ``Recipe.compile``).

    It starts when ``active`` is set: what a method tries on a network while it is built is tried in plain float32.
    ``count`` is called with the images that enter a compiled network, whose hooks count nothing. SpecError where the
    recipe asks for compiled networks and nothing can be compiled.
    """

    def __init__(self, recipe: Recipe, device: torch.device, count: Callable[[Tensor], None] = lambda x: None) -> None:
        self.active = False
        self._kind, self._narrow, self._compile = device.type, recipe.precision == "bf16", recipe.compile
        self._count = count
        self._classes: dict[type[nn.Module], type[nn.Module]] = {}
        if recipe.compile:
            check_compiler(device.type)
            torch._dynamo.reset()  # what a run computes does not depend on the runs before it in its process

    def adapt(self, net: nn.Module) -> None:
        """Changes the parts of ``net`` and of every copy that is made of it. Nothing for a recipe in plain float32.

        The network becomes one of a subclass, because a function that is stored in a network would go on calling that
        network from its copies.
        """
        if not (self._narrow or self._compile):
            return
        cls = type(net)
        if cls not in self._classes:
            parts = {name: self._part(name, getattr(cls, name)) for name in PARTS if hasattr(cls, name)}
            self._classes[cls] = type(cls.__name__, (cls,), {**parts, "__module__": cls.__module__})
        net.__class__ = self._classes[cls]

    def _part(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        kind, narrow = self._kind, self._narrow

        def compute(net: nn.Module, *arguments: Any, **options: Any) -> Any:
            if not narrow:
                return plain(net, *arguments, **options)
            with torch.autocast(kind, torch.bfloat16):
                return _widened(plain(net, *arguments, **options))

        # one graph or an error: a part that fell back to Python would be counted twice and be slow without a word
        compiled = torch.compile(compute, fullgraph=True, dynamic=False, backend=BACKEND) if self._compile else None

        @functools.wraps(plain)
        def part(net: nn.Module, x: Any, *arguments: Any, **options: Any) -> Any:
            if not self.active:
                return plain(net, x, *arguments, **options)
            if compiled is None or torch.compiler.is_compiling():  # a part that calls a part is one graph with it
                return compute(net, x, *arguments, **options)
            if name != "forward_head":
                self._count(x)
            # no graph for each size of batch, and none that depends on which sizes came before
            torch._dynamo.maybe_mark_dynamic(x, 0)
            return compiled(net, x, *arguments, **options)

        return part


@functools.cache
def check_compiler(kind: str) -> None:
    """Compiles a sum on a device of this kind ("cpu", "cuda"). SpecError where that fails, with the reason."""
    import torch._dynamo

    def double(x: Tensor) -> Tensor:
        return x + x

    try:
        torch.compile(double, fullgraph=True, backend=BACKEND)(torch.ones(8, device=kind))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise SpecError(f"--compile: torch.compile does not work here for {kind}, leave it out: {reason}") from None


def _widened(answer: Any) -> Any:
    """bf16 tensors as float32, also those in tuples and lists; everything else as it is."""
    if isinstance(answer, Tensor):
        return answer.float() if answer.dtype == torch.bfloat16 else answer
    if isinstance(answer, (tuple, list)):
        return type(answer)(_widened(each) for each in answer)
    return answer
