"""A face and its mirror in one call of each convolution, batch norm still one half at a time, against two calls."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.floor import CLASSES
from benchmarks.speed.timing import alternate
from fer_bench.models.networks import make_network


class HalvedNorm(nn.Module):
    """A batch norm that sees the two halves of a batch one after the other, as two calls of the network would."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(half) for half in x.chunk(2)])


def measure(backbone: str, size: int, batch: int, repeats: int) -> dict[str, Any]:
    """Seconds of forward and backward of a pair, both ways, and the largest relative difference of a gradient."""

    def network() -> Any:
        return make_network(backbone, CLASSES, seed=0, role="pair", pretrained="", weights=None).train()

    separate, joined = network(), network()
    _halve(joined)
    faces = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    mirrored, labels = faces.flip(-1), torch.randint(0, CLASSES, (batch,))

    def two_calls() -> Tensor:
        return torch.cat([separate(faces), separate(mirrored)])

    def one_call() -> Tensor:
        return joined(torch.cat([faces, mirrored]))  # type: ignore[no-any-return]

    def learn(net: nn.Module, logits: Tensor) -> None:
        net.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels.repeat(2)).backward()

    learn(separate, two_calls())
    learn(joined, one_call())
    pairs = zip(separate.parameters(), joined.parameters(), strict=True)
    difference = max(float((a.grad - b.grad).abs().max() / a.grad.abs().max()) for a, b in pairs)
    times = alternate(
        {"two calls": lambda: learn(separate, two_calls()), "one call": lambda: learn(joined, one_call())}, repeats
    )
    return {**times, "gradient_difference": difference}


def _halve(net: nn.Module) -> None:
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(net, name, HalvedNorm(child))
        else:
            _halve(child)
