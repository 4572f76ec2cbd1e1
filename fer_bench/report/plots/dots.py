"""Dot plots: the rows below each other, the best first, with a column for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fer_bench.report.arrange import Runs
from fer_bench.report.caption import images_note
from fer_bench.report.groups import Groups
from fer_bench.report.measures import Metric
from fer_bench.report.plots.style import (
    DIVERGING,
    INK,
    SOFT,
    Shading,
    canvas,
    column_names,
    heat,
    name_room,
    plain,
    row_names,
    sheet,
)
from fer_bench.report.statistics import t_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROW = 0.165
"""Inches of a row."""

COLUMNS = 4
"""Conditions that are columns of dots. More of them are a heat map."""


def ranked(runs: Runs, metric: Metric) -> pd.DataFrame:
    """Means over seeds: conditions as columns, and rows in order, the best first.

    Rows are ordered by their mean difference from the column means, so that a condition without runs of a row does not
    move it.
    """
    values = runs.frame.assign(value=metric.scale * runs.frame[metric.column("last")].astype(float))
    table = values.pivot_table(index="row", columns="condition", values="value", sort=False)
    table = table.reindex(index=list(runs.rows), columns=list(runs.conditions)).dropna(axis=1, how="all")
    order = (table - table.mean()).mean(axis=1).sort_values(ascending=metric.better < 0, kind="stable")
    return table.loc[order.index[order.notna()]]


def accuracy(runs: Runs, groups: Groups, metric: Metric, title: str) -> Figure:
    """The rows under every condition: dots for few conditions, else numbers."""
    table = ranked(runs, metric)
    if table.shape[1] <= COLUMNS:
        return _dots(runs, groups, metric, table, title)
    return _matrix(groups, metric, table, title, images_note(runs.frame["record"]))


def _dots(runs: Runs, groups: Groups, metric: Metric, table: pd.DataFrame, title: str) -> Figure:
    base, names = groups.baseline, [groups.name(row) for row in table.index]
    notes = "Dots: mean over seeds. Bars: its 95 % interval (Student's t). Sorted by the mean over conditions."
    if base in table.index:
        notes += f" Dashed line: {groups.name(base)}."
    notes = f"{notes} {images_note(runs.frame['record'])}"
    figure, panels = sheet(
        1, table.shape[1], ROW * len(table) + 0.12, title=title, notes=notes, left=name_room(names), right=0.36,
        top=0.26, bottom=0.3, gap=(0.42, 0.0),
    )  # fmt: skip
    values = runs.frame.assign(value=metric.scale * runs.frame[metric.column("last")].astype(float))
    stats = values.groupby(["condition", "row"])["value"].agg(["count", "mean", "std"])
    for number, (condition, box) in enumerate(zip(table, panels[0], strict=True)):
        ax = box.axes(figure)
        found = stats.loc[condition].reindex(table.index)
        low, high = t_interval(found["count"], found["mean"], found["std"])
        if base in table.index:
            ax.axvline(table.at[base, condition], color="#9aa0ab", linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        for k, row in enumerate(table.index):
            colour = groups.colour(row)
            ax.plot([low[k], high[k]], [k, k], color=colour, linewidth=1.3, alpha=0.55, solid_capstyle="butt")
            ax.plot(found["mean"].iloc[k], k, "o", color=colour, markersize=4.2)
            if found["count"].iloc[k] > 0:
                ax.annotate(
                    f"{found['mean'].iloc[k]:.1f}", (1, k), xycoords=("axes fraction", "data"), xytext=(3, 0),
                    textcoords="offset points", va="center", fontsize=6.5, color=SOFT,
                )  # fmt: skip
        means = found["mean"].dropna()
        span = max(means.max() - means.min(), 1.0)
        # an interval of two runs can be wider than everything else together, and is cut
        ends = np.nanmin([*low, means.min()]), np.nanmax([*high, means.max()])
        ax.set_xlim(
            max(ends[0], means.min() - 0.4 * span) - 0.06 * span, min(ends[1], means.max() + 0.4 * span) + 0.06 * span
        )
        ax.set_ylim(len(table) - 0.4, -0.6)
        ax.set_yticks(range(len(table)), [plain(name) for name in names] if number == 0 else [])
        ax.tick_params(axis="y", colors=INK, labelsize=7.5)
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.set_title(plain(str(condition)), loc="left", fontweight="bold", fontsize=8)
    return figure


def _matrix(groups: Groups, metric: Metric, table: pd.DataFrame, title: str, images: str) -> Figure:
    """Numbers under many conditions, coloured by the difference from the baseline where there is one."""
    base = groups.baseline if groups.baseline in table.index else ""
    shades = table - table.loc[base] if base else table
    notes = "Mean over seeds, sorted by the mean over conditions."
    if base:
        notes += f" Blue: better than {groups.name(base)}. Orange: worse."
    notes = f"{notes} {images}"
    limit = float(np.nanmax(np.abs(shades.to_numpy())))
    shading = Shading(float(np.nanmin(shades.to_numpy())), limit)
    if base:
        shading = Shading(-limit, limit, DIVERGING if metric.better > 0 else DIVERGING[::-1])
    names, columns = [groups.name(row) for row in table.index], [str(condition) for condition in table]
    figure, panels = sheet(
        1, 1, 0.17 * len(table), title=title, notes=notes, left=name_room(names), right=0.15, top=0.1,
        bottom=0.72 * name_room(columns),
    )  # fmt: skip
    ax, box = canvas(figure), panels[0][0]
    heat(ax, box, table, shading, ".1f", shades=shades)
    row_names(ax, box, names)
    column_names(ax, box, columns)
    return figure
