"""A pool of worker processes on one machine. Each run is claimed in the store, so several pools may share a folder."""

from __future__ import annotations

import faulthandler
import importlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from fer_bench.claims import Busy, TakenOver
from fer_bench.store import RunFolder
from fer_bench.sweep import Plan, Planned

Event = dict[str, Any]
Tell = Callable[[int, Planned, Event], None]
"""Called with (worker, run, event); event["state"] is "progress", "done", "failed", "stopped", "stopping", or "busy"
with "by" (another process trains the run; it is asked for again); "notes" says what else a person should know."""
LOOK = 0.5
"""Seconds between two looks at workers that say nothing, at runs that others train, and at the time limit."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FORKS = "forkserver" in multiprocessing.get_all_start_methods()
_CONTEXT = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
_CONTEXT.set_forkserver_preload(["fer_bench.launch.preload"])


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    run: Planned | None = None
    since: float = math.inf
    """When it began with its run, its imports behind it; monotonic seconds."""
    verdict: str = ""
    """Why this process is about to end it."""


def train_all(
    plan: Plan,
    todo: list[Planned],
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
    queue, elsewhere = sorted(todo, key=lambda run: -run.cost), list[Planned]()
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


def _next(queue: list[Planned], workers: list[_Worker], elsewhere: list[Planned]) -> Planned | None:
    """Takes the first run of the queue that does not wait for one that it begins with."""
    coming = {run.spec.key for run in (*queue, *elsewhere, *(w.run for w in workers if w.run))}
    for run in queue:
        if run.begins_as is None or run.begins_as.key not in coming:
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


def _listen(number: int, worker: _Worker, tell: Tell, out: Path) -> list[Planned]:
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
    importlib.import_module("fer_bench.engine.fit")
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
    run: Planned,
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
    run: Planned,
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
    from fer_bench.engine.fit import Interrupted, Resources, train

    folder.start(run.spec, describe(device))
    resources = Resources(
        device=torch.device(device),
        weights=plan.weights,
        noise_file=plan.request.noise_file,
        unlabelled=plan.unlabelled,
        begins_with=RunFolder.of(out, run.begins_as) if run.begins_as else None,
        keep_networks=run.keep_networks,
    )
    try:
        with _logged(folder.path / "log.txt"):
            config = run.plugin.restore_config(run.spec.config)
            train(run.spec, plan.faces, run.plugin.load(), config, folder, resources, say, stopping)
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
    """Sends what a plugin, its native code and its child processes print to the run's log, which is written at once,
    so that it does not tear the display and is there after a kill."""
    from contextlib import redirect_stderr, redirect_stdout

    with (
        path.open("a", buffering=1, encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
        _descriptor(1, log.fileno()),
        _descriptor(2, log.fileno()),
    ):
        yield


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
