"""Whole trainings of each method beside the floor of the passes that they make: warm-ups, later phases, passes over the
training set between epochs and mixture models included; evaluation left out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.floor import Floor
from benchmarks.speed.timing import alternate
from benchmarks.speed.training import random_faces
from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.engine.isolation import contained
from fer_bench.engine.job import Resources, TrainingJob
from fer_bench.engine.trainer import Trainer
from fer_bench.plugins.registry import describe_config, discover
from fer_bench.store.folder import RunFolder

Clock = Callable[[], float]

EPOCHS = 4
COUNTED = 640
"""Training images of the run whose floating-point operations are counted. Counting them takes time."""


def measure(method: str, backbone: str, size: int, batch: int, images: int, repeats: int) -> dict[str, Any]:
    """Processor time of a training of ``images`` images for EPOCHS epochs, at 40 % symmetric noise, over its floor.

    ``passes`` are images forward and backward for each training image and epoch. ``work`` is the ratio of the
    floating-point operations of the training to those of the floor: what it is above 1, layers of the method's own do.
    """
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch, epochs=EPOCHS, schedule="cosine")
    with contained(recipe.threads):
        forward, both = Floor(recipe, 1, 1, 0), Floor(recipe, 1, 1, 1)
        before = alternate({"forward": forward, "both": both}, repeats)
        trained, cost = _train(method, recipe, images, time.process_time)
        after = alternate({"forward": forward, "both": both}, repeats)
        with FlopCounterMode(display=False) as counter:
            worked, counted = _train(method, recipe, COUNTED, counter.get_total_flops)
            operations = {
                name: _difference(counter.get_total_flops, floor)
                for name, floor in (("forward", forward), ("both", both))
            }
    floor = _total(cost, {name: (before[name]["cpu"] + after[name]["cpu"]) / 2 for name in before}, batch)
    work = worked / _total(counted, operations, batch)
    passes = [count / (images * EPOCHS) for count in cost]
    return {"passes": passes, "train": trained, "floor": floor, "work": work, "ratio": trained / floor}


def _total(cost: tuple[int, int], pieces: dict[str, float], batch: int) -> float:
    """The floor of images forward and backward: what a batch takes in each piece, times the number of batches."""
    forward, backward = cost
    return ((forward - backward) * pieces["forward"] + backward * pieces["both"]) / batch


def _difference(clock: Clock, work: Callable[[], object]) -> float:
    """What a clock, or another counter, moves on during some work."""
    before = clock()
    work()
    return clock() - before


def _train(method: str, recipe: Recipe, images: int, clock: Clock) -> tuple[float, tuple[int, int]]:
    """What a training takes without its evaluation, by a clock, and the images forward and backward."""
    plugin = discover()[method]
    with tempfile.TemporaryDirectory() as name:
        faces = random_faces(Path(name), recipe.image_size, images, held_out=56)
        config = plugin.configure(faces.name, "symmetric 0.4", {})
        spec = RunSpec(
            *(faces.name, faces.fingerprint, method, plugin.code, describe_config(config)),
            **{"noise": Noise("symmetric", 0.4), "recipe": recipe},
        )
        folder = RunFolder(Path(name) / "run")
        trainer = Trainer(TrainingJob(spec, faces, plugin.load(), config, folder, Resources(torch.device("cpu"))))
        evaluated = []

        def without(part: Callable[[], Any]) -> Any:
            before = clock()
            result = part()
            evaluated.append(clock() - before)
            return result

        for part in ("after_epoch", "at_end"):
            setattr(trainer.evaluator, part, partial(without, getattr(trainer.evaluator, part)))
        return _difference(clock, trainer.run) - sum(evaluated), (trainer.cost.forward, trainer.cost.backward)
