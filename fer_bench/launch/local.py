"""A pool of worker processes on one machine. Each run is claimed in the store, so several pools may share a folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fer_bench.store import RunFolder
from fer_bench.sweep import Plan, Planned

Event = dict[str, Any]
Tell = Callable[[int, Planned, Event], None]
"""Called with (worker, run, event); event["state"] is "progress", "done", "failed" or "stopped"."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    run: Planned | None = None


def train_all(plan: Plan, todo: list[Planned], out: Path, devices: list[str], force: bool, tell: Tell) -> None:
    """Trains ``todo`` with one worker process for each entry of ``devices``. KeyboardInterrupt stops the workers at
    their next step, with their finished epochs kept, and is raised again; a second one ends them at once.

    Dear runs come first, so that no worker is left with a long one at the end. A run that another process is training
    is tried again after the others, until that process has finished it or is gone.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    queue = sorted(todo, key=lambda run: -run.cost)
    workers = [_start(context, plan, out, device, force, stop) for device in devices[: len(queue)]]
    elsewhere: list[Planned] = []
    interrupted = False
    try:
        while queue or elsewhere or any(worker.run for worker in workers):
            try:
                for worker in workers:
                    if worker.run is None and not interrupted and (run := _next(queue, workers, elsewhere)):
                        worker.run = run
                        worker.pipe.send(run)
                if elsewhere and not any(worker.run for worker in workers):
                    time.sleep(1)
                    queue, elsewhere = queue + elsewhere, []
                ready = wait([w.pipe for w in workers] + [w.process.sentinel for w in workers], timeout=1)
                for number, worker in enumerate(workers):
                    if worker.pipe in ready or worker.process.sentinel in ready:
                        elsewhere += _listen(number, worker, tell, out)
                        if not worker.process.is_alive() and worker.run is None:
                            workers[number] = _start(context, plan, out, devices[number], force, stop)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                stop.set()
                queue, elsewhere = [], []
        if interrupted:
            raise KeyboardInterrupt
    finally:
        for worker in workers:
            worker.process.kill() if worker.run else worker.pipe.close()
        for worker in workers:
            worker.process.join(timeout=10)


def _next(queue: list[Planned], workers: list[_Worker], elsewhere: list[Planned]) -> Planned | None:
    """Takes the first run of the queue that does not wait for one that it begins with."""
    coming = {run.spec.key for run in (*queue, *elsewhere, *(w.run for w in workers if w.run))}
    for run in queue:
        if run.begins_as is None or run.begins_as.key not in coming:
            queue.remove(run)
            return run
    return None


def _start(context: Any, plan: Plan, out: Path, device: str, force: bool, stop: Any) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_work, args=(theirs, replace(plan, runs=()), out, device, force, stop), daemon=True
    )
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _listen(number: int, worker: _Worker, tell: Tell, out: Path) -> list[Planned]:
    """Passes on what a worker says; returns runs that are being trained elsewhere. A worker that died with a run in
    hand has failed it."""
    elsewhere = []
    try:
        while worker.pipe.poll():
            event = worker.pipe.recv()
            assert worker.run is not None
            if event["state"] == "busy":
                elsewhere.append(worker.run)
            else:
                tell(number, worker.run, event)
            if event["state"] != "progress":
                worker.run = None
    except (EOFError, OSError):
        worker.process.join(timeout=10)
        if worker.run is not None:
            code = worker.process.exitcode
            cause = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
            message = f"the worker process died ({cause})"
            with suppress(OSError):
                RunFolder.of(out, worker.run.spec).fail(message, message)
            tell(number, worker.run, {"state": "failed", "error": message})
            worker.run = None
    return elsewhere


def _work(pipe: Connection, plan: Plan, out: Path, device: str, force: bool, stop: Any) -> None:
    """A worker process: trains the runs it is sent until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            run = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(train_one(plan, run, out, device, force, stop.is_set, lambda event: _say(pipe, event)))


def _say(pipe: Connection, event: Event) -> None:
    try:
        pipe.send({**event, "state": "progress"})
    except OSError:
        os._exit(1)  # nobody listens any more: the sweep was killed, and the last finished epoch is stored


def train_one(
    plan: Plan,
    run: Planned,
    out: Path,
    device: str,
    force: bool,
    stopping: Callable[[], bool],
    say: Callable[[Event], None],
) -> Event:
    """Trains one run in this process and says how it ended. A failure is stored with its traceback."""
    import traceback

    import torch

    from fer_bench.engine.environment import describe
    from fer_bench.engine.fit import Interrupted, Resources, train
    from fer_bench.store import Busy

    folder = RunFolder.of(out, run.spec)
    try:
        with folder.claim():
            if folder.final and not force:
                return {"state": "done", "final": folder.final}
            if force:
                folder.clear()
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
            except (Exception, SystemExit) as error:
                message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                folder.fail(message, traceback.format_exc())
                return {"state": "failed", "error": message}
            return {"state": "done", "final": folder.final}
    except Busy:
        return {"state": "busy"}
    except OSError as error:
        return {"state": "failed", "error": f"cannot write results: {error}"}


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Sends what a plugin prints and warns to the run's log, so that it does not tear the display."""
    from contextlib import redirect_stderr, redirect_stdout

    with path.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        yield
