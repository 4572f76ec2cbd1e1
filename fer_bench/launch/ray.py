"""A Ray cluster: one task for each run.

A task whose node is lost starts again on another node and resumes after the last finished epoch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import ray

from fer_bench.core.errors import SpecError, require
from fer_bench.launch.job import Job, clear_runs, make_jobs, store_failure
from fer_bench.launch.remote import LOOK, Follower
from fer_bench.launch.work import Event, Work
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import PlannedRun


@dataclass(frozen=True)
class Options:
    """Options of ``--launcher ray``."""

    address: str = ""
    """Address of a cluster, or "auto" for the one on this machine or in RAY_ADDRESS. By default that of RAY_ADDRESS if
    it is set, else a new cluster on this machine for the time of the sweep."""
    cpus: float = 0.0
    """Cores that Ray sets aside for a run; 0 = the threads of its recipe."""
    gpus: float = 0.0
    """GPUs for a run, or the share of one: a quarter where four runs share it; 0 = the run is trained on the CPU."""
    retries: int = 10
    """How often a run is started again when its worker or its node is lost."""

    def __post_init__(self) -> None:
        require(self.cpus >= 0 and self.gpus >= 0, "cpus and gpus cannot be negative")
        require(
            self.gpus <= 1 or self.gpus == int(self.gpus),
            f"gpus = {self.gpus:g}: Ray gives a run a share of one GPU, or a whole number of them",
        )
        require(self.retries >= -1, "retries is the number of new starts; -1 = no limit")


def train_all(work: Work, options: Options) -> None:
    """Trains runs on a Ray cluster. Finished epochs are kept.

    Raises:
        SpecError: There is no such cluster, or no node of it has room for a run.
        KeyboardInterrupt: The command was stopped; the tasks are cancelled.
    """
    ours = not ray.is_initialized()
    if ours:
        _connect(options)
    try:
        _check_room(work, options)
        if work.force:
            clear_runs(work)
        _train(work, options)
    finally:
        if ours:
            ray.shutdown()


def _train(work: Work, options: Options) -> None:
    follower = Follower.of(work)
    keys = _submit(work, options)
    try:
        while keys:
            ready, _ = ray.wait(list(keys), num_returns=1, timeout=LOOK)
            for ref in ready:
                key = keys.pop(ref)
                follower.end(key, _result(ref, follower, key))
            follower.look()
    except KeyboardInterrupt:
        for ref in keys:
            ray.cancel(ref)
        ray.wait(list(keys), num_returns=len(keys), timeout=30)
        raise


def _submit(work: Work, options: Options) -> dict[ray.ObjectRef, str]:
    """Submits a task for each run; the keys of the runs by task. A task that takes the result of another waits."""
    jobs = make_jobs(work, "cuda" if options.gpus else "cpu")
    started: dict[str, ray.ObjectRef] = {}
    for run in sorted(work.dear_first(), key=lambda run: run.first_stage_of is not None):
        before = started.get(run.first_stage_of.key) if run.first_stage_of else None
        task = _task.options(name=run.name, max_retries=options.retries, **_needed(run, options))
        started[run.spec.key] = task.remote(jobs[run.spec.key], before)
    return {ref: key for key, ref in started.items()}


def _needed(run: PlannedRun, options: Options) -> dict[str, float]:
    """What Ray sets aside for a run."""
    return {"num_cpus": options.cpus or run.spec.recipe.threads, "num_gpus": options.gpus}


@ray.remote
def _task(job: Job, _before: Event | None) -> Event:
    return job.train(lambda: False)


def _result(ref: ray.ObjectRef, follower: Follower, key: str) -> Event:
    """The last event of a task. The run of one that was lost has failed, unless the store knows better."""
    run = follower.todo[key]
    try:
        event: Event = ray.get(ref)
        return event
    except ray.exceptions.RayError as error:
        folder = RunFolder.of(follower.out, run.spec)
        if not folder.final and not folder.failure:
            store_failure(folder, f"Ray lost the worker: {str(error).strip().splitlines()[0]}")
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


def _check_room(work: Work, options: Options) -> None:
    """SpecError where no node could ever take a run; Ray would wait without a message."""
    cpus = options.cpus or max((run.spec.recipe.threads for run in work.todo), default=1)
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    require(
        any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= options.gpus for node in alive),
        f"no node of the Ray cluster has {cpus:g} cores and {options.gpus:g} GPUs for one run; it has "
        + "; ".join(f"{node.get('CPU', 0):g} cores, {node.get('GPU', 0):g} GPUs" for node in alive),
    )
