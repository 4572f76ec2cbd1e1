"""What the layers of a training cost when each is called alone, the method's own layers included."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from benchmarks.speed.timing import alternate


@dataclass(frozen=True)
class Call:
    """Passes that cost the same: the layer, what it is given, and which way it goes."""

    layer: str
    training: bool
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    backward: tuple[bool, bool] | None
    """Whether a backward pass has gradients of the input and of the parameters; None for a forward pass."""


class Layers:
    """Counts the calls of layers, and measures them.

    A layer is a module without parts that takes one tensor. What a method computes outside of layers is not counted.
    """

    def __init__(self) -> None:
        self._seen: dict[Call, nn.Module] = {}
        self._seconds: dict[Call, float] = {}
        self._counts: Counter[Call] | None = None

    @contextmanager
    def counting(self) -> Iterator[Counter[Call]]:
        """Counts the calls of all layers of this process, while the context is open."""
        counts: Counter[Call] = Counter()
        self._counts, handle = counts, register_module_forward_hook(self._count)
        try:
            yield counts
        finally:
            handle.remove()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts nothing for a while."""
        counts, self._counts = self._counts, None
        try:
            yield
        finally:
            self._counts = counts

    def _count(self, layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if self._counts is None or any(True for _ in layer.children()):
            return
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
            return
        x = inputs[0]
        name = f"{type(layer).__name__} {layer!r}"
        forward = Call(name, layer.training, tuple(x.shape), x.stride(), x.dtype, None)
        self._add(forward, layer)
        if isinstance(output, Tensor) and output.requires_grad:
            trained = any(parameter.requires_grad for parameter in layer.parameters())
            back = replace(forward, backward=(x.requires_grad, trained))
            output.register_hook(partial(self._back, back, layer))

    def _back(self, call: Call, layer: nn.Module, _gradient: Tensor) -> None:
        if not torch.is_grad_enabled():  # it is where a gradient will itself be differentiated
            self._add(call, layer)

    def _add(self, call: Call, layer: nn.Module) -> None:
        if self._counts is not None:
            self._counts[call] += 1
            if call not in self._seen:
                self._seen[call] = copy.deepcopy(layer)

    def seconds(self, counts: Counter[Call], repeats: int) -> float:
        """The processor time of these passes, each layer alone on random input."""
        new = {f"{number}": call for number, call in enumerate(counts) if call not in self._seconds}
        measured = alternate({key: _bare(self._seen[call], call) for key, call in new.items()}, repeats)
        self._seconds |= {call: measured[key]["cpu"] for key, call in new.items()}
        return sum(count * self._seconds[call] for call, count in counts.items())


def _bare(layer: nn.Module, call: Call) -> Callable[[], object]:
    x = torch.empty_strided(call.shape, call.strides, dtype=call.dtype)
    x = x.normal_() if x.is_floating_point() else x.zero_()
    if call.backward is None:
        return torch.no_grad()(partial(layer, x))
    of_input, of_parameters = call.backward
    leaves = [x.requires_grad_()] * of_input + [p for p in layer.parameters() if p.requires_grad] * of_parameters
    out = layer(x)
    return partial(torch.autograd.grad, out, leaves, torch.randn_like(out), retain_graph=True)
