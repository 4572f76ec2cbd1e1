"""Slurm, by way of submitit: an array with one job for each run. A job that is preempted or out of time stops at its
next step, is queued again, and goes on from the last finished epoch.

submitit hands a job to the compute node as a pickle in a folder of its own, which belongs to the user alone and lies
outside the results. Nothing is read back from there: how a run ended is in the store.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs
import submitit

from fer_bench.core.errors import require
from fer_bench.launch.job import Job, fail, forget, jobs
from fer_bench.launch.remote import LOOK, Follower
from fer_bench.launch.worker import Event, Tell
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, PlannedRun

ASK = 15.0
"""Seconds between two questions to Slurm about its queue."""

LARGEST_ARRAY = 1000
"""Jobs of one array; Slurm's own limit is 1001 unless a cluster has another."""


@dataclass(frozen=True)
class Options:
    """What ``--launcher-option`` can say; "" and 0 leave a choice to the cluster."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    minutes: int = 120
    """Time limit of a job; one that needs longer is queued again."""
    cpus: int = 0
    """Cores for a run; 0 = the threads of its recipe."""
    gpus: int = 0
    """GPUs for a run; 0 = it is trained on the CPU."""
    memory_gb: float = 0.0
    array: int = 64
    """Jobs that run at the same time."""
    requeues: int = 50
    """How often a job that ran out of time is queued again."""
    folder: str = ""
    """Where submitit writes scripts, logs and its pickles; compute nodes must see it. "" = in the user's cache."""
    cluster: Literal["slurm", "local"] = "slurm"
    """"local" starts the jobs as processes here, without Slurm, all at once: to try things."""

    def __post_init__(self) -> None:
        for name in ("minutes", "array"):
            require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)}: at least 1 is needed")
        for name in ("cpus", "gpus", "memory_gb", "requeues"):
            require(getattr(self, name) >= 0, f"{name} = {getattr(self, name)} is negative")


def train_all(plan: Plan, todo: list[PlannedRun], out: Path, force: bool, tell: Tell, options: Options) -> None:
    """Trains ``todo`` as jobs of Slurm, and returns when all have ended. KeyboardInterrupt cancels the jobs; finished
    epochs are kept. A process that is killed leaves the jobs to Slurm, and the same command finds what they did."""
    folder = job_folder(options, out)
    if force:
        forget(todo, out)
    runs = {run.spec.key: run for run in sorted(todo, key=lambda run: -run.cost)}
    sweep = Submitted(Follower(dict(runs), out, tell))
    work = {job.spec.key: job for job in jobs(plan, list(runs.values()), out, "cuda" if options.gpus else "cpu")}
    try:
        # jobs that begin with the networks of others wait in the queue for these
        waits = {key: run.first_stage_of is not None and run.first_stage_of.key in runs for key, run in runs.items()}
        for late in (False, True):
            sweep.submit(folder, options, [run for key, run in runs.items() if waits[key] is late], work)
        sweep.wait()
    except KeyboardInterrupt:
        sweep.cancel()
        raise


