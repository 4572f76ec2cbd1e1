"""Writes the tables and plots of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fer_bench.core.errors import require
from fer_bench.core.files import write_atomically
from fer_bench.plugins.registry import Plugin
from fer_bench.report.arrange import distinct_names
from fer_bench.report.joining import join
from fer_bench.report.rendering import Table, csv_text
from fer_bench.report.shown import ALL, Shown
from fer_bench.report.tables import DEFAULT_VIEW, comparison
from fer_bench.report.trials import trial_table
from fer_bench.sweep.record import Sweep
from fer_bench.sweep.settings import SETTINGS, Settings
from fer_bench.sweep.trials import trials_of
from fer_bench.sweep.tuned import tuned_settings

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.measures import View

NO_PLUGINS: Mapping[str, Plugin] = MappingProxyType({})


@dataclass(frozen=True)
class Outputs:
    """What is made of the finished runs of a sweep, or of several.

    Attributes:
        folder: Where the files go.
        table: The table: a comparison of methods, or the trials of a tuning.
        runs: One row for each finished run, with the columns of ``fer_bench.load_runs``.
        draw: Draws the plots of some kinds (all if there are none) into a folder; whether also those that are there. It
            returns the paths of what is new.
        sweep: The sweep whose records are stored with the files, if it is one and they go into its folder.
        settings: What a tuning chose; None for an ordinary sweep, and while trials are pending.
    """

    folder: Path
    table: Table
    runs: pd.DataFrame
    draw: Callable[[Path, Iterable[str], bool], list[Path]]
    sweep: Sweep | None = None
    settings: Settings | None = None

    def write(self) -> list[Path]:
        """Writes the tables, the runs, the records, and the settings file of a tuning; the paths of what is new."""
        written = write_table(self.table, self.runs, self.folder)
        if self.sweep is not None:
            self.sweep.save_records()
        if self.settings is not None:
            write_atomically(self.folder / SETTINGS, self.settings.to_toml().encode())
            written.append(self.folder / SETTINGS)
        return written

    def write_plots(self, kinds: Iterable[str] = (), redraw: bool = False) -> list[Path]:
        """Draws the plots that are missing or of other runs; the paths.

        Args:
            kinds: Of ``fer_bench.report.plots.KINDS``; all if there are none.
            redraw: Draws also those that are there.
        """
        return self.draw(self.folder / "plots", kinds, redraw)


def outputs_of(
    *sweeps: Sweep,
    view: View = DEFAULT_VIEW,
    shown: Shown = ALL,
    plugins: Mapping[str, Plugin] = NO_PLUGINS,
    to: Path | None = None,
) -> Outputs:
    """The outputs of sweeps with a finished run. Several sweeps have one table.

    Args:
        sweeps: The sweeps.
        view: What the table shows. A tuning has the default view alone.
        shown: Which methods are shown, and in which order.
        plugins: Methods by key, for their names.
        to: Where the files go, if not to the folder of the sweep, or to ``<out>/tables/A+B`` for several.

    Raises:
        SpecError: The sweeps cannot be joined, a name in ``view`` or ``shown`` is unknown, or a tuning has another
            view.
    """
    if len(sweeps) == 1 and sweeps[0].tuning:
        require(view == DEFAULT_VIEW, f"{sweeps[0].name} is a tuning: its table has no other metrics, epochs or tests")
        return _of_tuning(sweeps[0], shown, plugins, to)
    together = join(sweeps)
    runs = shown.arrange(together.records, together.classes, plugins, view)

    def draw(folder: Path, kinds: Iterable[str], redraw: bool) -> list[Path]:
        from fer_bench.report.plots import figures

        return figures.write(runs, folder, kinds, redraw)

    return Outputs(
        to or together.folder,
        replace(comparison(runs, view, [*together.notes, *together.unfinished]), name=together.folder.name),
        runs.raw,
        draw,
        sweeps[0] if len(sweeps) == 1 and to is None else None,
    )


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
    return [*outputs.write(), *outputs.write_plots(redraw=redraw)]


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


def _of_tuning(sweep: Sweep, shown: Shown, plugins: Mapping[str, Plugin], to: Path | None) -> Outputs:
    every = trials_of(sweep)
    trials, order = shown.trials(every, sweep.classes, plugins)
    names = distinct_names({method: plugins[method].described.name for method in trials if method in plugins})

    def draw(folder: Path, _: Iterable[str], redraw: bool) -> list[Path]:
        from fer_bench.report.plots.trials import write

        return write(trials, names, folder, redraw)

    table = trial_table(trials, sweep.tuning, sweep.unfinished(), names, order)
    stored = sweep if to is None else None
    return Outputs(
        to or sweep.folder,
        replace(table, name=sweep.name),
        sweep.finished(),
        draw,
        stored,
        tuned_settings(sweep, every),
    )
