"""What ``fer-bench status`` shows of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from fer_bench.cli.snapshots import last_lines
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.record import Sweep

LOG_LINES = 20
"""Lines that are shown of the log of a failed run."""


def sweep_status(sweep: Sweep) -> RenderableType:
    """The sweep's command, how many runs are in which state, a line for each that is not done, and every traceback."""
    return Group(*_parts(sweep))


def _parts(sweep: Sweep) -> Iterator[RenderableType]:
    states = sweep.states()
    counts = Counter(state for state, _ in states)
    yield Text.assemble("sweep ", (sweep.name, "bold"), f"  {sweep.content['command']}")
    yield Text(", ".join(f"{number} {state}" for state, number in counts.most_common()) or "no runs")
    for line in sweep.unfinished(states):
        yield Text(f"  {line}")
    for folder, (state, _) in zip(sweep.runs, states, strict=True):
        if state == "failed":
            yield from _failure(folder)


def _failure(folder: RunFolder) -> Iterator[RenderableType]:
    yield Text(f"\n── {folder.path}", style="red")
    yield Text(folder.failure.get("traceback", ""))
    if lines := last_lines(folder.path / "log.txt", LOG_LINES):
        yield Text("last lines of log.txt:", style="dim")
        yield Text("\n".join(lines))
