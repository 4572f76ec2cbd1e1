"""Tiny networks, batches and a stand-in for the training context: for tests of a method's mathematics and updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Method, Task
from fer_bench.models.ferres8 import PooledClassifier

C, B, N = 7, 8, 40
RAF = torch.tensor([1290, 281, 717, 4772, 1982, 705, 2524])


class TinyNet(PooledClassifier):
    """A convolution, global average pooling and a linear layer, in timm's interface; it counts its forward passes."""

    def __init__(self, role: str = "main", classifier: nn.Module | None = None) -> None:
        super().__init__()
        self.role, self.num_features, self.passes = role, 5, []
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(5)
        self.fc = classifier or nn.Linear(5, C)
        with torch.no_grad():
            self.conv.weight.copy_(torch.randn(self.conv.weight.shape, generator=generator) * 0.5)

    def forward_features(self, x: Tensor) -> Tensor:
        self.passes.append(len(x))
        return F.relu(self.norm(self.conv(x)))


class TinyRun:
    """The training context, reduced to what a method calls; it keeps what was minimized and selected."""

    def __init__(
        self, method: Method, epoch: int = 0, stage: str = "train", step: int = 0, epochs: int = 20, steps: int = 1,
        lr: float = 0.05, adam: bool = False,
    ) -> None:  # fmt: skip
        self.epoch, self.epochs, self.step, self.steps, self.stage = epoch, epochs, step, steps, stage
        self.stage_epoch, self.stage_epochs = epoch, epochs
        self.device = torch.device("cpu")
        make = torch.optim.Adam if adam else torch.optim.SGD
        self.optimizers = method.optimizers(stage, lambda params, **kw: make(params, **({"lr": lr} | kw)))
        self.minimized: list[tuple[str, float]] = []
        self.selected: list[tuple[Tensor, Tensor]] = []
        self.batches: Iterable[Batch] = ()
        self.frozen = False

    def generator(self, name: str) -> torch.Generator:
        return seeded(1000 * self.epoch + self.step + sum(name.encode()))

    def training_set(self) -> Iterator[Batch]:
        return iter(self.batches)

    def minimize(self, loss: Tensor, name: str = "main") -> None:
        assert loss.dim() == 0 and loss.dtype == torch.float32
        self.minimized.append((name, loss.item()))
        self.optimizers[name].zero_grad()
        loss.backward()
        if not self.frozen:
            self.optimizers[name].step()

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        assert index.shape == kept.shape and kept.dtype == torch.bool
        self.selected.append((index, kept))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters_of(method: Method) -> dict[str, Tensor]:
    """Copies of the parameters, to compare with later."""
    return {name: value.detach().clone() for name, value in method.named_parameters()}


def unchanged(method: Method, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in method.named_parameters())


def equal_heads(role: str) -> TinyNet:
    """Networks that never disagree."""
    torch.manual_seed(7)
    return TinyNet(role)


def number(value: Tensor | float) -> float:
    return value.detach().item() if isinstance(value, Tensor) else value


def task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "num_classes": C, "num_samples": N, "class_counts": RAF, "epochs": 20, "batch_size": B, "noise_rate": 0.25,
    }  # fmt: skip
    return Task(**(values | changes))


def build(
    cls: type[Method], the_task: Task | None = None, make_net: Callable[[str], Any] = TinyNet, **options: Any
) -> Any:
    torch.manual_seed(1)
    method = cls(cls.Config(**options), the_task or task())
    method.build(make_net)
    return method.train()


def batch_for(method: Method, seed: int = 0, size: int = B, labels: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    weak = torch.randn(size, 3, 10, 10, generator=generator)
    other = torch.randn(size, 3, 10, 10, generator=generator)
    drawn = torch.randint(0, C, (size,), generator=generator)
    views = {"weak": weak, "mirror": weak.flip(-1), "mirror-erased": other, "second": other, "strong": other}
    index = torch.arange(size) * 3 % N
    return Batch(index, drawn if labels is None else labels, views.__getitem__, method.needs(method.config).views)


def logits(seed: int, size: int = B, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, C, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale


def labels(seed: int, size: int = B) -> Tensor:
    return torch.randint(0, C, (size,), generator=torch.Generator().manual_seed(seed))
