"""Dot plots: the rows below each other, with a column for each condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fer_bench.report.arrange import Runs
from fer_bench.report.caption import images_note, means_text
from fer_bench.report.groups import Groups
from fer_bench.report.measures import Metric
from fer_bench.report.plots.style import (
    DIVERGING,
    INK,
    SOFT,
    Shading,
    broken,
    canvas,
    column_names,
    heat,
    name_room,
    plain,
    row_names,
    sheet,
)
from fer_bench.report.statistics import t_interval
from fer_bench.report.wording import sentence_case

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROW = 0.165
"""Inches of a row."""

NAME = 46
"""Letters of a line of a name."""

COLUMNS = 4
"""Conditions that are columns of dots. More of them are a heat map."""


def ranked(runs: Runs, metric: Metric) -> pd.DataFrame:
    """Means over seeds: conditions as columns, and the rows with any value in their order."""
    values = runs.frame.assign(value=metric.scale * runs.frame[metric.column("last")].astype(float))
    table = values.pivot_table(index="row", columns="condition", values="value", sort=False)
    table = table.reindex(index=list(runs.rows), columns=list(runs.conditions)).dropna(axis=1, how="all")
    return table.dropna(how="all")


def accuracy(runs: Runs, groups: Groups, metric: Metric, title: str) -> Figure:
    """The rows under every condition: dots for few conditions, else numbers."""
    table = ranked(runs, metric)
    if table.shape[1] <= COLUMNS:
        return _dots(runs, groups, metric, table, title)
    return _matrix(runs, groups, metric, table, title)


def _dots(runs: Runs, groups: Groups, metric: Metric, table: pd.DataFrame, title: str) -> Figure:
    base, names = groups.baseline, _names(groups, table)
    values = runs.frame.assign(value=metric.scale * runs.frame[metric.column("last")].astype(float))
    stats = values.groupby(["condition", "row"])["value"].agg(["count", "mean", "std"])
    means = means_text(runs.frame)
    bars = " Bars: its 95 % interval (Student's t); with an arrow, it is longer." * bool((stats["count"] > 1).any())
    dashed = f" Dashed line: {groups.name(base)}." if base in table.index else ""
    notes = f"Dots: {means}.{bars}{dashed} {runs.order} {images_note(runs.frame['record'])}"
    figure, panels = sheet(
        1, table.shape[1], _height(names) + 0.12, title=title, notes=notes, left=name_room(names), right=0.36,
        top=0.26, bottom=0.3, gap=(0.42, 0.0),
    )  # fmt: skip
    for number, (condition, box) in enumerate(zip(table, panels[0], strict=True)):
        ax = box.axes(figure)
        found = stats.loc[condition].reindex(table.index)
        low, high = t_interval(found["count"], found["mean"], found["std"])
        if base in table.index:
            ax.axvline(table.at[base, condition], color="#9aa0ab", linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        left, right = _limits(found["mean"].dropna(), low, high)
        for k, row in enumerate(table.index):
            colour = groups.colour(row)
            ends = np.clip([low[k], high[k]], left, right)
            ax.plot(ends, [k, k], color=colour, linewidth=1.3, alpha=0.55, solid_capstyle="butt")
            for end, beyond, marker in ((left, low[k] < left, "<"), (right, high[k] > right, ">")):
                if beyond:
                    ax.plot(end, k, marker, color=colour, markersize=4, markeredgewidth=0, alpha=0.8, clip_on=False)
            ax.plot(found["mean"].iloc[k], k, "o", color=colour, markersize=4.2)
            if found["count"].iloc[k] > 0:
                ax.annotate(
                    f"{found['mean'].iloc[k]:.1f}", (1, k), xycoords=("axes fraction", "data"), xytext=(3, 0),
                    textcoords="offset points", va="center", fontsize=6.5, color=SOFT,
                )  # fmt: skip
        ax.set_xlim(left, right)
        ax.set_ylim(len(table) - 0.4, -0.6)
        ax.set_yticks(range(len(table)), [plain(name) for name in names] if number == 0 else [])
        ax.tick_params(axis="y", colors=INK, labelsize=7.5)
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.set_title(plain(str(condition)), loc="left", fontweight="bold", fontsize=8)
    return figure


def _names(groups: Groups, table: pd.DataFrame) -> list[str]:
    """Names of the rows, in lines that leave room for the numbers."""
    return [broken(groups.name(str(row)), NAME) for row in table.index]


def _height(names: Sequence[str]) -> float:
    """Inches of all rows; each has room for the name with the most lines."""
    return ROW * len(names) * (0.4 + 0.6 * max(1 + name.count("\n") for name in names))


def _limits(means: pd.Series, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """The ends of an axis. The interval of two runs can be wider than all means together, and goes on beyond it."""
    span = max(means.max() - means.min(), 1.0)
    ends = np.nanmin([*low, means.min()]), np.nanmax([*high, means.max()])
    return (
        float(max(ends[0], means.min() - 0.4 * span) - 0.06 * span),
        float(min(ends[1], means.max() + 0.4 * span) + 0.06 * span),
    )


def _matrix(runs: Runs, groups: Groups, metric: Metric, table: pd.DataFrame, title: str) -> Figure:
    """Numbers under many conditions, coloured by the difference from the baseline where there is one."""
    base = groups.baseline if groups.baseline in table.index else ""
    shades = table - table.loc[base] if base else table
    notes = f"{sentence_case(means_text(runs.frame))}. {runs.order}"
    if base:
        notes += f" Blue: better than {groups.name(base)}. Orange: worse."
    notes = f"{notes} {images_note(runs.frame['record'])}"
    limit = float(np.nanmax(np.abs(shades.to_numpy())))
    shading = Shading(float(np.nanmin(shades.to_numpy())), limit)
    if base:
        shading = Shading(-limit, limit, DIVERGING if metric.better > 0 else DIVERGING[::-1])
    names, columns = _names(groups, table), [str(condition) for condition in table]
    figure, panels = sheet(
        1, 1, _height(names), title=title, notes=notes, left=name_room(names), right=0.15, top=0.1,
        bottom=0.72 * name_room(columns),
    )  # fmt: skip
    ax, box = canvas(figure), panels[0][0]
    heat(ax, box, table, shading, ".1f", shades=shades)
    row_names(ax, box, names)
    column_names(ax, box, columns)
    return figure
