"""Whole trainings of each method beside the floor of the passes that they make: warm-ups, later phases, passes over the
training set between epochs and mixture models included; evaluation left out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.floor import Floor
from benchmarks.speed.layers import Layers
from benchmarks.speed.timing import alternate
from benchmarks.speed.training import random_faces
from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.engine.isolation import contained
from fer_bench.engine.job import Resources, TrainingJob
from fer_bench.engine.trainer import Trainer
from fer_bench.plugins.registry import describe_config, discover
from fer_bench.store.folder import RunFolder

EPOCHS = 4
COUNTED = 640
"""Training images of the run whose layers are counted."""


class Trained(NamedTuple):
    """What a training took without its evaluation, in seconds of processor time, and the passes that it made."""

    seconds: float
    forward: int
    """Images forward through a network."""
    backward: int
    """Images forward and backward."""
    twice: int
    """Steps that differentiated a gradient."""


def measure(method: str, backbone: str, size: int, batch: int, images: int, repeats: int) -> dict[str, Any]:
    """Processor time of a training of ``images`` images for EPOCHS epochs, at 40 % symmetric noise, over its floor.

    ``passes`` are images forward and backward for each training image and epoch. ``work`` is what the method must do as
    a multiple of the floor, the larger of two low estimates: its floating-point operations, which leave out layers that
    only move numbers; and the time of its layers and of gradients of gradients, measured alone.
    """
    recipe = Recipe(backbone=backbone, image_size=size, batch_size=batch, epochs=EPOCHS, schedule="cosine")
    with contained(recipe.threads):
        forward, both = Floor(recipe, 1, 1, 0), Floor(recipe, 1, 1, 1)
        pieces = {"forward": forward, "both": both, "twice": both.differentiated_twice}
        before = alternate(pieces, repeats)
        trained = _train(method, recipe, images)
        after = alternate(pieces, repeats)
        operations, layers = _own(method, recipe, {"forward": forward, "both": both}, repeats)
    bare = {name: (before[name]["cpu"] + after[name]["cpu"]) / 2 for name in pieces}
    floor = _total(trained, bare, batch)
    work = max(operations, layers + trained.twice * (bare["twice"] - bare["both"]) / floor)
    passes = [count / (images * EPOCHS) for count in (trained.forward, trained.backward)]
    return {"passes": passes, "train": trained.seconds, "floor": floor, "work": work, "ratio": trained.seconds / floor}


def _total(trained: Trained, pieces: dict[str, float], batch: int) -> float:
    """The floor of a training: what a batch takes in each piece, times the number of batches."""
    forward, backward = trained.forward - trained.backward, trained.backward
    return (forward * pieces["forward"] + backward * pieces["both"]) / batch


def _own(method: str, recipe: Recipe, pieces: dict[str, Callable[[], None]], repeats: int) -> tuple[float, float]:
    """The floating-point operations of a training, and the bare time of its layers, over those of its floor."""
    layers, evaluated = Layers(), 0

    @contextmanager
    def evaluating() -> Iterator[None]:
        nonlocal evaluated
        before = counter.get_total_flops()
        with layers.paused():
            yield
        evaluated += counter.get_total_flops() - before

    with FlopCounterMode(display=False) as counter, layers.counting() as called:
        trained = _train(method, recipe, COUNTED, evaluating)
    operations, bare = {}, {}
    for name, piece in pieces.items():
        with FlopCounterMode(display=False) as alone, layers.counting() as counts:
            piece()
        operations[name], bare[name] = alone.get_total_flops(), layers.seconds(counts, repeats)
    by_operations = (counter.get_total_flops() - evaluated) / _total(trained, operations, recipe.batch_size)
    return by_operations, layers.seconds(called, repeats) / _total(trained, bare, recipe.batch_size)


def _train(
    method: str, recipe: Recipe, images: int, evaluating: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Trained:
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
            before = time.process_time()
            with evaluating():
                result = part()
            evaluated.append(time.process_time() - before)
            return result

        for part in ("after_epoch", "at_end"):
            setattr(trainer.evaluator, part, partial(without, getattr(trainer.evaluator, part)))
        before = time.process_time()
        with mock.patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as gradients:
            trainer.run()
        seconds = time.process_time() - before - sum(evaluated)
        twice = sum(bool(call.kwargs.get("create_graph")) for call in gradients.call_args_list)
        return Trained(seconds, trainer.cost.forward, trainer.cost.backward, twice)
