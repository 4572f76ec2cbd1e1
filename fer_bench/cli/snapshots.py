"""A sweep as its stored files show it at one moment, for ``fer-bench watch``.

Only the store is read: ``epochs.jsonl`` says how far a run is, ``status.json`` and ``log.txt`` why it failed, and its
claim whether a process works on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_bench.core.errors import StoreError
from fer_bench.core.schema import schema_error
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.record import Sweep

CLAIM_SECONDS = 15.0
"""Seconds for which a run's claim is not looked at again while its files do not change."""

LOG_TAIL = 4096
"""Bytes at the end of a log in which its last line is searched."""

EPOCH = {"epoch": float, "test": {"overall": float}, "seconds": {}}
"""Shape of an epoch that can be shown."""

WAITS = ("running", "new", "interrupted")
"""States of runs that are not over."""


@dataclass(frozen=True)
class RunSnapshot:
    """One run at one moment.

    Attributes:
        name: Name of the run in the sweep.
        method: Key of its method.
        state: "new", "running", "interrupted", "failed", "done" or "unreadable".
        accuracies: Overall test accuracy after each finished epoch, as fractions.
        epochs: Epochs of the whole run; None until the run has written its specification.
        seconds: Mean time of a finished epoch; None before the first.
        since: Seconds since the last epoch was stored.
        spent: Seconds that a finished run took.
        reason: Why it failed, and the last line of its log.
    """

    name: str
    method: str
    state: str
    accuracies: tuple[float, ...] = ()
    epochs: int | None = None
    seconds: float | None = None
    since: float = 0.0
    spent: float | None = None
    reason: str = ""

    @property
    def share(self) -> float:
        """The finished part of the run, 0 to 1; within an epoch that is running, it is estimated."""
        if self.state == "done":
            return 1.0
        if not self.epochs:
            return 0.0
        within = min(0.95, self.since / self.seconds) if self.state == "running" and self.seconds else 0.0
        return min(1.0, (len(self.accuracies) + within) / self.epochs)

    @property
    def whole(self) -> float | None:
        """Seconds of the whole run, measured or expected from its own epochs; None before the first."""
        return self.spent or (self.seconds * self.epochs if self.seconds and self.epochs else None)


@dataclass
class SweepWatcher:
    """Looks at the runs of a sweep; ``clock`` is the wall clock, which also dates the files."""

    sweep: Sweep
    clock: Callable[[], float] = time.time
    _finished: dict[str, RunSnapshot] = field(default_factory=dict)
    _states: dict[str, tuple[str, tuple[float, ...], float]] = field(default_factory=dict)

    def snapshots(self) -> list[RunSnapshot]:
        """Every run, in the order of the sweep. A finished run is read once."""
        return [self._finished.get(folder.path.name) or self._try(folder) for folder in self.sweep.runs]

    def _try(self, folder: RunFolder) -> RunSnapshot:
        try:
            return self._read(folder)
        except (StoreError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            # files that are damaged, or of another version of fer-bench
            return RunSnapshot(self._name(folder), folder.path.parent.name, "unreadable", reason=str(error))

    def _read(self, folder: RunFolder) -> RunSnapshot:
        key, method, name = folder.path.name, folder.path.parent.name, self._name(folder)
        state = self._state(folder)
        if state == "new":
            return self._absent(folder) or RunSnapshot(name, method, state)
        records, spec = folder.epochs(), folder.spec
        if wrong := schema_error(records, [EPOCH], "epochs.jsonl"):
            raise ValueError(wrong)
        accuracies = tuple(record["test"]["overall"] for record in records)
        epochs = int(spec["recipe"]["epochs"]) if spec else None
        spent = [sum(record["seconds"].values()) for record in records]
        seconds = sum(spent) / len(spent) if spent else None
        if state == "done":
            final = folder.final or {}
            found = RunSnapshot(name, method, state, accuracies, epochs, seconds, spent=final.get("seconds"))
            self._finished[key] = found
            return found
        since = max(0.0, self.clock() - max(_times(folder), default=self.clock()))
        return RunSnapshot(name, method, state, accuracies, epochs, seconds, since, reason=_reason(folder, state))

    def _absent(self, folder: RunFolder) -> RunSnapshot | None:
        """A run without a folder on this machine whose record is in the sweep's compact file."""
        record = self.sweep.absent().get(folder.path.name)
        if record is None:
            return None
        accuracies = tuple(each["test"]["overall"] for each in record.epochs)
        epochs, seconds = int(record.spec["recipe"]["epochs"]), record.final["seconds"]
        return RunSnapshot(self._name(folder), folder.path.parent.name, "done", accuracies, epochs, spent=seconds)

    def _name(self, folder: RunFolder) -> str:
        return str(self.sweep.content["names"].get(folder.path.name, folder.path.name))

    def _state(self, folder: RunFolder) -> str:
        """``RunFolder.state``, which reads several files, only where it may have changed."""
        if folder.final:
            return "done"
        times, now = _times(folder), self.clock()
        state, seen, at = self._states.get(folder.path.name, ("", (), 0.0))
        if not state or times != seen or now - at > CLAIM_SECONDS:
            state = folder.state
            self._states[folder.path.name] = (state, times, now)
        return state


def _times(folder: RunFolder) -> tuple[float, ...]:
    """When the files that a working run writes were written."""
    found = []
    for name in ("spec.json", "epochs.jsonl", "status.json"):
        try:
            found.append((folder.path / name).stat().st_mtime)
        except OSError:
            continue
    return tuple(found)


def _reason(folder: RunFolder, state: str) -> str:
    if state != "failed":
        return ""
    return " | ".join(part for part in (folder.failure.get("error", ""), *last_lines(folder.path / "log.txt")) if part)


def last_lines(path: Path, count: int = 1) -> list[str]:
    """The last lines of a log that are not empty, at most ``count``."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - LOG_TAIL))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-count:]


def seconds_left(runs: Sequence[RunSnapshot]) -> float | None:
    """Seconds until the last run is done; None if nothing is measured yet, or if runs wait and no process works.

    A run takes what its own epochs say, else the mean of the runs of its method, else the mean of all runs. The work
    that is left is shared by as many workers as work now.
    """
    left = [run for run in runs if run.state in WAITS]
    working = sum(run.state == "running" for run in left)
    if not left:
        return 0.0
    if not working:
        return None
    usual = _usual_seconds(runs)
    total = 0.0
    for run in left:
        whole = run.whole or usual.get(run.method, usual.get(""))
        if whole is None:
            return None
        total += whole * (1 - run.share)
    return total / working


def _usual_seconds(runs: Sequence[RunSnapshot]) -> dict[str, float]:
    """Mean seconds of a whole run by method, and of all methods under ""."""
    known: dict[str, list[float]] = {}
    for run in runs:
        if run.whole:
            known.setdefault(run.method, []).append(run.whole)
            known.setdefault("", []).append(run.whole)
    return {method: sum(values) / len(values) for method, values in known.items()}


def all_ended(runs: Sequence[RunSnapshot]) -> bool:
    """Whether every run is done, failed or unreadable."""
    return all(run.state in ("done", "failed", "unreadable") for run in runs)


def failed_count(runs: Sequence[RunSnapshot]) -> int:
    """How many runs failed."""
    return sum(run.state == "failed" for run in runs)
