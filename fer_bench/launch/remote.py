"""What launchers of other machines share: a sweep is followed through the store, which every worker writes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fer_bench.launch.worker import Event, Tell
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import PlannedRun

LOOK = 2.0
"""Seconds between two looks at the store."""


@dataclass
class Follower:
    """Tells of runs what the store says of them; ``todo`` are the runs that are not over yet."""

    todo: dict[str, PlannedRun]
    out: Path
    tell: Tell
    _seen: dict[str, int] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = {key: number for number, key in enumerate(self.todo)}
        self._seen = {key: self._written(run) for key, run in self.todo.items()}

    def over(self, key: str, event: Event) -> None:
        """A run has ended as ``event`` says."""
        self.tell(self._numbers[key], self.todo.pop(key), event)

    def look(self) -> None:
        """Tells which runs have finished an epoch since the last look."""
        for key, run in self.todo.items():
            written = self._written(run)
            if written != self._seen[key]:
                self._seen[key] = written
                self._progress(key, run)

    def stored(self, run: PlannedRun) -> Event:
        """How a run whose worker is gone has ended: done, failed, or stopped before either."""
        folder = RunFolder.of(self.out, run.spec)
        if final := folder.final:
            return {"state": "done", "final": final}
        if failure := folder.failure:
            return {"state": "failed", "error": failure["error"]}
        return {"state": "stopped"}

    def _progress(self, key: str, run: PlannedRun) -> None:
        records = RunFolder.of(self.out, run.spec).epochs()
        if not records:
            return
        last, before = records[-1], records[-2]["images_forward"] if len(records) > 1 else 0
        rate = (last["images_forward"] - before) / max(1e-9, last["seconds"]["train"])
        event = {"state": "progress", "epoch": last["epoch"], "epochs": run.spec.recipe.epochs, "step": 0, "steps": 1}
        self.tell(self._numbers[key], run, {**event, "images_per_second": rate, "overall": last["test"]["overall"]})

    def _written(self, run: PlannedRun) -> int:
        try:
            return (RunFolder.of(self.out, run.spec).path / "epochs.jsonl").stat().st_mtime_ns
        except OSError:
            return 0
