"""A worker process of the local launcher: trains one run after another and reports progress."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy, TakenOver
from fer_bench.sweep.plan import Plan, PlannedRun

Event = dict[str, Any]

Tell = Callable[[int, PlannedRun, Event], None]
"""Called with (worker, run, event); event["state"] is "progress", "done", "failed", "stopped", "stopping", or "busy"
with "by" (another process trains the run; it is asked for again); "notes" says what else a person should know."""

LOOK = 0.5
"""Seconds between two looks at workers that say nothing, at runs that others train, and at the time limit."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _work(
    pipe: Connection, environment: dict[str, str], plan: Plan, out: Path, device: str, lease: float | None
) -> None:
    """A worker process: trains the runs it is sent until the pipe closes. ``None`` means: stop at the next step."""
    os.environ.clear()  # that of the process it is a copy of, which may be older than the last change
    os.environ.update(environment)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent hears them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
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

    def say(event: Event) -> None:
        with _ending_with_parent():
            pipe.send({**event, "state": "progress"})

    with _ending_with_parent():
        while message := pipe.recv():
            run, force = message
            pipe.send({"state": "begun"})
            pipe.send(train_one(plan, run, out, device, force, stopping, say, lease))


@contextmanager
def _ending_with_parent() -> Iterator[None]:
    """A run without anybody to hear of it would keep its claim; its last finished epoch is stored."""
    try:
        yield
    except (EOFError, OSError):
        os._exit(1)


def _end_with_parent() -> None:
    """The same for a run that says nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def train_one(
    plan: Plan,
    run: PlannedRun,
    out: Path,
    device: str,
    force: bool,
    stopping: Callable[[], bool],
    say: Callable[[Event], None],
    lease: float | None = None,
) -> Event:
    """Trains one run in this process and says how it ended. A failure is stored with its traceback. Results that are
    damaged are made again, with a note; ``lease`` as for ``claims.claim``."""
    folder = RunFolder.of(out, run.spec)
    try:
        with folder.claim(lease) as claim:
            if force:
                folder.clear()
            elif damage := folder.damage:
                folder.clear_results()
                folder.note(f"{damage}: this run is repeated")
            elif final := folder.final:
                folder.tidy()
                return {"state": "done", "final": final}
            event = _train(plan, run, out, folder, device, lambda: claim.lost or stopping(), say)
            if claim.lost:
                claim.check()
            return {**event, "notes": folder.notes}
    except (Busy, TakenOver) as other:
        return {"state": "busy", "by": str(other), "taken_over": isinstance(other, TakenOver)}
    except OSError as error:
        return {"state": "failed", "error": f"cannot read or write results: {error}"}


def _train(
    plan: Plan,
    run: PlannedRun,
    out: Path,
    folder: RunFolder,
    device: str,
    stopping: Callable[[], bool],
    say: Callable[[Event], None],
) -> Event:
    """Trains the run of a folder whose claim is held."""
    import traceback

    import torch

    from fer_bench.engine.environment import describe
    from fer_bench.engine.job import Interrupted, ProgressEvent, Resources, TrainingJob
    from fer_bench.engine.trainer import train

    folder.start(run.spec, describe(device))
    resources = Resources(
        device=torch.device(device),
        weights=plan.weights,
        noise_file=plan.request.noise_file,
        unlabelled=plan.unlabelled,
        first_stage_run=RunFolder.of(out, run.first_stage_of) if run.first_stage_of else None,
        keep_networks=run.keep_networks,
    )

    def on_progress(event: ProgressEvent) -> None:
        say({name: value for name, value in asdict(event).items() if value is not None})

    try:
        with _logged(folder.path / "log.txt"):
            config = run.plugin.restore_config(run.spec.config)
            method = run.plugin.load()
            train(TrainingJob(run.spec, plan.dataset, method, config, folder, resources, on_progress, stopping))
    except Interrupted:
        return {"state": "stopped"}
    except TakenOver:
        raise
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        try:
            folder.fail(message, traceback.format_exc())
        except OSError as unwritten:
            message += f" (and the reason cannot be stored: {unwritten})"
        return {"state": "failed", "error": message}
    return {"state": "done", "final": folder.final}


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Sends messages, and what a plugin, its native code and its child processes print, to the run's log.

    The log is written at once, so that it does not tear the display and is there after a kill.
    """
    from contextlib import redirect_stderr, redirect_stdout

    with (
        path.open("a", buffering=1, encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
        _descriptor(1, log.fileno()),
        _descriptor(2, log.fileno()),
    ):
        handler, logger = logging.StreamHandler(log), logging.getLogger("fer_bench")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


@contextmanager
def _descriptor(number: int, target: int) -> Iterator[None]:
    """Lets a file descriptor of the process lead to ``target``."""
    before = os.dup(number)
    os.dup2(target, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)
