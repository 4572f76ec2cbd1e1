"""A Ray cluster: one task for each run. A task whose node is lost starts again elsewhere, and goes on from the last
finished epoch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import ray

from fer_bench.core.errors import SpecError, require
from fer_bench.launch.job import Job, fail, forget, jobs
from fer_bench.launch.remote import LOOK, Follower
from fer_bench.launch.worker import Event, Tell
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, PlannedRun


@dataclass(frozen=True)
class Options:
    """What ``--launcher-option`` can say."""

    address: str = ""
    """Of an existing cluster, "auto" = the one on this machine or in RAY_ADDRESS; "" = that one if RAY_ADDRESS is set,
    else a new one on this machine, for the time of the sweep."""
    cpus: float = 0.0
    """Cores that Ray sets aside for a run; 0 = the threads of its recipe."""
    gpus: float = 0.0
    """GPUs for a run, which may be a share of one; 0 = the run is trained on the CPU."""
    retries: int = 10
    """How often a run is started again when its worker or its node is lost."""

    def __post_init__(self) -> None:
        require(self.cpus >= 0 and self.gpus >= 0, "cpus and gpus cannot be negative")
        require(self.retries >= -1, "retries is the number of new starts; -1 = no limit")


def train_all(plan: Plan, todo: list[PlannedRun], out: Path, force: bool, tell: Tell, options: Options) -> None:
    """Trains ``todo`` on a Ray cluster, as ``fer_bench.launch.local.train_all`` does here. KeyboardInterrupt cancels
    the tasks; finished epochs are kept."""
    ours = not ray.is_initialized()
    if ours:
        _connect(options)
    try:
        _check_room(todo, options)
        if force:
            forget(todo, out)
        _train(plan, todo, out, tell, options)
    finally:
        if ours:
            ray.shutdown()


def _train(plan: Plan, todo: list[PlannedRun], out: Path, tell: Tell, options: Options) -> None:
    follower = Follower({run.spec.key: run for run in sorted(todo, key=lambda run: -run.cost)}, out, tell)
    runs = list(follower.todo.values())
    first = {job.spec.key: job for job in jobs(plan, runs, out, "cuda" if options.gpus else "cpu")}
    refs: dict[ray.ObjectRef, str] = {}
    started: dict[str, ray.ObjectRef] = {}
    # a task that is given the result of another waits for it
    for run in sorted(runs, key=lambda run: run.first_stage_of is not None):
        before = started.get(run.first_stage_of.key) if run.first_stage_of else None
        task = _task.options(
            name=run.spec.name,
            num_cpus=options.cpus or run.spec.recipe.threads,
            num_gpus=options.gpus,
            max_retries=options.retries,
        )
        started[run.spec.key] = ref = task.remote(first[run.spec.key], before)
        refs[ref] = run.spec.key
    try:
        while refs:
            ready, _ = ray.wait(list(refs), num_returns=1, timeout=LOOK)
            for ref in ready:
                key = refs.pop(ref)
                follower.over(key, _result(ref, follower, key))
            follower.look()
    except KeyboardInterrupt:
        for ref in refs:
            ray.cancel(ref)
        ray.wait(list(refs), num_returns=len(refs), timeout=30)
        raise


@ray.remote
def _task(job: Job, _before: Event | None) -> Event:
    return job.train(lambda: False)


def _result(ref: ray.ObjectRef, follower: Follower, key: str) -> Event:
    """What the task said. One that was lost for good has failed its run, unless the store knows better."""
    run = follower.todo[key]
    try:
        event: Event = ray.get(ref)
        return event
    except ray.exceptions.RayError as error:
        folder = RunFolder.of(follower.out, run.spec)
        if not folder.final and not folder.failure:
            fail(folder, f"Ray lost the worker: {str(error).strip().splitlines()[0]}")
        return follower.stored(run)


def _connect(options: Options) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS") or None
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False)
        return
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SpecError(f"--launcher-option address={address}: no Ray cluster there ({error})") from None


def _check_room(todo: list[PlannedRun], options: Options) -> None:
    """SpecError where no node could ever take a run, for which Ray would wait in silence."""
    cpus = options.cpus or max((run.spec.recipe.threads for run in todo), default=1)
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    require(
        any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= options.gpus for node in alive),
        f"no node of the Ray cluster has {cpus:g} cores and {options.gpus:g} GPUs for one run; it has "
        + "; ".join(f"{node.get('CPU', 0):g} cores, {node.get('GPU', 0):g} GPUs" for node in alive),
    )
