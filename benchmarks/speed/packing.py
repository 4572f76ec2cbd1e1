"""Two processes of one thread against one of two threads on the same two cores: training steps per second in all."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import torch

from benchmarks.speed.floor import Floor
from fer_bench.core.spec import Recipe
from fer_bench.engine.memory import keep_freed_memory


def measure(backbone: str, size: int, batch: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Images per second of all processes together, by processes and threads: the best of ``rounds`` rounds."""
    found: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch)
    for _ in range(rounds):
        for processes, threads in ((1, 1), (1, 2), (2, 1)):
            barrier = context.Barrier(processes)
            with context.Pool(processes, _prepare, (barrier,)) as pool:
                rates = pool.starmap(_rate, [(recipe, threads, seconds)] * processes, chunksize=1)
            name = f"{processes} x {threads} threads"
            found[name] = max(found.get(name, 0.0), sum(rates))
    return {"images_per_second": found, "gain": found["2 x 1 threads"] / found["1 x 2 threads"]}


def _prepare(barrier: Any) -> None:
    global _together
    _together = barrier


def _rate(recipe: Recipe, threads: int, seconds: float) -> float:
    torch.set_num_threads(threads)
    keep_freed_memory()
    step = Floor(recipe, networks=1, forwards=1, backwards=1)
    step()
    _together.wait()
    started, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or not steps:
        step()
        steps += 1
    return steps * recipe.batch_size / spent
