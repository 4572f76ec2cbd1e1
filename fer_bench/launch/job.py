"""One run for a worker on any machine that sees the folder of results and the data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import RunSpec
from fer_bench.launch.worker import Event, train_one
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.request import Request

AGAIN = 5.0
"""Seconds between two tries to claim a run that another process holds."""


@dataclass(frozen=True)
class Job:
    """What a worker is told: plain values, and no data. It plans the run again from the request, opens the data by the
    request's own words, and trains only what has the key that was asked for.

    home         the folder that relative paths of the request start from
    environment  the variables of fer-bench (data root, cache, plugins) where the sweep was started
    """

    request: Request
    spec: RunSpec
    keep_networks: bool
    out: Path
    device: str
    home: Path
    environment: dict[str, str]

    def train(self, stopping: Callable[[], bool]) -> Event:
        """Trains the run and says how it ended, as :func:`fer_bench.launch.worker.train_one` does, but waits for a run
        that another process holds. What keeps it from starting is stored as the run's failure."""
        folder = RunFolder.of(self.out, self.spec)
        try:
            os.chdir(self.home)
            os.environ.update(self.environment)
            planned = make_plan(self.request)
            run = replace(self._mine(planned), keep_networks=self.keep_networks)
        except Exception as error:
            message = f"the worker cannot start the run: {type(error).__name__}: {error}"
            fail(folder, message)
            return {"state": "failed", "error": message}
        while not stopping():
            event = train_one(planned, run, self.out, self.device, False, stopping, lambda event: None)
            if event["state"] != "busy":
                return event
            time.sleep(AGAIN)
        return {"state": "stopped"}

    def _mine(self, planned: Plan) -> PlannedRun:
        for run in planned.runs:
            if run.spec.key == self.spec.key:
                return run
        if planned.skipped:
            raise SpecError(planned.skipped[0])
        other = planned.runs[0].spec
        names = [field.name for field in fields(other) if getattr(other, field.name) != getattr(self.spec, field.name)]
        raise SpecError(f"here it would be another run: {', '.join(names)} differ from where the sweep was started")


def jobs(plan: Plan, todo: list[PlannedRun], out: Path, device: str) -> list[Job]:
    """A job for each run, in the order of ``todo``."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("FER_BENCH_")}
    return [
        Job(alone(plan.request, run.spec), run.spec, run.keep_networks, out.resolve(), device, Path.cwd(), environment)
        for run in todo
    ]


def alone(request: Request, spec: RunSpec) -> Request:
    """The request for one run of those that ``request`` asks for."""
    rated = spec.noise.rate > 0
    clean = spec.noise.kind == "none"
    return replace(
        request,
        methods=(spec.method,),
        noise=(spec.noise.rate,) if rated or clean else None,
        noise_types=("symmetric",) if clean else (spec.noise.kind,),
        noise_file=request.noise_file if spec.noise.file else None,
        imbalance=(spec.imbalance.factor,),
        seeds=(spec.seed,),
        unlabelled=request.unlabelled if spec.unlabelled else None,
    )


def forget(todo: list[PlannedRun], out: Path) -> None:
    """For ``--force``: forgets what was trained, once, before any job starts, so that a job that is started again goes
    on. Busy for a run that is being trained."""
    for run in todo:
        folder = RunFolder.of(out, run.spec)
        try:
            with folder.claim():
                folder.clear()
        except Busy as error:
            raise Busy(f"{error}; stop it before it is trained again") from None


def fail(folder: RunFolder, message: str) -> None:
    """Stores a failure that no worker could store itself, unless another worker holds the run."""
    try:
        with folder.claim():
            if not folder.final:
                folder.fail(message, message)
    except (Busy, OSError):
        pass
