"""The parts of a figure: its size, title and notes, its axes, heat maps, files.

matplotlib and seaborn take a second to load, so the modules of figures load them where they draw: most commands find
that every figure is there.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fer_bench.core.files import write_atomically
from fer_bench.report.wording import signed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150

SUFFIXES = (".png", ".pdf")

WIDTH = 7.2
"""Inches: a column of a page."""

LETTER = 0.06
"""Inches: the mean width of a letter of the small text."""

INK, SOFT, RULE = "#1c1e24", "#5a5f6b", "#dcdee3"
"""Colours of text, of text that comes second, and of lines that only guide the eye."""

STYLE: Any = {
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "text.color": INK, "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT, "axes.edgecolor": "#b6bac2",
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
    "ytick.major.size": 0, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titley": 1.0, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#eceef1", "grid.linewidth": 0.7,
    "pdf.fonttype": 42, "legend.frameon": False, "lines.solid_capstyle": "round",
}  # fmt: skip

SEQUENTIAL = ("#f4f7fb", "#7fb2de", "#0a3f7a")

NEUTRAL = ("#f7f7f8", "#767c88")

DIVERGING = ("#b35806", "#f3b36b", "#f7f7f7", "#85b6dd", "#1f5f9e")


@contextmanager
def figure_style() -> Iterator[None]:
    """The settings of matplotlib that all figures are drawn with; the caller's are restored."""
    import matplotlib
    import seaborn as sns

    with sns.axes_style("ticks"), matplotlib.rc_context(STYLE):
        yield


@dataclass(frozen=True)
class Box:
    """A panel: its place in a figure, in inches from the lower left corner."""

    left: float
    bottom: float
    width: float
    height: float

    def axes(self, figure: Figure) -> Axes:
        """Axes at this place."""
        width, height = figure.get_size_inches()
        return figure.add_axes((self.left / width, self.bottom / height, self.width / width, self.height / height))

    def x(self, values: ArrayLike, limits: tuple[float, float]) -> np.ndarray:
        """Where values between two limits are, in inches."""
        return self.left + self.width * (np.asarray(values, float) - limits[0]) / (limits[1] - limits[0])

    def y(self, values: ArrayLike, limits: tuple[float, float]) -> np.ndarray:
        """Where values between two limits are, in inches."""
        return self.bottom + self.height * (np.asarray(values, float) - limits[0]) / (limits[1] - limits[0])


