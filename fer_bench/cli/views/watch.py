"""``fer-bench watch``: a running sweep seen from another shell. Reads the store and nothing else.

A run is seen through its files alone: ``epochs.jsonl`` says how far it is, ``status.json`` and ``log.txt`` why it
failed, and its claim whether somebody works on it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_bench.core.errors import StoreError
from fer_bench.core.schema import schema_error
from fer_bench.launch.progress import duration
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.record import Sweep

BARS = "▁▂▃▄▅▆▇█"

EVERY = 2.0
"""Seconds between two looks."""

PROBE = 15.0
"""Seconds for which the answer of a run's claim is believed while its files stay as they are."""

LINES = 200
"""Runs that ``--once`` lists one by one; of a larger sweep it counts the others."""

LOG_TAIL = 4096
"""Bytes at the end of a log in which its last line is looked for."""

RECORD = {"epoch": float, "test": {"overall": float}, "seconds": {}}
"""What an epoch must hold to be shown."""

STYLES = {"running": "cyan", "failed": "red", "interrupted": "yellow", "done": "green", "new": "dim",
          "unreadable": "red"}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """One run at one moment. ``epochs`` is None until the run has written its specification.

    accuracies   overall test accuracy after each finished epoch, fractions
    seconds      time per finished epoch, mean; None before the first
    since        seconds since the last epoch was stored
    spent        seconds of a finished run
    reason       why it failed, and the last line of its log
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
        """How much of the run is done, with a guess within the epoch of a running one."""
        if self.state == "done":
            return 1.0
        if not self.epochs:
            return 0.0
        within = min(0.95, self.since / self.seconds) if self.state == "running" and self.seconds else 0.0
        return min(1.0, (len(self.accuracies) + within) / self.epochs)


@dataclass
class Watcher:
    """Looks at the runs of a sweep; ``clock`` is the wall clock, as the times of files are."""

    sweep: Sweep
    clock: Callable[[], float] = time.time
    _finished: dict[str, Look] = field(default_factory=dict)
    _states: dict[str, tuple[str, tuple[float, ...], float]] = field(default_factory=dict)

    def look(self) -> list[Look]:
        """Every run, in the order of the sweep. A finished run is read once."""
        return [self._finished.get(folder.path.name) or self._try(folder) for folder in self.sweep.runs]

    def _try(self, folder: RunFolder) -> Look:
        try:
            return self._read(folder)
        except (StoreError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            # files that are damaged, or of another version of fer-bench
            name = self.sweep.content["names"].get(folder.path.name, folder.path.name)
            return Look(name, folder.path.parent.name, "unreadable", reason=str(error))

    def _read(self, folder: RunFolder) -> Look:
        key, method = folder.path.name, folder.path.parent.name
        name = self.sweep.content["names"].get(key, key)
        state = self._state(folder)
        if state == "new":
            return Look(name, method, state)
        records, spec = folder.epochs(), folder.spec
        if wrong := schema_error(records, [RECORD], "epochs.jsonl"):
            raise ValueError(wrong)
        accuracies = tuple(record["test"]["overall"] for record in records)
        epochs = int(spec["recipe"]["epochs"]) if spec else None
        spent = [sum(record["seconds"].values()) for record in records]
        seconds = sum(spent) / len(spent) if spent else None
        if state == "done":
            final = folder.final or {}
            found = Look(name, method, state, accuracies, epochs, seconds, spent=final.get("seconds"))
            self._finished[key] = found
            return found
        since = max(0.0, self.clock() - max(_times(folder), default=self.clock()))
        return Look(name, method, state, accuracies, epochs, seconds, since, reason=_reason(folder, state))

    def _state(self, folder: RunFolder) -> str:
        """``RunFolder.state``, which reads several files, only where it may have changed."""
        if folder.final:
            return "done"
        times, now = _times(folder), self.clock()
        state, seen, at = self._states.get(folder.path.name, ("", (), 0.0))
        if not state or times != seen or now - at > PROBE:
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


def seconds_left(looks: Sequence[Look]) -> float | None:
    """Until the runs that work or wait are done; None while nothing is measured, or nobody works and some wait.

    A run takes what its own epochs say, else the mean of runs of its method, else of all; what is left is shared by as
    many workers as work now.
    """
    left = [look for look in looks if look.state in ("running", "new", "interrupted")]
    working = sum(look.state == "running" for look in left)
    if not left:
        return 0.0
    if not working:
        return None
    usual = _usual(looks)
    total = 0.0
    for look in left:
        own = look.seconds * look.epochs if look.seconds and look.epochs else None
        whole = own or usual.get(look.method, usual.get(""))
        if whole is None:
            return None
        total += whole * (1 - look.share)
    return total / working


def _usual(looks: Sequence[Look]) -> dict[str, float]:
    """Mean seconds of a whole run by method, and of all methods under ""."""
    known: dict[str, list[float]] = {}
    for look in looks:
        if seconds := look.spent or (look.seconds or 0) * (look.epochs or 0):
            known.setdefault(look.method, []).append(seconds)
            known.setdefault("", []).append(seconds)
    return {method: sum(values) / len(values) for method, values in known.items()}


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """Values in [0, 1] as bars of a fixed scale, so that lines compare; more than ``width`` are thinned, ends kept."""
    if len(values) > width:
        values = [values[round(place * (len(values) - 1) / (width - 1))] for place in range(width)]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(value * len(BARS))))] for value in values)


def over(looks: Sequence[Look]) -> bool:
    """Nothing works and nothing waits: every run is done, failed or cannot be read."""
    return all(look.state in ("done", "failed", "unreadable") for look in looks)


def show(sweep: Sweep, looks: Sequence[Look], height: int | None = None) -> RenderableType:
    """The sweep as lines: what works, what failed and was interrupted, and as many of the others as ``height`` lets."""
    counts = Counter(look.state for look in looks)
    share = sum(look.share if look.state != "failed" else 1.0 for look in looks) / max(1, len(looks))
    left = seconds_left(looks)
    head = Text.assemble((sweep.name, "bold"), f"  {100 * share:.0f} %  ")
    for state in ("done", "running", "failed", "unreadable", "interrupted", "new"):
        if counts[state]:
            word = "waiting" if state == "new" else state
            head.append(f"{counts[state]} {word}  ", style=STYLES[state])
    if left is None:
        head.append("nobody works on it" if not counts["running"] else "time left unknown", style="dim")
    elif left:
        head.append(f"about {duration(left)} left", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=False)
    for number in range(4):
        table.add_column(justify="right" if number == 2 else "left", overflow="fold")
    order = {
        state: place for place, state in enumerate(("running", "failed", "unreadable", "interrupted", "done", "new"))
    }
    lines = sorted(looks, key=lambda look: order[look.state])
    room = len(lines) if height is None else max(3, height - 5)
    if len(lines) > room:
        room -= 1
    for look in lines[:room]:
        table.add_row(*_line(look))
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=share, width=48))
    parts: list[RenderableType] = [head, bar, table]
    if len(lines) > room:
        rest = Counter("waiting" if look.state == "new" else look.state for look in lines[room:])
        parts.append(Text("and " + ", ".join(f"{count} {state}" for state, count in rest.items()), style="dim"))
    parts += [Text(f"skipped: {reason}", style="yellow") for reason in sweep.content["skipped"]]
    return Group(*parts)


def _line(look: Look) -> tuple[Text, Text, Text, Text]:
    """State and name, curve, accuracy, and what there is to say."""
    word = "waiting" if look.state == "new" else look.state
    curve = Text(sparkline(look.accuracies), style="cyan" if look.state == "running" else "dim")
    accuracy = Text(f"{100 * look.accuracies[-1]:.1f} %" if look.accuracies else "")
    if look.state in ("failed", "unreadable"):
        about = Text(look.reason, style="red")
    elif look.state == "done":
        about = Text(f"{look.spent:.0f} s" if look.spent is not None else "", style="dim")
    elif look.epochs and look.state != "new":
        about = Text(f"epoch {len(look.accuracies)}/{look.epochs}")
        if look.seconds:
            about.append(f"  {look.seconds:.1f} s each", style="dim")
    else:
        about = Text("")
    return Text.assemble((f"{word:<12}", STYLES[look.state]), look.name), curve, accuracy, about


def watch(sweep: Sweep, console: Console, once: bool = False, every: float = EVERY) -> int:
    """Shows the sweep until every run is done or failed, or once; the number of failed runs. Ctrl-C ends it too."""
    watcher = Watcher(sweep)
    looks = watcher.look()
    if once:
        console.print(show(sweep, looks, LINES))
        return _failed(looks)
    try:
        with Live(show(sweep, looks, console.height), console=console, auto_refresh=False) as live:
            while not over(looks):
                time.sleep(every)
                looks = watcher.look()
                live.update(show(sweep, looks, console.height), refresh=True)
    except KeyboardInterrupt:
        console.print("stopped watching; the sweep goes on", style="dim")
    return _failed(looks)


def _failed(looks: Sequence[Look]) -> int:
    return sum(look.state == "failed" for look in looks)
