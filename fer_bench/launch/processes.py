"""Starts worker processes: as copies of a process that has imported PyTorch already, where the system allows it.

The workers import nothing of the user's program. A script without ``if __name__ == "__main__":``, a program on standard
input and a notebook work alike.
"""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from fer_bench.launch.worker import STOPPING_SIGNALS, work
from fer_bench.sweep.plan import Plan, PlannedRun

_FORKS = "forkserver" in multiprocessing.get_all_start_methods()

_CONTEXT = multiprocessing.get_context("forkserver" if _FORKS else "spawn")

_CONTEXT.set_forkserver_preload(["fer_bench.launch.preload"])

LONGEST_FOLDER = 70
"""Bytes of a folder in which multiprocessing can have its socket; the whole path of a socket has at most 104 to 108."""

SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass
class WorkerProcess:
    """A worker process.

    Attributes:
        process: The process.
        pipe: Receives its events and sends it runs.
        run: The run that it trains; None while it has nothing to do.
        since: When it began with the run, after its imports; monotonic seconds.
        verdict: Why it is about to be ended; "" while it is not.
    """

    process: Any
    pipe: Connection
    run: PlannedRun | None = None
    since: float = math.inf
    verdict: str = ""

    def give(self, run: PlannedRun, force: bool) -> None:
        """Sends it a run to train."""
        self.run, self.since = run, math.inf
        self.send((run, force))

    def send(self, message: Any) -> None:
        """Sends a message; a process that has died does not get it, which its sentinel tells."""
        with suppress(OSError):
            self.pipe.send(message)

    def runs_longer_than(self, seconds: float) -> bool:
        """Whether it has worked on its run for so long."""
        return self.run is not None and time.monotonic() - self.since > seconds

    def end(self, verdict: str) -> None:
        """Ends it in two calls: the first has it write its stack to the log of its run."""
        if self.verdict:
            self.process.kill()
        else:
            self.verdict = verdict
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)

    def cause_of_death(self) -> str:
        """Why it ended, for a process whose pipe is closed."""
        self.process.join(timeout=10)
        code = self.process.exitcode
        cause = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return self.verdict or f"the worker process died ({cause})"


def warm_up() -> None:
    """Starts the process that workers are copies of, so that it imports heavy modules while a sweep is planned."""
    if _FORKS:
        with _signals_blocked():
            _shorten_socket_path()
            forkserver.ensure_running()


def start_worker(plan: Plan, out: Path, device: str, lease: float | None) -> WorkerProcess:
    """Starts a worker process; arguments as for :func:`fer_bench.launch.worker.work`."""
    ours, theirs = _CONTEXT.Pipe()
    arguments = (theirs, dict(os.environ), plan, out, device, lease)
    process = _CONTEXT.Process(target=work, args=arguments, daemon=True)  # type: ignore[attr-defined]
    with _signals_blocked(), _without_main_module():
        _shorten_socket_path()
        process.start()
    theirs.close()
    return WorkerProcess(process, ours)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Blocks Ctrl-C, which a terminal sends to all processes, so that it does not end a worker in its imports."""
    resource_tracker.ensure_running()  # it unblocks the signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hides the user's program, which multiprocessing would run again in each worker."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def _shorten_socket_path() -> None:
    """Has multiprocessing put its socket into another folder where the path of TMPDIR is too long for one."""
    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER:
        return
    before = tempfile.tempdir
    usable = [folder for folder in SHORT_FOLDERS if os.access(folder, os.W_OK | os.X_OK)]
    tempfile.tempdir = usable[0] if usable else before
    try:
        multiprocessing.util.get_temp_dir()  # made once in a process
    finally:
        tempfile.tempdir = before