def sheet(
    rows: int,
    columns: int,
    height: float,
    *,
    title: str,
    notes: str = "",
    left: float = 0.4,
    right: float = 0.1,
    top: float = 0.3,
    bottom: float = 0.45,
    gap: tuple[float, float] = (0.25, 0.45),
) -> tuple[Figure, list[list[Box]]]:
    """A figure as wide as a page column, and the places of its panels. All sizes are inches.

    Places are computed and not searched for, as layout engines do, because that takes most of the time of drawing.

    Args:
        rows: Panels below each other.
        columns: Panels beside each other.
        height: Of a panel.
        title: Above the panels, in bold.
        notes: Below the title.
        left: Room at the left of all panels.
        right: Room at the right of all panels.
        top: Room above all panels.
        bottom: Room below all panels.
        gap: Room between two columns and between two rows.

    Returns:
        The figure, and the panels [rows][columns].
    """
    from matplotlib.figure import Figure

    width = panel_width(columns, left, right, gap[0])
    heads = textwrap.wrap(title, int(WIDTH / 0.083))
    smalls = textwrap.wrap(" ".join(notes.split()), int(WIDTH / 0.057), break_on_hyphens=False)
    head = 0.1 + 0.18 * len(heads) + 0.13 * len(smalls)
    total = head + top + rows * (height + gap[1]) - gap[1] + bottom
    figure = Figure(figsize=(WIDTH, total))
    figure.text(0.08 / WIDTH, 1 - 0.08 / total, plain("\n".join(heads)), fontsize=9.5, fontweight="bold", va="top")
    under = total - 0.12 - 0.17 * len(heads)
    figure.text(
        0.08 / WIDTH, under / total, plain("\n".join(smalls)), fontsize=7, color=SOFT, va="top", linespacing=1.3
    )
    lefts = [left + column * (width + gap[0]) for column in range(columns)]
    bottoms = [total - head - top - height - row * (height + gap[1]) for row in range(rows)]
    return figure, [[Box(each, bottom, width, height) for each in lefts] for bottom in bottoms]


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure whose unit is an inch, without ticks: many panels in it cost less than many axes."""
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, figure.get_figwidth()), ylim=(0, figure.get_figheight()))
    ax.axis("off")
    return ax


def panel_width(columns: int, left: float, right: float, gap: float) -> float:
    """Inches of one of several panels beside each other, see :func:`sheet`."""
    return (WIDTH - left - right - gap * (columns - 1)) / columns


@dataclass(frozen=True)
class Shading:
    """How a heat map is coloured: colours that blend into each other, and the values of the first and the last one."""

    low: float = 0
    high: float = 100
    colours: tuple[str, ...] = SEQUENTIAL

    def of(self, values: np.ndarray) -> np.ndarray:
        """RGBA colours [..., 4] of values [...]; white for NaN."""
        import seaborn as sns

        place = np.clip((values - self.low) / max(self.high - self.low, 1e-9), 0, 1)
        found = sns.blend_palette(self.colours, as_cmap=True)(np.nan_to_num(place))
        found[np.isnan(values)] = 1
        return np.asarray(found)


def heat(
    ax: Axes,
    box: Box,
    values: pd.DataFrame,
    shading: Shading,
    form: str = ".0f",
    size: float = 6.5,
    shades: pd.DataFrame | None = None,
) -> None:
    """Draws a heat map with its numbers.

    Args:
        ax: From :func:`canvas`.
        box: Its place.
        values: The numbers.
        shading: The colours.
        form: Format of the numbers.
        size: Of the numbers, in points.
        shades: What is coloured, if that is not the numbers.
    """
    from matplotlib.collections import PolyCollection

    numbers = values.to_numpy(float)
    rows, columns = numbers.shape
    fills = shading.of(numbers if shades is None else shades.to_numpy(float))
    xs, ys = box.x(np.arange(columns + 1), (0, columns)), box.y(np.arange(rows + 1), (rows, 0))
    corners = [
        [(xs[c], ys[r]), (xs[c + 1], ys[r]), (xs[c + 1], ys[r + 1]), (xs[c], ys[r + 1])]
        for r in range(rows)
        for c in range(columns)
    ]
    ax.add_collection(
        PolyCollection(corners, facecolors=fills.reshape(-1, 4), edgecolors="white", linewidths=0.6), autolim=False
    )
    light = luminance(fills)
    for (row, column), number in np.ndenumerate(numbers):
        if np.isfinite(number):
            ax.text(
                (xs[column] + xs[column + 1]) / 2, (ys[row] + ys[row + 1]) / 2, signed(number, form), ha="center",
                va="center_baseline", fontsize=size, color=INK if light[row, column] > 0.3 else "white",
            )  # fmt: skip


def row_names(ax: Axes, box: Box, names: Sequence[str], size: float = 7.5, color: str = INK) -> None:
    """Names at the left of the rows of a heat map."""
    for name, place in zip(names, box.y(np.arange(len(names)) + 0.5, (len(names), 0)), strict=True):
        ax.text(box.left - 0.06, place, plain(str(name)), ha="right", va="center_baseline", fontsize=size, color=color)


def column_names(ax: Axes, box: Box, names: Sequence[str], size: float = 7, color: str = SOFT) -> None:
    """Names below the columns of a heat map, turned where one is long."""
    look: dict[str, Any] = {"ha": "center", "va": "top"}
    if max(map(len, names)) > 4:
        look = {"ha": "right", "va": "top", "rotation": 40, "rotation_mode": "anchor"}
    for name, place in zip(names, box.x(np.arange(len(names)) + 0.5, (0, len(names))), strict=True):
        ax.text(place, box.bottom - 0.05, plain(str(name)), fontsize=size, color=color, **look)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Roughly how light RGBA colours [..., 4] are, 0 to 1."""
    return np.asarray(colours[..., :3] ** 2.2 @ np.array([0.2126, 0.7152, 0.0722]))


def name_room(names: Sequence[str]) -> float:
    """Inches that the longest line of some names takes."""
    return 0.16 + LETTER * max((len(line) for name in names for line in name.split("\n")), default=0)


def broken(name: str, letters: int) -> str:
    """A name in lines of at most so many letters, broken between words: variants have long names."""
    return "\n".join(textwrap.wrap(name, letters, break_on_hyphens=False)) or name


def plain(text: str) -> str:
    """The text without mathematics: matplotlib would typeset what is between two dollars."""
    return text.replace("$", r"\$")


def file_name(name: str) -> str:
    """The name in lower case, with hyphens for everything but letters, digits and dots."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower()


def save(figure: Figure, path: Path) -> list[Path]:
    """Saves the figure as PNG and PDF, without a date, so that equal runs make equal files; the paths."""
    paths = []
    each: tuple[dict[str, Any], ...] = ({"dpi": DPI}, {"metadata": {"CreationDate": None}})
    for suffix, options in zip(SUFFIXES, each, strict=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], **options)
        paths.append(path.with_name(path.name + suffix))
        write_atomically(paths[-1], buffer.getvalue())
    return paths
