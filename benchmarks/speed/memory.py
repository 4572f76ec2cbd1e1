"""Peak memory of a run with evaluation, against that of its floor, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.floor import CLASSES, Floor
from benchmarks.speed.training import Observed, random_faces, train_first_epoch
from fer_bench import metrics
from fer_bench.core.spec import Recipe
from fer_bench.data.dataset import Dataset
from fer_bench.engine.isolation import contained
from fer_bench.engine.memory import PeakMemory, keep_freed_memory

CPU = torch.device("cpu")


def measure(method: str, backbone: str, size: int, batch: int, images: int) -> dict[str, Any]:
    """Bytes resident at most, and how many times the cached images the run takes above its floor."""
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch, epochs=1)
    with tempfile.TemporaryDirectory() as name:
        faces = random_faces(Path(name), size, images, images // 3)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1, maxtasksperchild=1) as pool:
            run, passes, networks = pool.apply(_run, (method, recipe, faces, Path(name) / "run"))
            floor = pool.apply(_floor, (recipe, networks, passes))
        cached = faces.pixel_file(size).path.stat().st_size
    return {"run": run, "floor": floor, "cached": cached, "above_floor_per_cached": (run - floor) / cached}


def _import_what_both_need() -> None:
    keep_freed_memory()
    metrics.classification(torch.eye(CLASSES), torch.arange(CLASSES))


def _run(method: str, recipe: Recipe, faces: Dataset, folder: Path) -> tuple[int | None, tuple[int, int], int]:
    _import_what_both_need()
    with contained(recipe.threads):
        seen = Observed(method, recipe, faces, folder, with_floor=False)
        train_first_epoch(seen.trainer)
        return seen.trainer.memory.bytes, seen.passes, seen.networks


def _floor(recipe: Recipe, networks: int, passes: tuple[int, int]) -> int | None:
    _import_what_both_need()
    with contained(recipe.threads):
        memory = PeakMemory(CPU)
        step = Floor(recipe, networks, *passes)
        for _ in range(3):
            step()
        return memory.bytes
