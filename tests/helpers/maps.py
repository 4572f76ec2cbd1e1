"""A network with feature maps, batches with landmarks, and a training context: for methods that take networks apart."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fer_bench.method import Batch, Method, Task
from fer_bench.models.ferres8 import FerRes8

C, B, N, L = 4, 16, 40, 19


class Run:
    """The training context, reduced to what these methods call."""

    def __init__(self, method: Method, epoch: int = 0, epochs: int = 12, lr: float = 0.01, **settings: Any) -> None:
        self.epoch, self.epochs, self.step, self.steps, self.stage = epoch, epochs, 0, 4, "train"
        self.device = torch.device("cpu")
        self.optimizers = method.optimizers("train", lambda p, **kw: torch.optim.Adam(p, **({"lr": lr} | kw)))
        self.minimized: list[float] = []

    def minimize(self, loss: Tensor, name: str = "main") -> None:
        assert loss.dim() == 0 and loss.dtype == torch.float32 and bool(loss.isfinite())
        self.minimized.append(loss.item())
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(len(name) + self.step)


def network(_role: str) -> FerRes8:
    return FerRes8(C, widths=(4, 6, 8, 10))


def task(counts: tuple[int, ...] = (16, 12, 8, 4), **changes: Any) -> Task:
    values: dict[str, Any] = {
        "num_classes": C, "num_samples": N, "class_counts": torch.tensor(counts), "epochs": 12, "batch_size": B,
    }  # fmt: skip
    return Task(**(values | changes))


def build(cls: type[Method], the_task: Task | None = None, **options: Any) -> Any:
    torch.manual_seed(1)
    method = cls(cls.Config(**options), the_task or task())
    method.build(network)
    return method.train()


def labels(size: int = B) -> Tensor:
    return torch.arange(size) % C


def batch_for(method: Method, seed: int = 0, y: Tensor | None = None, index: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    y = labels() if y is None else y
    images = torch.randn(len(y), 3, 32, 32, generator=generator)
    points = torch.rand(len(y), L, 2, generator=generator)
    index = torch.arange(len(y)) * 3 % N if index is None else index
    if method.needs(method.config).landmarks:
        return Batch(index, y, {"weak": images}.__getitem__, ("weak",), points, torch.arange(len(y)) % 5 > 0)
    return Batch(index, y, {"weak": images}.__getitem__, ("weak",))


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_steps(cls: type[Method], options: dict[str, Any]) -> None:
    """Steps train every used parameter, and answers come from the image alone."""
    method = build(cls, **options)
    run = Run(method)
    before = state_of(method.net)
    for seed in range(2):
        method.on_epoch_start(run)
        log = method.train_step(batch_for(method, seed), run)
        method.on_epoch_end(run)
        assert all(math.isfinite(float(value)) for value in log.values())
    assert len(run.minimized) == 2
    named = method.net.named_parameters()
    assert not [name for name, value in named if value.requires_grad and torch.equal(value, before[name])]
    method.eval()
    images = normal(3, 3, 32, 32)
    assert method.predict(images).shape == (3, C)
    torch.testing.assert_close(method.predict(images)[:1], method.predict(images[:1]))
    rows = method.epoch_indices(labels(N), torch.Generator().manual_seed(0))
    assert rows is None or (rows.dtype == torch.int64 and rows.min() >= 0 and rows.max() < N)


def assert_all_tried(cls: type[Method], options: list[dict[str, Any]], apart: set[str]) -> None:
    """Every setting is in one of the ``options``, or has a test of its own (``apart``)."""
    assert set(cls.Config.__dataclass_fields__) - {name for each in options for name in each} == apart
