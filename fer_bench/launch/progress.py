"""Progress of a sweep: its events, how much is done, and the time left. Nothing is shown here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fer_bench.core.text import counted
from fer_bench.store.compact import COMPACT
from fer_bench.sweep.plan import PlannedRun

logger = logging.getLogger(__name__)


class Progress:
    """How much of a sweep is done.

    Args:
        runs: The runs that are to be trained.
        expected: Estimated seconds for all of them; None if the speed of the machines is not known. The estimate is
            replaced by the measured pace once a twentieth is done.
        clock: Seconds of a clock that only goes forward.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], expected: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.count, self.finished, self.failed = len(runs), 0, 0
        self._expected, self._clock, self._started = expected, clock, clock()
        self._total = sum(run.cost for run in runs)
        self._done = 0.0
        self._partial: dict[int, float] = {}

    def update(self, worker: int, run: PlannedRun, event: Mapping[str, Any]) -> None:
        """Takes one event of a worker (:data:`fer_bench.launch.work.OnRunEvent`)."""
        state = event["state"]
        if state == "progress":
            steps = max(1, event["steps"])
            self._partial[worker] = run.cost * (event["epoch"] + event["step"] / steps) / event["epochs"]
        elif state != "stopping":
            self._partial.pop(worker, None)
        if state in ENDS:
            self._done += run.cost
            self.finished += 1
            self.failed += state == "failed"

    @property
    def share(self) -> float:
        """The finished part of the work, 0 to 1."""
        return (self._done + sum(self._partial.values())) / self._total if self._total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the last run ends; None if nothing is known yet, or nothing is left."""
        share, elapsed = self.share, self._clock() - self._started
        if share >= 1 or (share <= 0.05 and self._expected is None):
            return None
        whole = elapsed / share if share > 0.05 else max(self._expected or 0.0, elapsed)
        return max(0.0, whole - elapsed)


ENDS = ("done", "failed", "stopped")
"""States of a run that will not be heard of again."""


@dataclass(frozen=True)
class ProgressEvent:
    """One event of a sweep, given to ``on_event``.

    Attributes:
        state: Of the sweep: "absent" (records of runs without a folder here are used), "training" (before the first
            run) or "writing" (tables and plots). Of a run: "progress", "done", "failed", "stopped", "stopping", or
            "busy" (another process trains it).
        progress: How much of the sweep is done, this event included.
        run: The run; None for an event of the sweep.
        worker: Number of the worker that trains the run.
        details: What the worker sent. Of "progress": epoch, epochs, step, steps, images_per_second and, where known,
            loss and overall. Of "done": final. Of "failed": error. Of "busy": by and taken_over. Notes for any end.
            Of "absent": the arguments of :func:`absent_runs`.
    """

    state: str
    progress: Progress
    run: PlannedRun | None = None
    worker: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """How the run ended, in a line; empty for events that are no end."""
        if self.run is None or self.state not in ENDS:
            return ""
        if self.state == "done":
            test = self.details["final"]["test"]
            return f"overall {100 * test['overall']:.1f} %  mean {100 * test['mean']:.1f} %"
        return f"failed: {self.details['error']}" if self.state == "failed" else "stopped; finished epochs are kept"


OnEvent = Callable[[ProgressEvent], None]


def log_event(event: ProgressEvent) -> None:
    """Logs the end of each run: as an error if it failed, else as information."""
    if event.state == "absent":
        logger.warning(absent_runs(**event.details))
    if event.run is None or not event.summary:
        return
    done = f"[{event.progress.finished}/{event.progress.count}] {event.run.name}: {event.summary}"
    logger.log(logging.ERROR if event.state == "failed" else logging.INFO, done)
    for note in event.details.get("notes", ()):
        logger.warning("%s: %s", event.run.name, note)


def absent_runs(runs: int, again: int = 0) -> str:
    """One sentence on the runs whose records alone are on this machine.

    Args:
        runs: How many count as done.
        again: How many are trained again.
    """
    said = [f"{counted(runs, 'run')} {'comes' if runs == 1 else 'come'} from {COMPACT}"] if runs else []
    if again:
        verb = "is" if again == 1 else "are"
        said.append(f"{counted(again, 'run')} {verb} trained again, because other runs start from the networks")
    return f"{'; '.join(said)}; their folders are not on this machine"


def duration(seconds: float) -> str:
    """Seconds as text: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
