"""What a launcher is given: the runs to train, where, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.sweep.plan import Plan, PlannedRun

Event = dict[str, Any]
"""What is known of a run: "state", and the details that :class:`fer_bench.launch.progress.ProgressEvent` lists."""

OnRunEvent = Callable[[int, PlannedRun, Event], None]
"""Called with the number of the worker, the run, and the event."""


def ignore_event(worker: int, run: PlannedRun, event: Event) -> None:
    """The default ``on_event``."""


@dataclass(frozen=True)
class Work:
    """Runs to train.

    Attributes:
        plan: The plan that the runs are from.
        todo: The runs.
        out: Folder of the results.
        devices: A device for each worker process; empty where another machine trains.
        force: Whether runs that are done are trained again.
        on_event: Called with each event.
    """

    plan: Plan
    todo: Sequence[PlannedRun]
    out: Path
    devices: Sequence[str] = ()
    force: bool = False
    on_event: OnRunEvent = ignore_event

    def dear_first(self) -> list[PlannedRun]:
        """The runs, the most expensive one first, so that no worker is left with a long one at the end."""
        return sorted(self.todo, key=lambda run: -run.cost)
