"""Small multiples: a small panel for each of many rows, the panels of a family beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fer_bench.report.groups import OTHERS, Groups
from fer_bench.report.plots.curves import Panel
from fer_bench.report.plots.style import SOFT, WIDTH, Box, broken, canvas, name_room, panel_width, plain, sheet
from fer_bench.report.wording import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 6

HEIGHT = 0.72
"""Inches of a panel."""

LEFT, GAP = 0.32, 0.14

LETTER_OF_NAME, NAME_LINE = 0.045, 0.09
"""Inches: the width of a letter of a long name above a panel, and the height of each further line of it."""

REFERENCE = "#9aa0ab"
"""Colour of the lines that every panel repeats."""


@dataclass(frozen=True)
class Edges:
    """Whether a panel is the first of its line, and whether none is below it: only these have names at their axes."""

    left: bool
    bottom: bool


@dataclass(frozen=True)
class Spot:
    """Where a row has its panel.

    Attributes:
        row: The row.
        line: Line of panels, from 0 at the top.
        column: Place in the line.
        family: Heading of its family, at the first panel of the family in a line; "" elsewhere.
        span: Panels of the family from here to the end of the family or of the line.
    """

    row: str
    line: int
    column: int
    family: str
    span: int


def spots(groups: Groups, rows: Sequence[str], across: int, width: float) -> list[Spot]:
    """Places the rows, family by family. A family begins a new line where its heading has no room in this one.

    Args:
        groups: Rows by family.
        rows: The rows to place.
        across: Panels in a line.
        width: Inches from one panel to the next.
    """
    found: list[Spot] = []
    line = column = 0
    for title, members in groups.families.items():
        mine = [row for row in members if row in rows]
        heading = _heading(title, width * min(len(mine), across))
        if mine and column and (column == across or name_room([heading]) - 0.16 > width * (across - column)):
            line, column = line + 1, 0
        for number, row in enumerate(mine):
            if column == across:
                line, column = line + 1, 0
            starts = number == 0 or column == 0
            span = min(len(mine) - number, across - column)
            found.append(Spot(row, line, column, heading if starts else "", span))
            column += 1
    return found


def _heading(title: str, room: float) -> str:
    """The heading of a family, up to its first comma where there is no room for more."""
    return title if name_room([title]) - 0.16 <= room else title.split(",")[0]


def tiles(
    groups: Groups,
    rows: Sequence[str],
    draw: Callable[[Axes, Box, str, Edges], None],
    *,
    title: str,
    notes: str = "",
    across: int = ACROSS,
    height: float = HEIGHT,
    left: float = LEFT,
    below: float = 0.0,
    x: str = "",
) -> Figure:
    """A figure with a panel for each row, its name above, and headings of families.

    Args:
        groups: Rows by family.
        rows: The rows to show.
        draw: Draws the panel of a row into a :func:`fer_bench.report.plots.style.canvas`.
        title: Title of the figure.
        notes: Below it.
        across: Panels in a line.
        height: Inches of a panel.
        left: Inches at the left of the panels.
        below: Inches below each panel for the names of its columns; 0 if they are below the last line alone.
        x: Name of the horizontal axis.
    """
    across = min(across, max(3, len(rows)))
    width = panel_width(across, left, 0.08, GAP)
    placed = spots(groups, rows, across, width + GAP)
    headed = bool({spot.family for spot in placed} - {"", OTHERS})
    names = {row: broken(groups.name(row), int(width / LETTER_OF_NAME)) for row in rows}
    more = NAME_LINE * max(name.count("\n") for name in names.values())
    top = more + (0.44 if headed else 0.25)
    figure, boxes = sheet(
        1 + max(spot.line for spot in placed), across, height, title=title, notes=notes, left=left, right=0.08,
        top=top, bottom=below or (0.4 if x else 0.25), gap=(GAP, top + below),
    )  # fmt: skip
    ax = canvas(figure)
    taken = {(spot.line, spot.column) for spot in placed}
    for spot in placed:
        box = boxes[spot.line][spot.column]
        draw(ax, box, spot.row, Edges(spot.column == 0, (spot.line + 1, spot.column) not in taken))
        high = box.bottom + box.height
        ax.text(
            box.left, high + 0.03, plain(names[spot.row]), fontsize=_size(names[spot.row], width), fontweight="bold",
            va="bottom", linespacing=1.0,
        )  # fmt: skip
        if headed and spot.family:
            line, span = high + more + 0.21, spot.span * (width + GAP) - GAP
            ax.plot([box.left, box.left + span], [line] * 2, color="#c4c8cf", lw=0.8)
            size = 7 * min(1, span / (name_room([spot.family]) - 0.16))
            ax.text(box.left, line + 0.03, plain(spot.family), fontsize=size, color=SOFT)
    if x:
        ax.text(WIDTH / 2, 0.07, plain(x), ha="center", fontsize=7.5, color=SOFT)
    return figure


def _size(name: str, width: float) -> float:
    """Size of a bold name in points, smaller where a line of it would be wider than the room for it."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    longest = max(name.split("\n"), key=len)
    taken = TextPath((0, 0), plain(longest), size=7.5, prop=FontProperties(weight="bold")).get_extents().width / 72
    return max(4.0, min(7.5, 7.5 * width / max(taken, 0.01)))


