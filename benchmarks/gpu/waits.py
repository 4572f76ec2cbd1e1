"""Watches steps of every method: places where the CPU waits for the device, and operations that have no deterministic
form there."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.findings import Part
from benchmarks.speed.jobs import make_job
from benchmarks.speed.training import random_faces
from fer_bench.core.spec import Recipe
from fer_bench.engine import trainer as training
from fer_bench.engine.isolation import contained

WAITS = "called a synchronizing CUDA operation"
NO_FORM = "does not have a deterministic implementation"
ROOT = Path(__file__).parents[2]
ASK = ("_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "bincount")
"""Operations whose result the CPU needs: for a rehearsal, in which nothing can be waited for."""

INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


def watch_steps(part: Part, methods: list[str]) -> None:
    """Trains two epochs of each method on a few random images, with PyTorch's two debugging modes."""
    batch, size = (16, 32) if part.small else (64, 48)
    with tempfile.TemporaryDirectory() as name, contained(1):
        faces = random_faces(Path(name), size, train=4 * batch, held_out=14)
        recipe = Recipe(image_size=size, batch_size=batch, epochs=2)
        for method in methods:
            if not part.enough_time(f"host-device synchronisation of {method}"):
                return
            with part.failures_found("waits", method=method):
                watch = Watch(torch.device(part.device))
                watch.train(make_job(method, recipe, faces, Path(name) / method, watch.begin_step, part.device))
                part.found("waits", method=method, places=dict(watch.waits), no_deterministic_form=dict(watch.no_form))


class Watch:
    """Collects by place in our code or the methods' what PyTorch warns of within steps."""

    def __init__(self, device: torch.device) -> None:
        self.waits: Counter[str] = Counter()
        self.no_form: Counter[str] = Counter()
        self._gpu = device.type == "cuda"
        self._in_step = False

    def train(self, job: Any) -> None:
        """Trains a run and watches its steps; what is between epochs may wait."""
        before, training.REPORT_EVERY = training.REPORT_EVERY, float("inf")  # the line of progress waits, by design
        try:
            with self._warned():
                run = training.Trainer(job)
                on_epoch_end = run.method.on_epoch_end
                run.method.on_epoch_end = lambda context: (self._end_steps(), on_epoch_end(context))[1]
                run.run()
        finally:
            training.REPORT_EVERY = before
            self._end_steps()

    def begin_step(self) -> bool:
        """What a run asks before each step; it goes on."""
        self._in_step = True
        if self._gpu:
            torch.cuda.set_sync_debug_mode("warn")
            torch.use_deterministic_algorithms(True, warn_only=True)
        return False

    def _end_steps(self) -> None:
        self._in_step = False
        if self._gpu:
            torch.cuda.set_sync_debug_mode("default")
            torch.use_deterministic_algorithms(False)

    @contextmanager
    def _warned(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._take
            if self._gpu:
                yield
            else:
                with Asked(self):
                    yield

    def _take(self, message: Warning | str, *_: Any, **__: Any) -> None:
        text = str(message)
        if WAITS in text:
            self.waits[place()] += 1
        elif NO_FORM in text:
            self.no_form[f"{text.split()[0]} at {place()}"] += 1

    def ask(self, operation: str) -> None:
        """Counts an operation that would make the CPU wait."""
        if self._in_step:
            self.waits[f"{operation} at {place()}"] += 1


class Asked(TorchDispatchMode):  # type: ignore[misc]
    """Tells a watch of operations in ASK, and of indices that are masks."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        if name in ASK:
            self._watch.ask(name)
        elif name in INDEXED and any(isinstance(each, Tensor) and each.dtype == torch.bool for each in arguments[1]):
            self._watch.ask("mask as index")
        return operation(*arguments, **(options or {}))


def place() -> str:
    """The innermost line of fer-bench or of a method on the stack, as "methods/ce.py:28"."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename).resolve()
        ours = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if ours.parts[0] in ("fer_bench", "methods"):  # an environment may lie in the checkout, too
            return f"{ours}:{frame.lineno}"
    return "elsewhere"
