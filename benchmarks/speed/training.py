"""The harness's training step and evaluation, as a run does them, beside the floor of the same passes.

A run asks whether it is to stop before every step. The floor is measured there, so the two alternate step by step and
nothing of the harness is left out: order, gather, views, method, optimizer, counters and the sums of the log.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.speed.floor import CLASSES, Floor
from benchmarks.speed.jobs import make_job
from benchmarks.speed.timing import Samples
from fer_bench.core.spec import Recipe
from fer_bench.data.cache import PixelFile
from fer_bench.data.dataset import Dataset
from fer_bench.engine.isolation import contained
from fer_bench.engine.trainer import Trainer

QUICK_SPLIT = {"train": 2700, "evaluated": 2300}
"""Images of an epoch of the embedded data set: trained on; evaluated (1,000 test, 300 validation, 1,000 probe)."""
WARM_UP = 2
LANDMARKS = 19


def random_faces(folder: Path, size: int, train: int, held_out: int) -> Dataset:
    """Random pixels in the layout of the cache, memory-mapped: ``train`` training, ``held_out`` test and as many
    validation images."""
    count = train + 2 * held_out
    rng = np.random.default_rng(0)
    np.save(PixelFile(folder, count, size).path, rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    split = np.array(["train"] * train + ["val"] * held_out + ["test"] * held_out)
    return Dataset(
        name="random",
        classes=tuple("abcdefg"),
        fingerprint="0" * 64,
        ids=np.array([f"{i:08d}" for i in range(count)]),
        split=split,
        label=np.arange(count) % CLASSES,
        folder=folder,
        landmarks=rng.random((count, LANDMARKS, 2)).astype(np.float32),
        landmarks_ok=np.ones(count, dtype=bool),
    )


class Observed:
    """Trains one epoch of a method and holds what it cost; fields are samples of one batch or of one evaluation."""

    def __init__(self, method: str, recipe: Recipe, faces: Dataset, folder: Path, with_floor: bool = True) -> None:
        self.step, self.floor, self.evaluation, self.views = Samples(), Samples(), Samples(), Samples()
        self._before: tuple[float, float] | None = None
        self._in_views = [0.0, 0.0]
        self._floor: Callable[[], None] | None = None
        self._with_floor = with_floor
        self.batch = recipe.batch_size
        self.trainer = Trainer(make_job(method, recipe, faces, folder, self._between_steps))
        self.recipe, self.networks = recipe, self.trainer.needs.networks
        self.passes = (1, 1)
        self._watch_views()
        evaluator, evaluate = self.trainer.evaluator, self.trainer.evaluator.after_epoch
        evaluator.after_epoch = lambda: self.evaluation.measure(evaluate)  # type: ignore[method-assign]

    def _between_steps(self) -> bool:
        now = time.perf_counter(), time.process_time()
        if self._before is not None:
            self.step.add(now[0] - self._before[0], now[1] - self._before[1])
            self.views.add(*self._in_views)
            if self._floor is None:
                cost = self.trainer.cost
                self.passes = round(cost.forward / self.batch), round(cost.backward / self.batch)
                self._floor = Floor(self.recipe, self.networks, *self.passes) if self._with_floor else lambda: None
                self._floor()
            self.floor.measure(self._floor)
        self._in_views[:] = 0.0, 0.0
        self._before = time.perf_counter(), time.process_time()
        return False

    def _watch_views(self) -> None:
        """Sums the time of a step that goes into gathering its images and making its views."""

        def timed(work: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                wall, cpu = time.perf_counter(), time.process_time()
                result = work(*arguments)
                self._in_views[0] += time.perf_counter() - wall
                self._in_views[1] += time.process_time() - cpu
                return result

            return run

        source = self.trainer.source
        inside = source.views.batch

        def batch(images: Tensor, *seed: int | str) -> tuple[Callable[[str], Tensor], Tensor]:
            make, flipped = inside(images, *seed)
            return timed(make), flipped

        source.views.batch = batch  # type: ignore[method-assign]
        source.training_batch = timed(source.training_batch)  # type: ignore[method-assign]


def measure(method: str, backbone: str, size: int, batch: int, steps: int) -> dict[str, Any]:
    """One cell of the table: seconds of a step, of its floor, of its views and of the evaluation, and their ratios."""
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch, epochs=1)
    held_out = 2 * CLASSES * (4 if size < 100 else 1)
    with tempfile.TemporaryDirectory() as name, contained(recipe.threads):
        faces = random_faces(Path(name), size, train=batch * (steps + WARM_UP), held_out=held_out)
        seen = Observed(method, recipe, faces, Path(name) / "run")
        train_first_epoch(seen.trainer)
        seen.trainer.evaluator.after_epoch()  # again: the first evaluation of a process imports what it needs
        evaluated = 2 * held_out + len(seen.trainer.evaluator.probe)
    figures = {
        "step": seen.step.summary(WARM_UP),
        "floor": seen.floor.summary(WARM_UP),
        "views": seen.views.summary(WARM_UP),
        "evaluation": seen.evaluation.summary(1),
    }
    ratios = {}
    for clock in ("cpu", "wall"):
        step, floor, views, evaluation = (figures[name][clock] for name in figures)
        share = (evaluation / evaluated * QUICK_SPLIT["evaluated"]) / (step / batch * QUICK_SPLIT["train"])
        ratios[clock] = {"step": step / floor, "views": views / floor, "evaluation": share}
    return {"passes": seen.passes, "networks": seen.networks, **figures, "ratios": ratios}


def train_first_epoch(trainer: Trainer) -> None:
    """Trains the first epoch of a run, with its evaluation."""
    span = trainer.spans[0]
    trainer.begin_stage(span)
    trainer.train_epoch(span, span.first)
