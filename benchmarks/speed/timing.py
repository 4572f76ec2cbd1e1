"""Two clocks, and measurements that alternate, so that a busy machine slows all sides of a comparison alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Samples:
    """Durations of one repeated piece of work, in seconds: of the wall clock, and of this process on all its cores."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.add(time.perf_counter() - wall, time.process_time() - cpu)
        return result

    def add(self, wall: float, cpu: float) -> None:
        self.wall.append(wall)
        self.cpu.append(cpu)

    def summary(self, skip: int = 0) -> dict[str, float]:
        """Medians without the first ``skip`` samples, and how many there are."""
        return {"wall": median(self.wall[skip:]), "cpu": median(self.cpu[skip:]), "samples": len(self.cpu[skip:])}


def alternate(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Medians of each piece of work; every round does all of them once, and the first round does not count."""
    samples = {name: Samples() for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            samples[name].measure(work)
    return {name: sample.summary(skip=1) for name, sample in samples.items()}


def machine() -> dict[str, object]:
    """Where the figures are from, and how busy it was."""
    from fer_bench.engine.environment import describe

    about = describe("cpu")
    return {**{name: about[name] for name in ("device", "cores", "python", "packages")}, "load": os.getloadavg()[0]}
