"""``fer-bench watch``: a running sweep, seen from another shell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_bench.cli.snapshots import RunSnapshot, SweepWatcher, all_ended, failed_count, seconds_left
from fer_bench.launch.progress import duration
from fer_bench.sweep.record import Sweep

BARS = "▁▂▃▄▅▆▇█"

EVERY = 2.0
"""Seconds between two readings of the store."""

LINES = 200
"""Runs that ``--once`` lists one by one; the others are counted."""

STYLES = {
    "running": "cyan", "failed": "red", "unreadable": "red", "interrupted": "yellow", "done": "green", "new": "dim",
}  # fmt: skip
"""Style of each state, in the order in which runs are listed."""

ORDER = list(STYLES)

HEADER = ("done", "running", "failed", "unreadable", "interrupted", "new")


def watch_sweep(sweep: Sweep, console: Console, once: bool = False, every: float = EVERY) -> int:
    """Shows the sweep until every run is done or failed, or once; the number of failed runs. Ctrl-C ends it too."""
    watcher = SweepWatcher(sweep)
    runs = watcher.snapshots()
    if once:
        console.print(sweep_view(sweep, runs, LINES))
        return failed_count(runs)
    try:
        with Live(sweep_view(sweep, runs, console.height), console=console, auto_refresh=False) as live:
            while not all_ended(runs):
                time.sleep(every)
                runs = watcher.snapshots()
                live.update(sweep_view(sweep, runs, console.height), refresh=True)
    except KeyboardInterrupt:
        console.print("stopped watching; the sweep continues", style="dim")
    return failed_count(runs)


def sweep_view(sweep: Sweep, runs: Sequence[RunSnapshot], height: int | None = None) -> RenderableType:
    """The sweep as lines: what is running, failed and interrupted, and as many others as ``height`` has room for."""
    share = sum(run.share if run.state != "failed" else 1.0 for run in runs) / max(1, len(runs))
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=share, width=48))
    ordered = sorted(runs, key=lambda run: ORDER.index(run.state))
    room = len(ordered) if height is None else max(3, height - 5)
    if len(ordered) > room:
        room -= 1
    parts: list[RenderableType] = [_header(sweep.name, runs, share), bar, _table(ordered[:room])]
    if len(ordered) > room:
        rest = Counter(_word(run.state) for run in ordered[room:])
        parts.append(Text("and " + ", ".join(f"{count} {state}" for state, count in rest.items()), style="dim"))
    parts += [Text(f"skipped: {reason}", style="yellow") for reason in sweep.content["skipped"]]
    return Group(*parts)


def _header(name: str, runs: Sequence[RunSnapshot], share: float) -> Text:
    counts, left = Counter(run.state for run in runs), seconds_left(runs)
    head = Text.assemble((name, "bold"), f"  {100 * share:.0f} %  ")
    for state in HEADER:
        if counts[state]:
            head.append(f"{counts[state]} {_word(state)}  ", style=STYLES[state])
    if left is None:
        head.append("time left unknown" if counts["running"] else "no process is working on it", style="dim")
    elif left:
        head.append(f"about {duration(left)} left", style="bold")
    return head


def _table(runs: Sequence[RunSnapshot]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=False)
    for number in range(4):
        table.add_column(justify="right" if number == 2 else "left", overflow="fold")
    for run in runs:
        table.add_row(*_line(run))
    return table


def _line(run: RunSnapshot) -> tuple[Text, Text, Text, Text]:
    """State and name, curve, accuracy, and details."""
    curve = Text(sparkline(run.accuracies), style="cyan" if run.state == "running" else "dim")
    accuracy = Text(f"{100 * run.accuracies[-1]:.1f} %" if run.accuracies else "")
    return Text.assemble((f"{_word(run.state):<12}", STYLES[run.state]), run.name), curve, accuracy, _details(run)


def _details(run: RunSnapshot) -> Text:
    if run.state in ("failed", "unreadable"):
        return Text(run.reason, style="red")
    if run.state == "done":
        return Text(f"{run.spent:.0f} s" if run.spent is not None else "", style="dim")
    if not run.epochs or run.state == "new":
        return Text("")
    details = Text(f"epoch {len(run.accuracies)}/{run.epochs}")
    if run.seconds:
        details.append(f"  {run.seconds:.1f} s each", style="dim")
    return details


def _word(state: str) -> str:
    return "waiting" if state == "new" else state


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """Values in [0, 1] as bars of a fixed scale, so that lines compare; more than ``width`` are thinned, ends kept."""
    if len(values) > width:
        values = [values[round(number * (len(values) - 1) / (width - 1))] for number in range(width)]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(value * len(BARS))))] for value in values)
