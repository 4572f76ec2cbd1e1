"""A worker process of the local pool: trains one run after another and reports progress through a pipe."""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from fer_bench.launch.task import Task, train_run
from fer_bench.launch.work import Event
from fer_bench.sweep.plan import Plan

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def work(
    pipe: Connection, environment: dict[str, str], plan: Plan, out: Path, device: str, lease: float | None
) -> None:
    """Trains the runs that are sent, until the pipe closes.

    Receives (run, force) for a run to train, and None to stop at the next step. Sends the events of the run, first
    "begun" once its imports are done.

    Args:
        pipe: To the pool.
        environment: Environment variables of the pool; the process that this one is a copy of may have older ones.
        plan: Plan of all runs.
        out: Folder of the results.
        device: Device that trains.
        lease: As for :class:`fer_bench.launch.task.Task`.
    """
    os.environ.clear()
    os.environ.update(environment)
    for number in STOPPING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the pool receives them and passes on what they mean
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING_SIGNALS)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    importlib.import_module("fer_bench.engine.trainer")
    stopped = False

    def stopping() -> bool:
        nonlocal stopped
        with _ending_with_parent():
            stopped = stopped or (pipe.poll() and pipe.recv() is None)
        return stopped

    def on_progress(event: Event) -> None:
        with _ending_with_parent():
            pipe.send({**event, "state": "progress"})

    with _ending_with_parent():
        while message := pipe.recv():
            run, force = message
            pipe.send({"state": "begun"})
            pipe.send(train_run(Task(plan, run, out, device, force, lease), stopping, on_progress))


@contextmanager
def _ending_with_parent() -> Iterator[None]:
    """Ends this process where the pipe is closed. Otherwise an orphan would keep its claim; epochs are stored."""
    try:
        yield
    except (EOFError, OSError):
        os._exit(1)


def _end_with_parent() -> None:
    """Ends this process with its parent, also during a run that reports nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
