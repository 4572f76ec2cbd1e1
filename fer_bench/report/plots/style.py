"""The parts of a figure: looks of methods, panels, legends, heat maps, files."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_bench.core.files import write_atomically
from fer_bench.report.arrange import Runs
from fer_bench.report.measures import Metric

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

DPI = 150

MARKERS = "osD^v<>Pp*Xh8dosD^v"

LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))

COLOURS = (0, 1, 2, 3, 4, 9, 5, 7, 6, 8)
"""Order of seaborn's colour-blind palette, its two palest colours last."""

POINT: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.6, "linewidth": 1.6}


@contextmanager
def figure_style() -> Iterator[None]:
    """The settings of matplotlib that all figures are drawn with; the caller's are restored."""
    with (
        sns.axes_style("ticks"),
        sns.plotting_context("notebook", font_scale=0.85),
        matplotlib.rc_context(
            {"axes.titlesize": "medium", "axes.titleweight": "bold", "pdf.fonttype": 42, "legend.frameon": False}
        ),
    ):
        yield


@cache
def looks(rows: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each row: the same in all figures.

    Colours repeat after ten rows, with other dashes; markers do not repeat before twenty.
    """
    palette = sns.color_palette("colorblind", 10)
    return {
        row: {
            "color": palette[COLOURS[k % 10]],
            "marker": MARKERS[k % len(MARKERS)],
            "linestyle": LINES[k // 10 % len(LINES)],
        }
        for k, row in enumerate(rows)
    }


def lines(ax: Axes, runs: Runs, part: pd.DataFrame, metric: Metric, x: str, by: str) -> None:
    """Mean, range and single runs of each row.

    Args:
        ax: Axes to draw into.
        runs: Arranged runs, for the order and looks of the rows.
        part: The runs to draw.
        metric: What is drawn, at the last epoch.
        x: Column of the horizontal axis; shares are drawn in per cent.
        by: Runs with one value of this column are one point, at their mean ``x``.
    """
    column, scale = metric.column("last"), 100 if x == "realised_rate" else 1
    for row in runs.present(part):
        mine = part[(part["row"] == row) & part[column].notna()]
        if mine.empty:
            continue
        look = looks(runs.rows)[row]
        places = scale * mine.groupby(by)[x].mean()
        points = metric.scale * mine.groupby(by)[column].agg(["mean", "min", "max"])
        dots = {"s": 8, "color": look["color"], "alpha": 0.6, "lw": 0, "zorder": 2}
        ax.scatter(scale * mine[x], metric.scale * mine[column], **dots)
        ax.plot(places, points["mean"], **look, **POINT)
        if (points["max"] > points["min"]).any():
            ax.fill_between(places, points["min"], points["max"], color=look["color"], alpha=band(runs), linewidth=0)
    ax.set_ylabel(metric.label(runs.wrong))


def band(runs: Runs) -> float:
    """Opacity of the bands around the lines: many of them lie above each other."""
    return 0.14 if len(runs.rows) <= 8 else 0.06


def hollow(ax: Axes, runs: Runs, part: pd.DataFrame, metric: Metric, name: str) -> None:
    """A kind of noise without a rate: a hollow marker for each row at the share of wrong labels that it has."""
    place = 100 * part["realised_rate"].mean()
    for row in runs.present(part):
        values = part[part["row"] == row][metric.column("last")].dropna()
        look = looks(runs.rows)[row]
        ax.plot(
            [place], [metric.scale * values.mean()], color=look["color"], marker=look["marker"], markersize=7,
            markerfacecolor="white", markeredgewidth=1.5, linestyle="",
        )  # fmt: skip
    ax.axvline(place, color="0.8", linewidth=0.8, linestyle=":", zorder=0)
    ax.annotate(
        plain(name), (place, 0.01), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
        color="0.4", fontsize="small",
    )  # fmt: skip
    ax.set_ylabel(metric.label(runs.wrong))


def heat(
    ax: Axes, values: pd.DataFrame, limits: tuple[float, float] = (0, 100), form: str = ".0f", small: bool = False
) -> None:
    """A heat map with its numbers, where there are few enough columns to read them.

    Args:
        ax: Axes to draw into.
        values: The numbers, with names of rows and columns.
        limits: Values of the first and the last colour.
        form: Format of the numbers.
        small: Whether the numbers are smaller than usual.
    """
    few = values.shape[1] <= 12
    sns.heatmap(
        values, ax=ax, vmin=limits[0], vmax=limits[1], cmap="viridis", cbar=False, annot=few, fmt=form, linewidths=0.5,
        xticklabels=True, yticklabels=True, annot_kws={"size": "x-small" if small else "small"},
    )  # fmt: skip
    ax.grid(False)  # it would show through cells without runs
    ax.tick_params(length=0)
    ax.tick_params(axis="x", rotation=45 if max(len(str(c)) for c in values.columns) > 4 else 0)
    ax.tick_params(axis="y", rotation=0)
    for label in ax.get_xticklabels():
        if label.get_rotation():
            label.set(ha="right", rotation_mode="anchor")
    ax.set(xlabel="", ylabel="")


def bar(figure: Figure, axes: Sequence[Axes], label: str) -> None:
    """One colour bar for all panels, which share their scale."""
    bar = figure.colorbar(axes[0].collections[0], ax=list(axes), shrink=0.8, aspect=25, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)


def grid(rows: int, columns: int, width: float, height: float, sharey: Any = False) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot, so that nothing has to be closed, and its axes [rows, columns]."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for ax in axes.flat:
        sns.despine(ax=ax)
        ax.grid(axis="y", color="0.92", linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, axes


def across(number: int) -> int:
    """Panels beside each other."""
    return min(number, 4)


def room_for(rows: Sequence[str]) -> float:
    """Height in inches of a panel with a line for each of ``rows``: more lines need more room."""
    return 3.2 + 0.13 * max(0, len(rows) - 8)


def tiles(number: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels in reading order; those beyond ``number`` are hidden."""
    wide = across(number)
    figure, axes = grid(-(-number // wide), wide, width, height)
    for ax in axes.flat[number:]:
        ax.set_visible(False)
    return figure, list(axes.flat)


def finish(figure: Figure, runs: Runs, part: pd.DataFrame, title: str, below: str) -> None:
    """Adds a legend beside the panels, the title above, and a line of explanations below."""
    style = looks(runs.rows)
    handles = [Line2D([], [], **style[row], **POINT, label=plain(row)) for row in runs.present(part)]
    width, height = figure.get_size_inches()
    columns = -(-len(handles) // max(1, int((height - 0.4) / 0.23)))
    longest = max(len(str(handle.get_label())) for handle in handles)
    # the panels keep their width: the figure grows by the legend
    figure.set_size_inches(width + columns * (0.7 + 0.085 * longest), height)
    figure.legend(handles=handles, loc="outside right center", ncols=columns)
    if below:
        text = "\n".join(textwrap.wrap(below, int(width * 13)))
        figure.supxlabel(plain(text), x=0.01, ha="left", fontsize="small", color="0.4")
    headline(figure, title)


def headline(figure: Figure, text: str) -> None:
    """The title, broken at the width of the figure, so that a long condition is never cut."""
    lines = textwrap.wrap(text, max(20, int(figure.get_figwidth() * 8.5)))
    figure.suptitle("\n".join(map(plain, lines)), x=0.01, ha="left", fontsize="large", fontweight="bold")


def plain(text: str) -> str:
    """The text without mathematics: matplotlib would typeset what is between two dollars."""
    return text.replace("$", r"\$")


def file_name(name: str) -> str:
    """The name in lower case, with hyphens for everything but letters, digits and dots."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower()


def save(figure: Figure, path: Path) -> list[Path]:
    """Saves the figure as PNG and PDF, without a date, so that equal runs make equal files; the paths."""
    paths = []
    # the layout is most of the work, and the same for both
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix, options in ((".png", {"dpi": DPI}), (".pdf", {"metadata": {"CreationDate": None}})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], **options)
        paths.append(path.with_name(path.name + suffix))
        write_atomically(paths[-1], buffer.getvalue())
    return paths
