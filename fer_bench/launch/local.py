"""A pool of worker processes on one machine. Each run is claimed in the store, so several pools may share a folder."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from fer_bench.launch.worker import LOOK, SIGNALS, Tell, _work
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy, TakenOver
from fer_bench.sweep.plan import Plan, PlannedRun

_FORKS = "forkserver" in multiprocessing.get_all_start_methods()

_CONTEXT = multiprocessing.get_context("forkserver" if _FORKS else "spawn")

_CONTEXT.set_forkserver_preload(["fer_bench.launch.preload"])


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    run: PlannedRun | None = None
    since: float = math.inf
    """When it began with its run, its imports behind it; monotonic seconds."""
    verdict: str = ""
    """Why this process is about to end it."""


def train_all(
    plan: Plan,
    todo: list[PlannedRun],
    out: Path,
    devices: list[str],
    force: bool,
    tell: Tell,
    limit: float | None = None,
    lease: float | None = None,
) -> None:
    """Trains ``todo`` with one worker process for each entry of ``devices``. SIGINT or SIGTERM stops the workers at
    their next step, with their finished epochs kept, and KeyboardInterrupt is raised; a second one ends them at once.

    Dear runs come first, so that no worker is left with a long one at the end. A run that another process is training
    is asked for again and again, until that process has finished it or is gone; ``lease`` as for ``claims.claim``. A
    worker that has failed, or worked on a run for more than ``limit`` seconds, is replaced by a fresh process.
    """
    queue, elsewhere = sorted(todo, key=lambda run: -run.cost), list[PlannedRun]()
    seen_elsewhere: set[str] = set()
    again, stopping = 0.0, False

    def start(device: str) -> _Worker:
        return _start(replace(plan, runs=()), out, device, lease)

    workers = [start(device) for device in devices[: len(queue)]]
    with _collected_signals() as signals:
        try:
            while queue or elsewhere or any(worker.run for worker in workers):
                if signals and not stopping:
                    stopping = True
                    for number, worker in enumerate(workers):
                        if worker.run:
                            tell(number, worker.run, {"state": "stopping"})
                            _send(worker, None)
                if stopping:
                    queue, elsewhere = [], []
                if time.monotonic() >= again:
                    queue, elsewhere = queue + elsewhere, []
                for number, worker in enumerate(workers):
                    if worker.run is None and (run := _next(queue, workers, elsewhere)):
                        if not worker.process.is_alive():
                            worker = workers[number] = start(devices[number])
                        worker.run, worker.since = run, math.inf
                        # what somebody else has finished meanwhile is not trained again
                        _send(worker, (run, force and run.spec.key not in seen_elsewhere))
                busy = [worker for worker in workers if worker.run]
                wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], timeout=LOOK)
                for number, worker in enumerate(workers):
                    for run in _listen(number, worker, tell, out):
                        elsewhere.append(run)
                        seen_elsewhere.add(run.spec.key)
                        again = time.monotonic() + 2 * LOOK
                    if limit is not None and worker.run and time.monotonic() - worker.since > limit:
                        _end(worker, f"ran longer than the time limit of {limit / 60:g} min")
        finally:
            for worker in workers:
                worker.process.kill() if worker.run else worker.pipe.close()
            for worker in workers:
                worker.process.join(timeout=10)
    if stopping:
        raise KeyboardInterrupt


@contextmanager
def _collected_signals() -> Iterator[list[int]]:
    """The SIGINT and SIGTERM that arrive; from the second on they raise KeyboardInterrupt. Outside of the main thread,
    where Python delivers none, nothing."""
    arrived: list[int] = []

    def arrive(number: int, _: FrameType | None) -> None:
        arrived.append(number)
        if len(arrived) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return
    before = {number: signal.signal(number, arrive) for number in SIGNALS}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _next(queue: list[PlannedRun], workers: list[_Worker], elsewhere: list[PlannedRun]) -> PlannedRun | None:
    """Takes the first run of the queue that does not wait for one that it begins with."""
    coming = {run.spec.key for run in (*queue, *elsewhere, *(w.run for w in workers if w.run))}
    for run in queue:
        if run.first_stage_of is None or run.first_stage_of.key not in coming:
            queue.remove(run)
            return run
    return None


def warm_up() -> None:
    """Starts the process that workers are copies of: it imports what they need while a sweep is planned."""
    if _FORKS:
        with _signals_blocked():
            forkserver.ensure_running()


def _start(plan: Plan, out: Path, device: str, lease: float | None) -> _Worker:
    ours, theirs = _CONTEXT.Pipe()
    arguments = (theirs, dict(os.environ), plan, out, device, lease)
    process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)  # type: ignore[attr-defined]
    with _signals_blocked():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """So that Ctrl-C, which a terminal sends to all, does not end a process in its imports."""
    resource_tracker.ensure_running()  # which lifts the block when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(worker: _Worker, message: Any) -> None:
    with suppress(OSError):  # a worker that died: its sentinel says so
        worker.pipe.send(message)


def _end(worker: _Worker, verdict: str) -> None:
    """Ends a worker in two looks: the first has it write to the run's log where it is."""
    if worker.verdict:
        worker.process.kill()
    else:
        worker.verdict = verdict
        with suppress(ProcessLookupError):
            os.kill(worker.process.pid, signal.SIGUSR1)


def _listen(number: int, worker: _Worker, tell: Tell, out: Path) -> list[PlannedRun]:
    """Passes on what a worker says; returns runs that are being trained elsewhere. A worker that died with a run in
    hand has failed it."""
    elsewhere = []
    try:
        while worker.run and worker.pipe.poll():
            event, run = worker.pipe.recv(), worker.run
            if event["state"] == "begun":
                worker.since = time.monotonic()
                continue
            if event["state"] != "progress":
                worker.run, worker.verdict = None, ""
            if event["state"] == "busy":
                elsewhere.append(run)
            if event["state"] == "failed":
                worker.process.kill()  # whatever the plugin did to its process, no other run meets it
                worker.process.join()
            tell(number, run, event)
    except (EOFError, OSError):
        worker.process.join(timeout=10)
        held, worker.run = worker.run, None
        assert held is not None
        code = worker.process.exitcode
        cause = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        message = worker.verdict or f"the worker process died ({cause})"
        folder = RunFolder.of(out, held.spec)
        with suppress(OSError, Busy, TakenOver), folder.claim():
            folder.fail(message, message)
        tell(number, held, {"state": "failed", "error": message})
    return elsewhere