@dataclass
class Submitted:
    """The jobs of a sweep by the key of their runs, and which of them are over."""

    follower: Follower
    jobs: dict[str, submitit.Job[None]] = field(default_factory=dict)
    _failed_before: dict[str, int] = field(default_factory=dict)
    _asked: float = 0.0

    def submit(self, folder: Path, options: Options, runs: Sequence[PlannedRun], work: dict[str, Job]) -> None:
        for first in range(0, len(runs), LARGEST_ARRAY):
            part = runs[first : first + LARGEST_ARRAY]
            before = [
                self.jobs[run.first_stage_of.key].job_id
                for run in part
                if run.first_stage_of and run.first_stage_of.key in self.jobs
            ]
            executor = make_executor(folder, options, max(run.spec.recipe.threads for run in part), before)
            self._failed_before |= {run.spec.key: self._failure(run.spec.key) for run in part}
            with executor.batch():
                found = [executor.submit(Element(work[run.spec.key])) for run in part]
            self.jobs |= {run.spec.key: job for run, job in zip(part, found, strict=True)}

    def wait(self) -> None:
        """Until every job is over."""
        while self.follower.todo:
            time.sleep(LOOK)
            self.follower.look()
            gone = self._gone()
            for key, run in list(self.follower.todo.items()):
                event = self.follower.stored(run)
                if event["state"] == "failed" and self._failure(key) == self._failed_before[key]:
                    event = {"state": "stopped"}  # of an earlier attempt: this one has not begun
                if event["state"] == "stopped" and key in gone:
                    event = self._lost(key, run)
                if event["state"] != "stopped":
                    self.follower.over(key, event)

    def cancel(self) -> None:
        for key in self.follower.todo:
            if key in self.jobs:
                self.jobs[key].cancel(check=False)

    def _gone(self) -> set[str]:
        """Keys of the runs whose jobs had left the queue before the store was looked at."""
        if time.monotonic() - self._asked < ASK:
            return set()
        self._asked = time.monotonic()
        if not isinstance(next(iter(self.jobs.values())), submitit.SlurmJob):
            return {key for key in self.follower.todo if self.jobs[key].done()}
        waiting = in_queue()
        if waiting is None:
            return set()
        return {key for key in self.follower.todo if self.jobs[key].job_id not in waiting}

    def _lost(self, key: str, run: PlannedRun) -> Event:
        """A job that ended without a word, cancelled or killed: nothing is stored but the finished epochs."""
        job, folder = self.jobs[key], RunFolder.of(self.follower.out, run.spec)
        message = f"job {job.job_id} ended before its run was done; its log is {job.paths.stderr}"
        fail(folder, message)
        event = self.follower.stored(run)
        return event if event["state"] != "stopped" else {"state": "failed", "error": message}

    def _failure(self, key: str) -> int:
        """When the failure of a run was stored, 0 without one."""
        run = self.follower.todo[key]
        try:
            return (RunFolder.of(self.follower.out, run.spec).path / "status.json").stat().st_mtime_ns
        except OSError:
            return 0


@dataclass(frozen=True)
class Element:
    """What a job does; submitit pickles it."""

    job: Job

    def __call__(self) -> None:
        with Stop() as stop:
            event = self.job.train(stop.asked)
        if event["state"] == "stopped":
            stop.obey()

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit before it queues the job again: the store has all that was reached."""
        return submitit.helpers.DelayedSubmission(self)


class Stop:
    """Turns the signals by which Slurm ends a job into a wish to stop, which the training sees at its next step."""

    def __enter__(self) -> Stop:
        self._signals: list[int] = []
        self._before: dict[int, Any] = {}
        for number in (signal.SIGUSR2, signal.SIGTERM):
            self._before[number] = signal.signal(number, lambda number, frame: self._signals.append(number))
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        return bool(self._signals)

    def obey(self) -> None:
        """After SIGUSR2 (the time is nearly over) submitit queues the job again. After SIGTERM (cancelled, preempted or
        queued again by hand) Slurm has done what is to be done, and the job only leaves."""
        handler: Callable[[int, None], None] | None = self._before.get(signal.SIGUSR2)
        if signal.SIGUSR2 in self._signals and callable(handler):
            handler(signal.SIGUSR2, None)
        raise SystemExit(128 + signal.SIGTERM)


def make_executor(folder: Path, options: Options, threads: int, before: Sequence[str]) -> submitit.AutoExecutor:
    """An executor of submitit; its jobs start when those of the ids ``before`` have ended."""
    executor = submitit.AutoExecutor(folder=folder, cluster=options.cluster, slurm_max_num_timeout=options.requeues)
    executor.update_parameters(
        name="fer-bench",
        timeout_min=options.minutes,
        cpus_per_task=options.cpus or threads,
        gpus_per_node=options.gpus,
        slurm_array_parallelism=options.array,
        slurm_additional_parameters={"requeue": True},
        **({"mem_gb": options.memory_gb} if options.memory_gb else {}),
        **{
            f"slurm_{name}": getattr(options, name)
            for name in ("partition", "account", "qos")
            if getattr(options, name)
        },
        **({"slurm_dependency": f"afterany:{':'.join(before)}"} if before else {}),
    )
    return executor


def job_folder(options: Options, out: Path) -> Path:
    """The folder of submitit, for the user alone. SpecError where it lies in the results: it holds pickles."""
    folder = Path(options.folder or platformdirs.user_cache_path("fer-bench") / "slurm").expanduser().resolve()
    require(
        not folder.is_relative_to(out.resolve()),
        f"--launcher-option folder={folder} lies in the results ({out}), which are shared and hold no pickles",
    )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def in_queue() -> set[str] | None:
    """The user's jobs that wait or run, elements of arrays one by one ("12_3"); None where Slurm does not answer.

    ``squeue`` and not ``sacct``, which needs a database that a cluster may not have.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(answer.stdout.split()) if answer.returncode == 0 else None
