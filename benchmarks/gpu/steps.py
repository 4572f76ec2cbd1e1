"""A training step beside its floor on the device: images per second, share of the device's bf16 peak, memory.

Unlike on a CPU, steps are not timed one by one: the CPU runs ahead of a GPU, and a wait after each step would forbid
it. A row of steps of the harness is timed, and then a row of steps of the floor.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.findings import Part
from benchmarks.speed.floor import Floor
from benchmarks.speed.jobs import make_job
from benchmarks.speed.training import random_faces
from fer_bench.core.spec import Recipe
from fer_bench.data.dataset import Dataset
from fer_bench.engine.isolation import contained
from fer_bench.engine.trainer import Trainer

METHODS = ("ce", "nla", "eac", "coteaching", "dividemix")
SETTINGS: dict[str, dict[str, Any]] = {"dividemix": {"warmup": 0.5}}
"""The second of two epochs is measured; DivideMix's warm-up is then over."""
NETWORKS = (("ferres8", 48, 64, 40), ("resnet18", 112, 64, 25), ("resnet18", 224, 32, 20))
"""Network, pixels, images of a batch (as in the recipes quick, standard and paper), and steps."""
SMALL = (("ferres8", 32, 16, 6), ("resnet18", 32, 8, 3))
WARM_UP = 5
"""Steps that are not measured, of the second epoch and of the floor."""


def measure(part: Part) -> None:
    """All cells: first those without a compiler, which takes up to a minute for each."""
    peak = bf16_peak(part.device, 512 if part.small else 8192)
    part.found("bf16 peak", tflops=peak / 1e12)
    networks, methods = (SMALL, METHODS[:2]) if part.small else (NETWORKS, METHODS)
    for compiled, method in product((False, True), methods) if not part.small else [(False, m) for m in methods]:
        for (backbone, size, batch, steps), precision in product(networks, ("float32", "bf16")):
            cell = {"method": method, "backbone": backbone, "size": size, "batch": batch, "precision": precision}
            cell["compile"] = compiled
            if not part.enough_time(f"step of {method}, {backbone}, {size} px, {precision}, compiled: {compiled}"):
                return
            recipe = Recipe(
                backbone=backbone, image_size=size, batch_size=batch, epochs=2, precision=precision, compile=compiled
            )  # type: ignore[arg-type]
            with part.failures_found("step", **cell):
                part.found("step", **cell, **_cell(method, recipe, steps, part.device, peak))


def _cell(method: str, recipe: Recipe, steps: int, device: str, peak: float) -> dict[str, Any]:
    _forget(device)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, contained(recipe.threads):
        faces = random_faces(Path(name), recipe.image_size, recipe.batch_size * (steps + WARM_UP), held_out=14)
        row = Row(method, recipe, faces, Path(name) / "run", device)
    memory = torch.cuda.max_memory_allocated(device) if device != "cpu" else None
    networks, needed = row.networks, row.seconds
    del row.trainer
    _forget(device)
    floor = _floor_seconds(Floor(recipe, networks, *row.passes, device=device), steps, device)
    step = needed / row.steps
    return {
        "passes": row.passes,
        "step_ms": 1000 * step,
        "floor_ms": 1000 * floor,
        "over_floor": step / floor,
        "images_per_second": recipe.batch_size / step,
        "share_of_peak": recipe.batch_size * operations(recipe, *row.passes) / step / peak,
        "memory": memory,
        "took": time.perf_counter() - began,
    }


class Row:
    """Steps of the second epoch of a run, timed together; ``passes`` as the run counted them."""

    def __init__(self, method: str, recipe: Recipe, faces: Dataset, folder: Path, device: str) -> None:
        self._device, self._asked, self._began = device, 0, 0.0
        job = make_job(method, recipe, faces, folder, self._between_steps, device, SETTINGS.get(method))
        self.trainer = Trainer(job)
        self.networks, self.steps, self.seconds, self.passes = self.trainer.needs.networks, 0, 0.0, (1, 1)
        on_epoch_end = self.trainer.method.on_epoch_end
        self.trainer.method.on_epoch_end = lambda context: (self._end(), on_epoch_end(context))[1]
        self.trainer.begin_stage(span := self.trainer.spans[0])
        for epoch in range(2):
            self._asked = 0
            self.trainer.train_epoch(span, epoch)

    def _between_steps(self) -> bool:
        self._asked += 1
        if self._asked == WARM_UP + 1:
            cost = self.trainer.cost
            self._counted = cost.forward, cost.backward
            synchronize(self._device)
            self._began = time.perf_counter()
        return False

    def _end(self) -> None:
        synchronize(self._device)
        self.seconds = time.perf_counter() - self._began
        self.steps = self._asked - WARM_UP
        cost, images = self.trainer.cost, self.steps * self.trainer.recipe.batch_size
        self.passes = tuple(  # type: ignore[assignment]
            round((now - before) / images)
            for now, before in zip((cost.forward, cost.backward), self._counted, strict=True)
        )


def _floor_seconds(floor: Floor, steps: int, device: str) -> float:
    """Seconds of a step of the floor: the median of three rows of steps."""
    for _ in range(WARM_UP):
        floor()
    return median(_timed_rows(floor, steps, device))


def _timed_rows(floor: Floor, steps: int, device: str) -> Iterator[float]:
    for _ in range(3):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(steps):
            floor()
        synchronize(device)
        yield (time.perf_counter() - began) / steps


@cache
def _counted(backbone: str, size: int) -> tuple[float, float]:
    """Operations of the convolutions and matrix products of one image: of a forward pass, and of a training step."""
    small = Recipe(backbone=backbone, image_size=size, batch_size=2)
    found = []
    for forwards, backwards in ((1, 0), (1, 1)):
        floor = Floor(small, 1, forwards, backwards)
        with FlopCounterMode(display=False) as counter:
            floor()
        found.append(counter.get_total_flops() / small.batch_size)
    return found[0], found[1]


def operations(recipe: Recipe, forwards: int, backwards: int) -> float:
    """Operations of a step for one image of its batch."""
    forward, both = _counted(recipe.backbone, recipe.image_size)
    return backwards * both + max(0, forwards - backwards) * forward


def bf16_peak(device: str, side: int) -> float:
    """Operations per second of a product of two bf16 matrices of random numbers: what the device can do."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    spent = []
    for _ in range(8):
        synchronize(device)
        began = time.perf_counter()
        a @ b
        synchronize(device)
        spent.append(time.perf_counter() - began)
    return 2 * side**3 / median(spent[3:])


def synchronize(device: str) -> None:
    """Waits until a GPU has done what it was asked."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def _forget(device: str) -> None:
    """Frees what earlier cells hold, and starts the peak of memory anew."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
