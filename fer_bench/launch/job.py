"""One run for a worker on any machine that sees the folder of results and the data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import RunSpec
from fer_bench.launch.task import Task, train_run
from fer_bench.launch.work import Event, Work
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.request import Request

AGAIN = 5.0
"""Seconds between two tries to claim a run that another process holds."""


@dataclass(frozen=True)
class Job:
    """What a worker is sent: plain values, and no data.

    The worker plans again from the request, and refuses to train if the key of the run differs.

    Attributes:
        request: Request for this one run.
        spec: The run.
        keep_networks: Whether another run starts from the networks of this one.
        out: Folder of the results, absolute.
        device: Device that trains.
        home: Folder that relative paths of the request start from.
        environment: Variables of fer-bench (data root, cache, plugins) where the sweep was started.
    """

    request: Request
    spec: RunSpec
    keep_networks: bool
    out: Path
    device: str
    home: Path
    environment: dict[str, str]

    def train(self, stopping: Callable[[], bool]) -> Event:
        """Trains the run; waits for one that another process holds. What keeps it from starting is stored as a failure.

        Returns:
            The last event of the run, as :func:`fer_bench.launch.task.train_run` does, but never "busy".
        """
        folder = RunFolder.of(self.out, self.spec)
        try:
            os.chdir(self.home)
            os.environ.update(self.environment)
            plan = make_plan(self.request)
            run = replace(self._find(plan), keep_networks=self.keep_networks)
        except Exception as error:
            message = f"the worker cannot start the run: {type(error).__name__}: {error}"
            store_failure(folder, message)
            return {"state": "failed", "error": message}
        while not stopping():
            event = train_run(Task(plan, run, self.out, self.device), stopping)
            if event["state"] != "busy":
                return event
            time.sleep(AGAIN)
        return {"state": "stopped"}

    def _find(self, plan: Plan) -> PlannedRun:
        """The run in a plan that was made here. SpecError where the same request gives another run."""
        for run in plan.runs:
            if run.spec.key == self.spec.key:
                return run
        if plan.skipped:
            raise SpecError(plan.skipped[0])
        other = plan.runs[0].spec
        names = [field.name for field in fields(other) if getattr(other, field.name) != getattr(self.spec, field.name)]
        raise SpecError(
            f"this machine would train another run: {', '.join(names)} differ from the machine that started the sweep"
        )


def make_jobs(work: Work, device: str) -> dict[str, Job]:
    """A job for each run, by key, the most expensive run first."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("FER_BENCH_")}
    out, home = work.out.resolve(), Path.cwd()
    return {
        run.spec.key: Job(
            request=request_for_run(work.plan.request, run.spec),
            spec=run.spec,
            keep_networks=run.keep_networks,
            out=out,
            device=device,
            home=home,
            environment=environment,
        )
        for run in work.dear_first()
    }


def request_for_run(request: Request, spec: RunSpec) -> Request:
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
        data_seed=(spec.data_seed,),
        settings={method: values for method, values in request.settings.items() if method == spec.method},
        vary={method: values for method, values in request.vary.items() if method == spec.method},
        variants={method: each for method, each in request.variants.items() if method == spec.method},
        unlabelled=request.unlabelled if spec.unlabelled else None,
    )


def clear_runs(work: Work) -> None:
    """Forgets what was trained, for ``--force``: once, before any job starts, so that a restarted job resumes.

    Raises:
        Busy: A run is being trained.
    """
    for run in work.todo:
        folder = RunFolder.of(work.out, run.spec)
        try:
            with folder.claim():
                folder.clear()
        except Busy as error:
            raise Busy(f"{error}; stop it before it is trained again") from None


def store_failure(folder: RunFolder, message: str) -> None:
    """Stores a failure that no worker could store itself, unless another worker holds the run."""
    try:
        with folder.claim():
            if not folder.final:
                folder.fail(message, message)
    except (Busy, OSError):
        pass
