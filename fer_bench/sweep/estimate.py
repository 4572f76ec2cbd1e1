"""How long a sweep will take: from earlier runs of the same recipe, or from a short measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fer_bench.core.errors import UnreadableRun
from fer_bench.core.spec import Recipe
from fer_bench.models.networks import MakeOwn, make_network
from fer_bench.models.precision import Precision
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import read_record
from fer_bench.sweep.plan import PlannedRun

ALIKE = ("backbone", "image_size", "batch_size", "threads", "precision", "compile")
"""Settings of the recipe that decide the speed of a run."""

RECENT = 20
"""Finished runs that are looked at, the newest ones."""

MEASURED = 0.4
"""Seconds of a measurement, and at most STEPS training steps."""

STEPS = 20


def estimate(todo: list[PlannedRun], out: Path, devices: list[str]) -> float:
    """Seconds that runs will take.

    Args:
        todo: The runs.
        out: Folder of the results, for earlier runs.
        devices: A device for each worker.
    """
    if not todo:
        return 0.0
    costs: dict[tuple[object, ...], float] = {}
    examples: dict[tuple[object, ...], PlannedRun] = {}
    for run in todo:
        speed = tuple(getattr(run.spec.recipe, name) for name in ALIKE)
        examples[speed] = run
        costs[speed] = costs.get(speed, 0) + run.cost
    rates = {
        speed: images_per_second(run.spec.recipe, out, devices[0], _measure(run)) for speed, run in examples.items()
    }
    return sum(cost / rates[speed] for speed, cost in costs.items()) / len(devices)


def images_per_second(recipe: Recipe, out: Path, device: str, measure: Callable[[Recipe, str], float]) -> float:
    """Images that one worker trains in a second: from finished runs of the recipe, else what ``measure`` returns."""
    images = seconds = 0.0
    for path in sorted((out / "runs").glob("*/*/*/final.json"), key=lambda p: -p.stat().st_mtime)[:RECENT]:
        try:
            record = read_record(RunFolder(path.parent))
        except UnreadableRun:
            continue
        if all(record.spec["recipe"].get(name) == getattr(recipe, name) for name in ALIKE):
            images += record.final["images_forward"]
            seconds += record.final["seconds"]
    return images / seconds if seconds else measure(recipe, device)


def _measure(run: PlannedRun) -> Callable[[Recipe, str], float]:
    return partial(measure_speed, own=run.backbone.load()) if run.backbone else measure_speed


def measure_speed(recipe: Recipe, device: str, own: MakeOwn | None = None) -> float:
    """Images that one worker trains in a second: a few forward and backward passes of the backbone on random images.

    Without an optimizer: it takes little of a step, and its first use imports torch's compiler for a second or two.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        net = make_network(recipe.backbone, 7, seed=0, role="speed", pretrained="", weights=None, own=own)
        net = net.to(device).train()
        precision = Precision(replace(recipe, compile=False), torch.device(device))  # compiling takes longer
        precision.adapt(net)
        precision.active = True
        size = (recipe.batch_size, 3, recipe.image_size, recipe.image_size)
        images = torch.randn(size, device=device).contiguous(memory_format=torch.channels_last)
        spent: list[float] = []
        while len(spent) < 2 or (sum(spent) < MEASURED and len(spent) < STEPS):
            started = time.perf_counter()
            net(images).square().mean().backward()
            net.zero_grad()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            spent.append(time.perf_counter() - started)
        return recipe.batch_size * (len(spent) - 1) / sum(spent[1:])
    finally:
        torch.set_num_threads(threads)
