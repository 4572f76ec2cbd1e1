"""A plan as terminal output: what ``--dry-run`` shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from fer_bench.core.text import counted
from fer_bench.launch.progress import duration
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan


def plan_table(planned: Plan, name: str, out: Path, force: bool, absent: Collection[str] = ()) -> Table:
    """The name of the sweep, and a line for each run: its name, its key, and whether it is done.

    ``absent`` are keys of runs that are done, but have no folder under ``out``.
    """
    table = Table("run", "key", "state", title=Text(f"sweep {name}"), title_justify="left")
    for item in planned.runs:
        known = "again" if force else "done" if item.spec.key in absent else ""
        state = known or RunFolder.of(out, item.spec).state
        table.add_row(Text(item.name), item.spec.key, {"new": "to train"}.get(state, state))
    return table


def plan_totals(planned: Plan, todo: int, devices: Sequence[str], seconds: float | None, launcher: str) -> Text:
    """How many runs are to be trained, and how long that takes; ``seconds`` is None if other machines train."""
    done, skipped = len(planned.runs) - todo, len(planned.skipped)
    counts = f"{counted(len(planned.runs), 'run')}: {done} done, {todo} to train; {counted(skipped, 'method')} skipped"
    if seconds is None:
        return Text(f"{counts}; trained by {launcher}, whose speed is not known here")
    where = ", ".join(sorted(set(devices)))
    return Text(f"{counts}; about {duration(seconds)} with {len(devices)} at a time on {where}")
