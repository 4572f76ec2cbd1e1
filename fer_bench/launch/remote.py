"""What launchers of other machines share: they follow a sweep through the store, which every worker writes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fer_bench.launch.work import Event, OnRunEvent, Work
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import PlannedRun

LOOK = 2.0
"""Seconds between two looks at the store."""


@dataclass
class Follower:
    """Reports what the store holds of runs that other machines train.

    Attributes:
        todo: The runs that have not ended, by key.
        out: Folder of the results.
        on_event: Called with each event. The number of a run stands for the worker.
    """

    todo: dict[str, PlannedRun]
    out: Path
    on_event: OnRunEvent
    _written: dict[str, int] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = {key: number for number, key in enumerate(self.todo)}
        self._written = {key: self._last_write(run) for key, run in self.todo.items()}

    @classmethod
    def of(cls, work: Work) -> Follower:
        """Follows the runs of ``work``, the most expensive one first."""
        return cls({run.spec.key: run for run in work.dear_first()}, work.out, work.on_event)

    def end(self, key: str, event: Event) -> None:
        """Reports the last event of a run."""
        self.on_event(self._numbers[key], self.todo.pop(key), event)

    def look(self) -> None:
        """Reports which runs have finished an epoch since the last look."""
        for key, run in self.todo.items():
            written = self._last_write(run)
            if written != self._written[key]:
                self._written[key] = written
                self._report_progress(key, run)

    def stored(self, run: PlannedRun) -> Event:
        """How a run whose worker is gone has ended: done, failed, or stopped before either."""
        folder = RunFolder.of(self.out, run.spec)
        if final := folder.final:
            return {"state": "done", "final": final}
        if failure := folder.failure:
            return {"state": "failed", "error": failure["error"]}
        return {"state": "stopped"}

    def _report_progress(self, key: str, run: PlannedRun) -> None:
        records = RunFolder.of(self.out, run.spec).epochs()
        if not records:
            return
        last, before = records[-1], records[-2]["images_forward"] if len(records) > 1 else 0
        rate = (last["images_forward"] - before) / max(1e-9, last["seconds"]["train"])
        event = {"state": "progress", "epoch": last["epoch"], "epochs": run.spec.recipe.epochs, "step": 0, "steps": 1}
        event |= {"images_per_second": rate, "overall": last["test"]["overall"]}
        self.on_event(self._numbers[key], run, event)

    def _last_write(self, run: PlannedRun) -> int:
        """When the epochs of a run were written; 0 before the first one."""
        try:
            return (RunFolder.of(self.out, run.spec).path / "epochs.jsonl").stat().st_mtime_ns
        except OSError:
            return 0
