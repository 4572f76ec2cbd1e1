"""Writes the tables and plots of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.report.arrange import arrange
from fer_bench.report.rendering import Table, csv_text
from fer_bench.report.tables import DEFAULT_VIEW, comparison
from fer_bench.report.trials import trial_table
from fer_bench.sweep.record import Sweep
from fer_bench.sweep.settings import SETTINGS, Settings
from fer_bench.sweep.trials import trials_of
from fer_bench.sweep.tuned import tuned_settings

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.measures import View

DRAWN = "plots/drawn.txt"
"""Keys of the runs that the plots of a sweep show, written after the last plot."""


@dataclass(frozen=True)
class Outputs:
    """What is made of the finished runs of a sweep.

    Attributes:
        sweep: The sweep.
        table: Its table: a comparison of methods, or the trials of a tuning.
        runs: One row for each finished run, with the columns of ``fer_bench.load_runs``.
        draw: Draws the plots into a folder, and returns their paths.
        settings: What a tuning chose; None for an ordinary sweep, and while trials are pending.
    """

    sweep: Sweep
    table: Table
    runs: pd.DataFrame
    draw: Callable[[Path], list[Path]]
    settings: Settings | None = None

    def write(self) -> list[Path]:
        """Writes the tables, the runs, the records, and the settings file of a tuning; the paths of what is new."""
        folder = self.sweep.folder
        written = write_table(self.table, self.runs, folder)
        self.sweep.save_records()
        if self.settings is not None:
            write_atomically(folder / SETTINGS, self.settings.to_toml().encode())
            written.append(folder / SETTINGS)
        return written

    def write_plots(self, redraw: bool = False) -> list[Path]:
        """Draws the plots, unless they are there and of the same runs; the paths."""
        file = self.sweep.folder / DRAWN
        keys = "".join(sorted(f"{record.key}\n" for record in self.sweep.records())).encode()
        if not redraw and file.exists() and file.read_bytes() == keys:
            return []
        written = self.draw(self.sweep.folder / "plots")
        write_atomically(file, keys)
        return written


def outputs_of(sweep: Sweep, view: View = DEFAULT_VIEW) -> Outputs:
    """The outputs of a sweep with a finished run.

    Args:
        sweep: The sweep.
        view: What the table shows. A tuning has one view.
    """
    return _of_tuning(sweep) if sweep.tuning else _of_sweep(sweep, view)


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
    outputs = outputs_of(sweep, view)
    return [*outputs.write(), *outputs.write_plots(redraw)]


def write_table(table: Table, runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes ``table.md``, ``.csv``, ``.tex`` and ``.html``, and ``runs.csv`` if there are runs; the paths."""
    contents = {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "table.tex": table.latex(),
        "table.html": table.html(),
    }
    if len(runs):
        contents["runs.csv"] = csv_text(runs)
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def _of_sweep(sweep: Sweep, view: View) -> Outputs:
    runs = arrange(sweep.records(), sweep.classes)

    def draw(folder: Path) -> list[Path]:
        from fer_bench.report.plots import figures  # matplotlib takes a second to load

        return figures.write(runs, folder)

    return Outputs(sweep, comparison(runs, view, sweep.unfinished()), runs.raw, draw)


def _of_tuning(sweep: Sweep) -> Outputs:
    trials = trials_of(sweep)

    def draw(folder: Path) -> list[Path]:
        from fer_bench.report.plots.trials import write

        return write(trials, folder)

    table = trial_table(trials, sweep.tuning, sweep.unfinished())
    return Outputs(sweep, table, sweep.finished(), draw, tuned_settings(sweep, trials))
