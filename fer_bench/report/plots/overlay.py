"""A few rows in the same axes, each with its name at the end of its line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_bench.report.groups import Groups
from fer_bench.report.plots.curves import Panel
from fer_bench.report.plots.style import SOFT, name_room, plain, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 6
"""Rows whose lines can be told apart in one pair of axes."""

MARKERS = "osD^vP"

HEIGHT = 2.2
"""Inches of a panel."""

NAME = 24
"""Letters of a line of a name; longer ones are broken."""


def overlay(panels: Sequence[Panel | None], groups: Groups, title: str, notes: str) -> Figure:
    """The figure of some panels with at most ``FEW`` rows, two beside each other; None leaves a gap."""
    names = [line for row in groups.rows for line in _broken(groups.name(row))]
    room = name_room(names)
    columns = min(2, len(panels))
    figure, places = sheet(
        -(-len(panels) // columns), columns, HEIGHT, title=title, notes=notes, right=room + 0.08, gap=(room + 0.4, 0.72)
    )
    boxes = [box for line in places for box in line]
    for panel, box in zip(panels, boxes, strict=False):
        if panel is None:
            continue
        ax = box.axes(figure)
        _draw(ax, panel, groups)
        ax.set_title(plain(panel.title), loc="left", fontweight="bold", pad=7)
        ax.set_xlabel(plain(panel.x))
        label(ax, panel, groups)
    return figure


def _draw(ax: Axes, panel: Panel, groups: Groups) -> None:
    for row, curve in panel.curves.items():
        look = _look(row, groups)
        if (curve.high > curve.low).any():
            ax.fill_between(curve.x, curve.low, curve.high, color=look["color"], alpha=0.12, linewidth=0)
        ax.scatter(curve.points[:, 0], curve.points[:, 1], s=5, color=look["color"], alpha=0.45, linewidths=0)
        ax.plot(curve.x, curve.mean, linewidth=1.6, markersize=5, markevery=max(1, len(curve.x) // 8), **look)
    for name, marks in panel.marks.items():
        x = float(np.mean([x for x, _ in marks.values()]))
        ax.axvline(x, color="#b6bac2", linewidth=0.8, linestyle=":", zorder=0)
        ax.annotate(
            plain(name), (x, 0), xycoords=("data", "axes fraction"), xytext=(3, 3), textcoords="offset points",
            color=SOFT, fontsize=7,
        )  # fmt: skip
        for row, (place, value) in marks.items():
            look = _look(row, groups)
            hollow = {"markerfacecolor": "white", "markeredgecolor": look["color"], "markeredgewidth": 1.2}
            ax.plot([place], [value], markersize=5, linestyle="", **{**look, **hollow})
    _set_axes(ax, panel)


def _set_axes(ax: Axes, panel: Panel) -> None:
    """The limits of both axes and the ticks of the horizontal one."""
    from matplotlib.ticker import MaxNLocator

    if panel.log:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set(xlim=panel.limits_x, ylim=panel.limits_y)
    if panel.ticks:
        ax.set_xticks([place for place, _ in panel.ticks], [plain(text) for _, text in panel.ticks])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def label(ax: Axes, panel: Panel, groups: Groups, height: float = 72 * HEIGHT) -> None:
    """Writes the name of each row at the right of the axes, as near to the end of its line as the others allow.

    ``height`` is that of the axes, in points.
    """
    low, high = ax.get_ylim()
    order = sorted(panel.curves, key=lambda row: panel.curves[row].mean[-1])
    texts = ["\n".join(_broken(groups.name(row))) for row in order]
    wanted = [height * (panel.curves[row].mean[-1] - low) / (high - low) for row in order]
    for row, text, place in zip(order, texts, apart(wanted, [10.0 * (1 + t.count("\n")) for t in texts]), strict=True):
        ax.plot(
            [1.03], [place / height], transform=ax.transAxes, clip_on=False, linestyle="", markersize=5,
            **_look(row, groups),
        )  # fmt: skip
        ax.annotate(
            plain(text), (1.03, place / height), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=7.5,
        )  # fmt: skip


def _look(row: str, groups: Groups) -> dict[str, Any]:
    """Colour and marker."""
    return {
        "color": groups.colour(row),
        "marker": MARKERS[groups.rows.index(row) % len(MARKERS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _broken(name: str) -> list[str]:
    return textwrap.wrap(name, NAME) or [""]


def apart(wanted: Sequence[float], sizes: Sequence[float]) -> np.ndarray:
    """Places as near as possible to the wanted ones, ascending, at which texts of these sizes do not touch."""
    from scipy.optimize import isotonic_regression

    room = np.asarray(sizes, float)
    shift = np.concatenate([[0.0], np.cumsum((room[1:] + room[:-1]) / 2)])
    return np.asarray(isotonic_regression(np.asarray(wanted, float) - shift).x + shift)
