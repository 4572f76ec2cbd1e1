"""A pool of worker processes on one machine. Each run is claimed in the store, so several pools may share a folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from types import FrameType

from fer_bench.launch.processes import WorkerProcess, start_worker
from fer_bench.launch.work import Work
from fer_bench.launch.worker import STOPPING_SIGNALS
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy, TakenOver
from fer_bench.sweep.plan import PlannedRun

LOOK = 0.5
"""Seconds between two looks at workers that report nothing, at runs that others train, and at the time limit."""


def train_all(work: Work, limit: float | None = None, lease: float | None = None) -> None:
    """Trains runs with one worker process for each device.

    SIGINT or SIGTERM stops the workers at their next step; a second one ends them at once. Finished epochs are kept.

    Args:
        work: What to train. A run that another process trains is asked for until that process has finished it or is
            gone. A worker whose run has failed is replaced by a fresh process.
        limit: Seconds after which a run is ended, and has failed.
        lease: As for :class:`fer_bench.launch.task.Task`.

    Raises:
        KeyboardInterrupt: The workers were stopped.
    """
    pool = Pool(work, limit, lease)
    with collected_signals() as signals:
        try:
            while pool.busy:
                if signals:
                    pool.stop()
                pool.assign()
                pool.listen()
        finally:
            pool.close()
    if pool.stopped:
        raise KeyboardInterrupt


class Pool:
    """Worker processes and the runs that wait for them. Arguments as for :func:`train_all`."""

    def __init__(self, work: Work, limit: float | None, lease: float | None) -> None:
        self.stopped = False
        self._work, self._limit, self._lease = work, limit, lease
        self._queue = work.dear_first()
        self._elsewhere: list[PlannedRun] = []
        self._seen_elsewhere: set[str] = set()
        self._ask_again = 0.0
        self._workers = [self._start(device) for device in work.devices[: len(self._queue)]]

    @property
    def busy(self) -> bool:
        """Whether a run waits or is trained."""
        return bool(self._queue or self._elsewhere or any(worker.run for worker in self._workers))

    def stop(self) -> None:
        """Stops the workers at their next step. May be called again."""
        self._queue, self._elsewhere = [], []
        if self.stopped:
            return
        self.stopped = True
        for number, worker in enumerate(self._workers):
            if worker.run:
                self._work.on_event(number, worker.run, {"state": "stopping"})
                worker.send(None)

    def assign(self) -> None:
        """Gives each idle worker a run."""
        if time.monotonic() >= self._ask_again:
            self._queue, self._elsewhere = self._queue + self._elsewhere, []
        for number, worker in enumerate(self._workers):
            if worker.run is None and (run := self._next()):
                if not worker.process.is_alive():
                    worker = self._workers[number] = self._start(self._work.devices[number])
                # a run that another process has finished meanwhile is not trained again
                worker.give(run, self._work.force and run.spec.key not in self._seen_elsewhere)

    def listen(self) -> None:
        """Waits for events, passes them on, and ends workers that are over the time limit."""
        busy = [worker for worker in self._workers if worker.run]
        wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], timeout=LOOK)
        for number, worker in enumerate(self._workers):
            try:
                self._take_events(number, worker)
            except (EOFError, OSError):
                self._take_death(number, worker)
            if self._limit is not None and worker.runs_longer_than(self._limit):
                worker.end(f"ran longer than the time limit of {self._limit / 60:g} min")

    def close(self) -> None:
        """Ends all workers."""
        for worker in self._workers:
            worker.process.kill() if worker.run else worker.pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=10)

    def _start(self, device: str) -> WorkerProcess:
        return start_worker(replace(self._work.plan, runs=()), self._work.out, device, self._lease)

    def _next(self) -> PlannedRun | None:
        """Takes the first run of the queue whose first stage is not still to come."""
        trained = [worker.run for worker in self._workers if worker.run]
        coming = {run.spec.key for run in (*self._queue, *self._elsewhere, *trained)}
        for run in self._queue:
            if run.first_stage_of is None or run.first_stage_of.key not in coming:
                self._queue.remove(run)
                return run
        return None

    def _take_events(self, number: int, worker: WorkerProcess) -> None:
        while worker.run and worker.pipe.poll():
            event, run = worker.pipe.recv(), worker.run
            if event["state"] == "begun":
                worker.since = time.monotonic()
                continue
            if event["state"] != "progress":
                worker.run, worker.verdict = None, ""
            if event["state"] == "busy":
                self._elsewhere.append(run)
                self._seen_elsewhere.add(run.spec.key)
                self._ask_again = time.monotonic() + 2 * LOOK
            if event["state"] == "failed":
                worker.process.kill()  # what a plugin did to its process meets no other run
                worker.process.join()
            self._work.on_event(number, run, event)

    def _take_death(self, number: int, worker: WorkerProcess) -> None:
        """Stores that the run of a dead worker has failed."""
        message, run = worker.cause_of_death(), worker.run
        worker.run = None
        assert run is not None
        folder = RunFolder.of(self._work.out, run.spec)
        with suppress(OSError, Busy, TakenOver), folder.claim():
            folder.fail(message, message)
        self._work.on_event(number, run, {"state": "failed", "error": message})


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """The SIGINT and SIGTERM that arrive; from the second on they raise KeyboardInterrupt.

    Empty outside of the main thread, where Python delivers no signals.
    """
    arrived: list[int] = []

    def arrive(number: int, _: FrameType | None) -> None:
        arrived.append(number)
        if len(arrived) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return
    before = {number: signal.signal(number, arrive) for number in STOPPING_SIGNALS}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
