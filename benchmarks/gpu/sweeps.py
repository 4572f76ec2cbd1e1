"""Sweeps for the check: the plan and the pool of `fer-bench run`, without its tables and plots."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.launch.devices import choose_devices
from fer_bench.launch.launcher import choose_launcher
from fer_bench.launch.work import Work
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import make_request

NO_TIME = -1000
"""Exit code of a sweep that was ended because its time was up."""


def train(out: Path, device: str, jobs: int, request: dict[str, Any]) -> None:
    """Trains a sweep in this process and its workers."""
    os.setsid()
    plan = make_plan(make_request(**request))
    out.mkdir(parents=True, exist_ok=True)
    choose_launcher().train(Work(plan, plan.runs, out, choose_devices(device, jobs, len(plan.runs))))


def train_apart(
    out: Path,
    device: str,
    jobs: int,
    request: dict[str, Any],
    limit: float,
    kill_when: Callable[[], bool] = lambda: False,
) -> int:
    """Trains a sweep in a process group of its own, and returns its exit code.

    The group is killed when ``kill_when()`` turns true, and after ``limit`` seconds (NO_TIME).
    """
    process = multiprocessing.get_context("spawn").Process(target=train, args=(out, device, jobs, request))
    process.start()
    assert process.pid is not None
    until = time.monotonic() + limit
    try:
        while process.exitcode is None:
            late = time.monotonic() > until
            if late or kill_when():
                return NO_TIME if late else -signal.SIGKILL
            process.join(0.05)
        return process.exitcode
    finally:
        _kill_group(process.pid)
        process.join()


def _kill_group(leader: int) -> None:
    """SIGKILL for a process and its workers, or for the process alone while it has no group of its own."""
    with suppress(ProcessLookupError):
        if os.getpgid(leader) == leader:
            os.killpg(leader, signal.SIGKILL)
        else:
            os.kill(leader, signal.SIGKILL)


def runs(out: Path) -> dict[str, RunFolder]:
    """The runs of a folder of results by their path in it."""
    return {
        str(path.parent.relative_to(out)): RunFolder(path.parent) for path in sorted(out.glob("runs/*/*/*/spec.json"))
    }


@dataclass(frozen=True)
class Pace:
    """How fast a sweep went.

    Attributes:
        runs: Finished runs.
        seconds: From the begin of the first run to the end of the last.
        busy: The share of that time in which a worker was at a run, over all workers.
    """

    runs: int
    seconds: float
    busy: float

    @property
    def per_hour(self) -> float:
        """Finished runs per hour."""
        return 3600 * self.runs / self.seconds


def pace(out: Path, workers: int) -> Pace:
    """The pace of a finished sweep, from the times of the first and the last file of each run.

    ValueError where no run has finished.
    """
    spans = [
        ((folder.path / "spec.json").stat().st_mtime, (folder.path / "final.json").stat().st_mtime)
        for folder in runs(out).values()
        if folder.final
    ]
    if not spans:
        raise ValueError(f"no run in {out} has finished")
    seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return Pace(len(spans), seconds, sum(end - begin for begin, end in spans) / (workers * seconds))
