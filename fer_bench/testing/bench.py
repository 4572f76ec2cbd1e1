"""A small problem on which a plugin is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.data.cache import PixelFile
from fer_bench.data.dataset import Dataset
from fer_bench.data.splits import Splits, make_splits
from fer_bench.engine.augment import Views
from fer_bench.engine.job import Resources, TrainingJob
from fer_bench.engine.trainer import Trainer, train
from fer_bench.method import Batch, Method
from fer_bench.plugins.registry import Plugin, describe_config
from fer_bench.store.folder import RunFolder

CPU = torch.device("cpu")

CLASSES = ("anger", "happiness", "neutral", "surprise")

SIZE = 32

PER_CLASS = {"train": 16, "val": 3, "test": 10}


@dataclass
class Seen:
    """What a training run showed to the method, and the method.

    Attributes:
        splits: The images and labels of the run.
        noisy_label: int64 [N], the labels of the training images, copied before training.
        method: The method; set when it is made.
        nets: The networks that it made, in order.
        batches: The batches of its training steps, in order.
        runs: The context of each step.
        start: Its parameters before the first step, by name.
    """

    splits: Splits
    noisy_label: np.ndarray
    method: Method = field(init=False)
    nets: list[torch.nn.Module] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    start: dict[str, Tensor] = field(default_factory=dict)

    def network_of(self, parameter: Tensor) -> torch.nn.Module | None:
        """The network that a parameter belongs to; None where it belongs to none of ``nets``."""
        return next((net for net in self.nets if any(p is parameter for p in net.parameters())), None)


class Bench:
    """Four classes that the engine learns in a fraction of a second, and runs on them, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trained: dict[tuple[Path, str], tuple[RunFolder, Seen]] = {}

    @cached_property
    def dataset(self) -> Dataset:
        """Noise with one bright band, whose height and colour tell the class, so that mirrors keep their class."""
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
        """A run of the problem.

        Args:
            plugin: The method.
            noise: Rate of symmetric noise; 0 for clean labels.
            factor: Imbalance; 1 for none.
            epochs: Of the recipe.
            settings: Of the method's Config.
            recipe: Other settings of the recipe.
        """
        config = plugin.configure(self.dataset.name, "clean", settings)
        full = {"image_size": SIZE, "batch_size": 16, "lr": 2e-3, "schedule": "cosine", "epochs": epochs, **recipe}
        return RunSpec(
            self.dataset.name, self.dataset.fingerprint, plugin.key, plugin.code, describe_config(config),
            noise=Noise("symmetric", noise) if noise else Noise("none"),
            imbalance=Imbalance("exp", factor), recipe=Recipe(**full),
        )  # fmt: skip

    def job(self, plugin: Plugin, spec: RunSpec, folder: RunFolder, **resources: Any) -> TrainingJob:
        """The training of ``spec`` on the CPU; ``resources`` as for ``fer_bench.engine.job.Resources``."""
        config = plugin.restore_config(spec.config)
        return TrainingJob(spec, self.dataset, plugin.load(), config, folder, Resources(CPU, **resources))

    def train(
        self,
        plugin: Plugin,
        spec: RunSpec,
        name: str = "run",
        stopping: Callable[[RunFolder], bool] = lambda folder: False,
        change_splits: Callable[[Splits], Splits] = lambda splits: splits,
    ) -> tuple[RunFolder, Seen]:
        """Trains ``spec`` in the folder ``name``, from where that folder stopped.

        Args:
            plugin: The method.
            spec: The run.
            name: Part of the folder's name.
            stopping: Asked before each step with the folder.
            change_splits: Changes the labels before training.
        """
        folder = RunFolder(self.folder / f"{plugin.key}-{spec.key}-{name}")
        splits = change_splits(make_splits(self.dataset, spec))
        seen = Seen(splits, splits.noisy_label.copy())
        job = self.job(plugin, spec, folder)
        job = replace(job, method_class=watched(job.method_class, seen), stopping=lambda: stopping(folder))
        with folder.claim():
            folder.start(spec, {})
            train(job, splits)
        return folder, seen

    def trained(
        self, plugin: Plugin, noise: float = 0.3, factor: float = 1.0, epochs: int = 2
    ) -> tuple[RunFolder, Seen]:
        """A finished run, trained once for all checks of a plugin. Runs of other plugins are forgotten."""
        spec = self.spec(plugin, noise, factor, epochs)
        key = plugin.path, spec.key
        if key not in self._trained:
            self._trained = {known: run for known, run in self._trained.items() if known[0] == plugin.path}
            self._trained[key] = self.train(plugin, spec, "shared")
        return self._trained[key]

    def build(self, plugin: Plugin, spec: RunSpec) -> Method:
        """The method of a run that has not begun."""
        return Trainer(self.job(plugin, spec, RunFolder(self.folder / f"{plugin.key}-built"))).method

    def images(self, count: int) -> Tensor:
        """Test images, normalised: float32 [count, 3, H, W]."""
        rows = np.flatnonzero(self.dataset.split == "test")[:count]
        pixels = torch.from_numpy(self.dataset.pixels(SIZE)[rows])
        return Views(Recipe(image_size=SIZE), CPU).plain(pixels)


def relabelled(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Splits], Splits]:
    """A change of splits that gives the training images other noisy labels, int64 [N] from those that they have."""
    return lambda splits: replace(splits, noisy_label=change(splits.noisy_label))


def watched(method_class: type[Method], seen: Seen) -> type[Method]:
    """The class, with what it is shown kept in ``seen``."""

    class Watched(method_class):  # type: ignore[misc, valid-type]
        def __init__(self, config: Any, task: Any) -> None:
            super().__init__(config, task)
            seen.method = self

        def build(self, make_net: Callable[[str], Any]) -> None:
            def keep(role: str) -> Any:
                seen.nets.append(make_net(role))
                return seen.nets[-1]

            super().build(keep)

        def train_step(self, batch: Batch, run: Any) -> Any:
            if not seen.start:
                seen.start.update({name: value.detach().clone() for name, value in self.named_parameters()})
            seen.batches.append(batch)
            seen.runs.append(run)
            return super().train_step(batch, run)

    return Watched