def multiples(panel: Panel, groups: Groups, title: str, notes: str) -> Figure:
    """The figure of a panel with many rows: each row in its own axes, against the baseline and the best row."""
    best, base = panel.best, groups.baseline if groups.baseline in panel.curves else ""
    what = "the best after the last epoch" if panel.ends else "the best mean"
    grey = f"Grey, solid: {groups.name(best)}, {what}" + (f"; dashed: {groups.name(base)}" if base else "")
    notes = f"{grey}. {notes}".strip()
    if base:
        what = "difference after the last epoch" if panel.ends else "mean difference"
        notes += f" Small numbers: {what} from {groups.name(base)}."
    levels = panel.levels
    grid = _Grid(panel)
    # the numbers stand in the upper corner from which most lines stay away
    rising = sum(curve.mean[-1] - curve.mean[0] for curve in panel.curves.values()) > 0

    def draw(ax: Axes, box: Box, row: str, edges: Edges) -> None:
        grid.draw(ax, box, edges)
        for other, dashes in ((best, "-"), (base, (0, (3, 1.5)))):
            if other and other != row:
                ax.plot(
                    *grid.at(box, panel.curves[other].x, panel.curves[other].mean), color=REFERENCE, lw=0.9, ls=dashes
                )
        _line(ax, box, grid, row, groups.colour(row))
        if base and row != base and {row, base} <= levels.keys():
            ax.text(
                box.left + (0.04 if rising else box.width - 0.02), box.bottom + box.height - 0.01,
                signed(levels[row] - levels[base], "+.1f"), ha="left" if rising else "right", va="top", fontsize=6.5,
                color=SOFT,
            )  # fmt: skip

    return tiles(groups, list(panel.curves), draw, title=title, notes=notes, x=panel.x)


class _Grid:
    """The axes that all panels of a figure share."""

    def __init__(self, panel: Panel) -> None:
        bottom, top = panel.limits_y
        self.panel, self.limits_y = panel, (bottom, top + 0.16 * (top - bottom))  # room for the small numbers
        low, high = panel.limits_x
        self.limits_x = (np.log(low), np.log(high)) if panel.log else (low, high)
        ticks = panel.ticks or _round(panel.limits_x, True)
        self.ticks_x = [(place, text) for place, text in ticks if low <= place <= high]
        self.ticks_y = _round(self.limits_y, False)

    def at(self, box: Box, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Where points are, in inches."""
        return box.x(np.log(x) if self.panel.log else x, self.limits_x), box.y(y, self.limits_y)

    def draw(self, ax: Axes, box: Box, edges: Edges) -> None:
        """The lines and numbers of the axes."""
        right, high = box.left + box.width, box.bottom + box.height
        for value, text in self.ticks_y:
            (place,) = box.y([value], self.limits_y)
            ax.plot([box.left, right], [place, place], color="#eceef1", lw=0.7, zorder=0.5)
            if edges.left:
                ax.text(box.left - 0.05, place, text, ha="right", va="center_baseline", fontsize=6.5, color=SOFT)
        ax.plot([box.left, box.left, right], [high, box.bottom, box.bottom], color="#b6bac2", lw=0.6, zorder=0.6)
        for value, text in self.ticks_x if edges.bottom else ():
            (place,), _ = self.at(box, [value], [0])
            ax.plot([place, place], [box.bottom, box.bottom - 0.03], color="#b6bac2", lw=0.6)
            ax.text(place, box.bottom - 0.06, plain(text), ha="center", va="top", fontsize=6.5, color=SOFT)


def _round(limits: tuple[float, float], whole: bool) -> list[tuple[float, str]]:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(3, integer=whole).tick_values(*limits)
    return [(tick, signed(tick, "g")) for tick in ticks if limits[0] <= tick <= limits[1]]


def _line(ax: Axes, box: Box, grid: _Grid, row: str, colour: str) -> None:
    curve = grid.panel.curves[row]
    x, mean = grid.at(box, curve.x, curve.mean)
    if (curve.high > curve.low).any():
        ax.fill_between(
            x, grid.at(box, curve.x, curve.low)[1], grid.at(box, curve.x, curve.high)[1], color=colour, alpha=0.18, lw=0
        )
    dots: Any = {"markersize": 2.8, "markeredgecolor": "white", "markeredgewidth": 0.4}
    ax.plot(x, mean, color=colour, lw=1.5, marker="o" if len(x) < 9 else "", **dots)
    for marks in grid.panel.marks.values():
        if row in marks:
            place, value = marks[row]
            hollow: Any = {"markersize": 3.4, "markerfacecolor": "white", "markeredgewidth": 1}
            ax.plot(*grid.at(box, [place], [value]), color=colour, marker="o", **hollow)
