"""What a run costs before its first step, and whether a large data set is left on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.speed.jobs import make_job
from fer_bench.core.spec import Recipe
from fer_bench.data.cache import PixelFile
from fer_bench.data.dataset import Dataset
from fer_bench.engine.isolation import contained
from fer_bench.engine.trainer import Trainer

PLUGIN = """
import os, time
import torch.nn.functional as F
from pathlib import Path
from fer_bench.method import Info, Method

class Clocked(Method):
    info = Info(title="Notes when it first steps", authors="", venue="", year=0, idea="", kind="baseline")

    def loss(self, batch, run):
        if not (run.epoch or run.step):
            Path(os.environ["FIRST_STEP"]).write_text(str(time.time()))
        return F.cross_entropy(self.net(batch.view()), batch.label)
"""


def first_step(repeats: int) -> dict[str, Any]:
    """Wall seconds from the start of ``fer-bench run`` to its worker's first step, with a warm cache: the median."""
    spent = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clocked.py").write_text(PLUGIN)
        command = [sys.executable, "-m", "fer_bench.cli.main", "run", "--methods", "clocked", "--plugins", str(folder)]
        command += ["--epochs", "1", "--train-size", "140", "--jobs", "1", "--force", "--out", str(folder / "out")]
        for _ in range(repeats + 1):  # the first one warms the cache
            started = time.time()
            environment = {**os.environ, "FIRST_STEP": str(folder / "first")}
            subprocess.run(command, env=environment, check=True, capture_output=True)
            spent.append(float((folder / "first").read_text()) - started)
    return {"wall": median(spent[1:]), "slowest": max(spent[1:]), "samples": repeats}


class Stepped(Exception):
    """The first step is over."""


def large_set(images: int, size: int) -> dict[str, Any]:
    """Wall seconds from a warm cache to the end of the first step of ``ce`` on ``images`` faces, and how much the
    process grew by it. The file of pixels is sparse: it holds zeros, and takes no room on the disk."""
    with tempfile.TemporaryDirectory() as name, contained(1):
        folder = Path(name)
        shape = (images, size, size, 3)
        np.lib.format.open_memmap(PixelFile(folder, images, size).path, mode="w+", dtype=np.uint8, shape=shape)
        split = np.where(np.arange(images) % 10 == 0, "test", "train")
        ids = np.array([f"{i:08d}" for i in range(images)])
        faces = Dataset(
            *("large", tuple("abcdefg"), ids, split, np.arange(images) % 7), fingerprint="0" * 64, folder=folder
        )
        recipe = Recipe(image_size=size, epochs=1)
        calls: list[float] = []

        def between_steps() -> bool:
            calls.append(time.perf_counter())
            if len(calls) == 2:
                raise Stepped
            return False

        before, started = _resident_bytes(), time.perf_counter()
        trainer = Trainer(make_job("ce", recipe, faces, folder / "run", between_steps))
        with suppress(Stepped):
            trainer.run()
        return {
            "wall": calls[1] - started,
            "grown_bytes": _resident_bytes() - before,
            "pixel_bytes": int(np.prod(shape)),
        }


def _resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
