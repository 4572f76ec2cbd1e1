"""Writes the tables and plots of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.plugins.registry import Plugin
from fer_bench.report.rendering import Table, csv_text
from fer_bench.report.shown import Shown
from fer_bench.report.tables import DEFAULT_VIEW, comparison
from fer_bench.report.trials import trial_table
from fer_bench.sweep.record import Sweep
from fer_bench.sweep.settings import SETTINGS, Settings
from fer_bench.sweep.trials import trials_of
from fer_bench.sweep.tuned import tuned_settings

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.measures import View

ALL = Shown()

NO_PLUGINS: Mapping[str, Plugin] = MappingProxyType({})

DRAWN = "plots/drawn.txt"
"""What the plots of a sweep show, written after the last plot."""


@dataclass(frozen=True)
class Outputs:
    """What is made of the finished runs of a sweep.

    Attributes:
        sweep: The sweep.
        table: Its table: a comparison of methods, or the trials of a tuning.
        runs: One row for each finished run, with the columns of ``fer_bench.load_runs``.
        draw: Draws the plots into a folder, and returns their paths.
        drawn: Names what the plots show: their rows in order, and the keys of their runs.
        settings: What a tuning chose; None for an ordinary sweep, and while trials are pending.
    """

    sweep: Sweep
    table: Table
    runs: pd.DataFrame
    draw: Callable[[Path], list[Path]]
    drawn: bytes
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
        if not redraw and file.exists() and file.read_bytes() == self.drawn:
            return []
        written = self.draw(self.sweep.folder / "plots")
        write_atomically(file, self.drawn)
        return written


def outputs_of(
    sweep: Sweep, view: View = DEFAULT_VIEW, shown: Shown = ALL, plugins: Mapping[str, Plugin] = NO_PLUGINS
) -> Outputs:
    """The outputs of a sweep with a finished run.

    Args:
        sweep: The sweep.
        view: What the table shows. A tuning has one view.
        shown: Which methods are shown, and in which order. A tuning shows all.
        plugins: Methods by key, for their names.
    """
    return _of_tuning(sweep) if sweep.tuning else _of_sweep(sweep, view, shown, plugins)


def write_outputs(sweep: Sweep, plugins: Mapping[str, Plugin] = NO_PLUGINS, redraw: bool = False) -> list[Path]:
    """Writes the tables, the records and the plots of what is finished; nothing if no run is.

    Args:
        sweep: The sweep.
        plugins: Methods by key, for their names.
        redraw: Draws the plots even if they are of the same runs.

    Returns:
        The paths that were written.
    """
    if not sweep.records():
        return []
    outputs = outputs_of(sweep, plugins=plugins)
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


def _of_sweep(sweep: Sweep, view: View, shown: Shown, plugins: Mapping[str, Plugin]) -> Outputs:
    runs = shown.arrange(sweep.records(), sweep.classes, plugins, view)

    def draw(folder: Path) -> list[Path]:
        from fer_bench.report.plots import figures  # matplotlib takes a second to load

        return figures.write(runs, folder)

    return Outputs(
        sweep, comparison(runs, view, sweep.unfinished()), runs.raw, draw, _drawn(runs.rows, runs.frame["key"])
    )


def _of_tuning(sweep: Sweep) -> Outputs:
    trials = trials_of(sweep)

    def draw(folder: Path) -> list[Path]:
        from fer_bench.report.plots.trials import write

        return write(trials, folder)

    table = trial_table(trials, sweep.tuning, sweep.unfinished())
    runs = sweep.finished()
    return Outputs(sweep, table, runs, draw, _drawn((), runs["key"]), tuned_settings(sweep, trials))


def _drawn(rows: Iterable[str], keys: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in (*rows, *sorted(keys))).encode()
