"""A small problem on which a plugin is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.data.cache import PixelFile
from fer_bench.data.dataset import Dataset
from fer_bench.data.splits import Splits
from fer_bench.engine import trainer
from fer_bench.engine.augment import Views
from fer_bench.engine.job import Resources, TrainingJob
from fer_bench.method import Batch, Method
from fer_bench.plugins.registry import Plugin, describe_config
from fer_bench.store.folder import RunFolder

CPU = torch.device("cpu")

CLASSES = ("anger", "happiness", "neutral", "surprise")

SIZE = 32

PER_CLASS = {"train": 16, "val": 3, "test": 10}


@dataclass
class Seen:
    """What a training run showed to the method, and the method."""

    method: Method
    nets: list[torch.nn.Module] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    start: dict[str, Tensor] = field(default_factory=dict)
    problem: Splits | None = None
    given: np.ndarray | None = None
    """The observed labels, copied before training."""


class Bench:
    """Four classes in ``folder`` that the engine trains on in a fraction of a second; mirrors keep their class."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trained: dict[str, tuple[RunFolder, Seen]] = {}

    @cached_property
    def faces(self) -> Dataset:
        """Grain with one bright band, whose height and colour tell the class."""
        rng = np.random.default_rng(0)
        split = np.concatenate([[name] * (count * len(CLASSES)) for name, count in PER_CLASS.items()])
        label = np.concatenate([np.tile(np.arange(len(CLASSES)), count) for count in PER_CLASS.values()])
        pixels = rng.integers(60, 120, (len(label), 3, SIZE, SIZE)).astype(np.uint8)
        band = SIZE // len(CLASSES)
        for row, number in enumerate(label):
            pixels[row, number % 3, number * band : (number + 1) * band] += 100
        folder = self.folder / "toy"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(PixelFile(folder, len(label), SIZE).path, pixels.transpose(0, 2, 3, 1))
        ids = np.array([f"{part}/{row:04d}" for row, part in enumerate(split)])
        points = rng.random((len(label), 19, 2)).astype(np.float32)
        return Dataset(
            *("toy", CLASSES, ids, split, label.astype(np.int64), points, np.arange(len(label)) % 7 > 0),
            fingerprint="0" * 64,
            folder=folder,
        )

    def spec(
        self,
        plugin: Plugin,
        noise: float = 0.0,
        factor: float = 1.0,
        epochs: int = 2,
        settings: Mapping[str, Any] = MappingProxyType({}),
        **recipe: Any,
    ) -> RunSpec:
        """A run of this problem: symmetric noise of a rate, imbalance of a factor; ``settings`` are of the Config."""
        config = plugin.configure(self.faces.name, "clean", settings)
        full = {"image_size": SIZE, "batch_size": 16, "lr": 2e-3, "schedule": "cosine", "epochs": epochs, **recipe}
        return RunSpec(
            self.faces.name, self.faces.fingerprint, plugin.key, plugin.code, describe_config(config),
            noise=Noise("symmetric", noise) if noise else Noise("none"),
            imbalance=Imbalance("exp", factor), recipe=Recipe(**full),
        )  # fmt: skip

    def train(
        self,
        plugin: Plugin,
        spec: RunSpec,
        name: str = "run",
        stopping: Callable[[RunFolder], bool] = lambda folder: False,
        relabel: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[RunFolder, Seen]:
        """Trains ``spec`` in the folder ``name``; goes on where that folder stopped. ``relabel`` changes labels."""
        folder = RunFolder(self.folder / f"{plugin.key}-{spec.key}-{name}")
        seen: list[Seen] = []
        with _posed(seen, relabel):
            job = replace(self.job(plugin, spec, folder), stopping=lambda: stopping(folder))
            with folder.claim():
                folder.start(spec, {})
                trainer.train(replace(job, method_class=spied(job.method_class, seen)))
        return folder, seen[-1]

    def trained(
        self, plugin: Plugin, noise: float = 0.3, factor: float = 1.0, epochs: int = 2
    ) -> tuple[RunFolder, Seen]:
        """A finished run, trained once for all checks."""
        spec = self.spec(plugin, noise, factor, epochs)
        place = f"{plugin.path}{spec.key}"
        if place not in self._trained:
            self._trained[place] = self.train(plugin, spec, "shared")
        return self._trained[place]

    def job(self, plugin: Plugin, spec: RunSpec, folder: RunFolder, **resources: Any) -> TrainingJob:
        """The training of ``spec`` on this problem, on the CPU."""
        config = plugin.restore_config(spec.config)
        return TrainingJob(spec, self.faces, plugin.load(), config, folder, Resources(CPU, **resources))

    def build(self, plugin: Plugin, spec: RunSpec) -> Method:
        """The method of a run that has not begun."""
        return trainer.Trainer(self.job(plugin, spec, RunFolder(self.folder / f"{plugin.key}-built"))).method

    def images(self, count: int) -> Tensor:
        """Test images, normalised: [count, 3, H, W]."""
        rows = np.flatnonzero(self.faces.split == "test")[:count]
        return Views(Recipe(image_size=SIZE), torch.device("cpu")).plain(
            torch.from_numpy(self.faces.pixels(SIZE)[rows])
        )


def spied(method_class: type[Method], seen: list[Seen]) -> type[Method]:
    """The class, with what it is shown appended to ``seen[-1]``."""

    class Spied(method_class):  # type: ignore[misc, valid-type]
        def __init__(self, config: Any, task: Any) -> None:
            super().__init__(config, task)
            seen[-1].method = self

        def build(self, make_net: Callable[[str], Any]) -> None:
            def keep(role: str) -> Any:
                seen[-1].nets.append(make_net(role))
                return seen[-1].nets[-1]

            super().build(keep)

        def train_step(self, batch: Batch, run: Any) -> Any:
            if not seen[-1].start:
                seen[-1].start = {name: value.detach().clone() for name, value in self.named_parameters()}
            seen[-1].batches.append(batch)
            seen[-1].runs.append(run)
            return super().train_step(batch, run)

    return Spied


@contextmanager
def _posed(seen: list[Seen], relabel: Callable[[np.ndarray], np.ndarray] | None) -> Iterator[None]:
    """Keeps the problem that the engine poses, with other observed labels where ``relabel`` is given."""
    make_splits = trainer.make_splits

    def posed(*arguments: Any) -> Splits:
        problem = make_splits(*arguments)
        if relabel is not None:
            problem = replace(problem, noisy_label=relabel(problem.noisy_label))
        seen.append(Seen(None, problem=problem, given=problem.noisy_label.copy()))  # type: ignore[arg-type]
        return problem

    with mock.patch.object(trainer, "make_splits", posed):
        yield


def _owner(seen: Seen, parameter: Tensor) -> torch.nn.Module | None:
    return next((net for net in seen.nets if any(p is parameter for p in net.parameters())), None)
