"""Slurm, through submitit: an array with one job for each run.

A job that is preempted or out of time stops at its next step, is queued again, and goes on from the last finished
epoch. submitit passes a job to the compute node as a pickle, in a folder that belongs to the user alone and lies
outside the results. Nothing is read back from there: the store tells how a run ended.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs
import submitit

from fer_bench.core.errors import require
from fer_bench.launch.job import Job, clear_runs, make_jobs, store_failure
from fer_bench.launch.remote import LOOK, Follower
from fer_bench.launch.work import Event, Work
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import PlannedRun

ASK = 15.0
"""Seconds between two calls of ``squeue``."""

LARGEST_ARRAY = 1000
"""Jobs of one array; Slurm's own limit is 1001 unless a cluster has another."""


@dataclass(frozen=True)
class Options:
    """Options of ``--launcher slurm``; "" and 0 leave a choice to the cluster."""

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


def train_all(work: Work, options: Options) -> None:
    """Trains runs as jobs of Slurm, and returns when all have ended.

    A process that is killed leaves its jobs to Slurm, and the same command finds their results.

    Raises:
        SpecError: The folder of submitit lies in the results.
        KeyboardInterrupt: The command was stopped; the jobs are cancelled. Finished epochs are kept.
    """
    folder = job_folder(options, work.out)
    if work.force:
        clear_runs(work)
    follower = Follower.of(work)
    runs = dict(follower.todo)
    submitted = Submitted(follower, make_jobs(work, "cuda" if options.gpus else "cpu"))
    try:
        # jobs that start from the networks of others wait in the queue for them
        waits = {key: run.first_stage_of is not None and run.first_stage_of.key in runs for key, run in runs.items()}
        for late in (False, True):
            submitted.submit(folder, options, [run for key, run in runs.items() if waits[key] is late])
        submitted.wait()
    except KeyboardInterrupt:
        submitted.cancel()
        raise


@dataclass
class Submitted:
    """The jobs of a sweep.

    Attributes:
        follower: Knows the runs that have not ended.
        work: What each job does, by the key of its run.
        jobs: Submitted jobs, by the key of their run.
    """

    follower: Follower
    work: dict[str, Job]
    jobs: dict[str, submitit.Job[None]] = field(default_factory=dict)
    _failed_before: dict[str, int] = field(default_factory=dict)
    _asked: float = 0.0

    def submit(self, folder: Path, options: Options, runs: Sequence[PlannedRun]) -> None:
        """Submits arrays of jobs for the runs; they start after the jobs whose networks they start from."""
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
                found = [executor.submit(Element(self.work[run.spec.key])) for run in part]
            self.jobs |= {run.spec.key: job for run, job in zip(part, found, strict=True)}

    def wait(self) -> None:
        """Waits until every job has ended."""
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
                    self.follower.end(key, event)

    def cancel(self) -> None:
        """Cancels the jobs that have not ended."""
        for key in self.follower.todo:
            if key in self.jobs:
                self.jobs[key].cancel(check=False)

    def _gone(self) -> set[str]:
        """Keys of the runs whose jobs have left the queue; asked for before the store is read."""
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
        """The last event of a run whose job was cancelled or killed: only its finished epochs are stored."""
        job, folder = self.jobs[key], RunFolder.of(self.follower.out, run.spec)
        message = f"job {job.job_id} ended before its run was done; its log is {job.paths.stderr}"
        store_failure(folder, message)
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
    """The function of a job, which submitit pickles."""

    job: Job

    def __call__(self) -> None:
        """Trains the run of the job."""
        with Stop() as stop:
            event = self.job.train(stop.asked)
        if event["state"] == "stopped":
            stop.obey()

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit before it queues the job again. The store holds the finished epochs."""
        return submitit.helpers.DelayedSubmission(self)


class Stop:
    """Collects the signals with which Slurm ends a job, so that the training can stop at its next step."""

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
        """Whether a signal has arrived."""
        return bool(self._signals)

    def obey(self) -> None:
        """Ends the job.

        After SIGUSR2 (its time is nearly over) submitit queues it again. After SIGTERM (it was cancelled, preempted or
        queued again by hand) there is nothing to do but to exit.
        """
        handler: Callable[[int, None], None] | None = self._before.get(signal.SIGUSR2)
        if signal.SIGUSR2 in self._signals and callable(handler):
            handler(signal.SIGUSR2, None)
        raise SystemExit(128 + signal.SIGTERM)


def make_executor(folder: Path, options: Options, threads: int, before: Sequence[str]) -> submitit.AutoExecutor:
    """An executor of submitit. Its jobs start when the jobs with the ids ``before`` have ended."""
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
    """The folder of submitit, made in ``options.folder``. Only the user can enter it, because it holds pickles.

    Raises:
        SpecError: It lies in the results, or somebody else made it.
    """
    folder = Path(options.folder or platformdirs.user_cache_path("fer-bench") / "slurm").expanduser().resolve()
    require(
        not folder.is_relative_to(out.resolve()),
        f"--launcher-option folder={folder} lies in the results ({out}), which are shared and hold no pickles",
    )
    private = folder / f"jobs-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    require(
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077,
        f"--launcher-option folder={folder}: others can enter {private.name} in it; choose another folder",
    )
    return private


def in_queue() -> set[str] | None:
    """Ids of the user's jobs that wait or run, with each element of an array ("12_3"); None if Slurm does not answer.

    ``squeue`` is asked, because ``sacct`` needs a database that a cluster may not have.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(answer.stdout.split()) if answer.returncode == 0 else None
