"""Writes the tables and plots of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.rendering import Table
from fer_bench.report.tables import DEFAULT_VIEW, comparison
from fer_bench.sweep.record import Sweep

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.measures import View

DRAWN = "plots/drawn.txt"
"""Keys of the runs that the plots of a sweep show, written after the last plot."""


def write_outputs(sweep: Sweep, view: View = DEFAULT_VIEW, redraw: bool = False) -> list[Path]:
    """Writes the tables, the records and the plots of what is finished; nothing if no run is.

    Args:
        sweep: The sweep.
        view: What the tables show.
        redraw: Draws the plots even if they are of the same runs.

    Returns:
        The paths that were written.
    """
    if not sweep.records():
        return []
    runs = arrange(sweep.records(), sweep.classes)
    written = write_table(comparison(runs, view, sweep.unfinished()), runs.raw, sweep.folder)
    sweep.save_records()
    return [*written, *write_plots(sweep, runs, redraw)]


def write_table(table: Table, runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes ``table.md``, ``.csv``, ``.tex`` and ``.html``, and ``runs.csv`` if there are runs; the paths."""
    contents = {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "table.tex": table.latex(),
        "table.html": table.html(),
    }
    if len(runs):
        contents["runs.csv"] = runs.to_csv(index=False, lineterminator="\n")
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def write_plots(sweep: Sweep, runs: Runs, redraw: bool = False) -> list[Path]:
    """Draws the plots of a sweep, unless they are there and of the same runs; the paths."""
    file = sweep.folder / DRAWN
    keys = "".join(sorted(f"{record.key}\n" for record in sweep.records())).encode()
    if not redraw and file.exists() and file.read_bytes() == keys:
        return []
    from fer_bench.report.plots import figures  # matplotlib takes a second to load

    written = figures.write(runs, sweep.folder / "plots")
    write_atomically(file, keys)
    return written
