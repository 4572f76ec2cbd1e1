"""Writes the tables and plots of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.sweep.record import Sweep

if TYPE_CHECKING:
    from fer_bench.report.measures import View

DRAWN = "plots/drawn.txt"
"""Keys of the runs that the plots of a sweep show, written after the last plot."""


def write_outputs(sweep: Sweep, plots: bool = True, view: View | None = None) -> list[Path]:
    """Writes tables (as ``view`` says), ``runs.csv``, the compact file of a finished sweep, and plots.

    Writes nothing where no run is finished.
    """
    from fer_bench.report import tables

    runs = sweep.finished()
    if runs.empty:
        return []
    written = tables.write(
        runs, sweep.folder, notes=sweep.unfinished(), classes=sweep.classes, view=view or tables.DEFAULT_VIEW
    )
    sweep.save_records()
    if plots:
        from fer_bench.report.plots import figures

        written += figures.write(runs, sweep.folder, classes=sweep.classes)
        write_atomically(sweep.folder / DRAWN, _drawn(sweep))
    return written


def plots_are_current(sweep: Sweep) -> bool:
    """Whether the plots were drawn, to the last one, from the runs that are finished now."""
    try:
        return (sweep.folder / DRAWN).read_bytes() == _drawn(sweep)
    except OSError:
        return False


def _drawn(sweep: Sweep) -> bytes:
    return "".join(
        sorted(f"{folder.path.name}\n" for folder in sweep.runs if (folder.path / "final.json").exists())
    ).encode()
