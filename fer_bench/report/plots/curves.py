"""Values of rows along one axis: against noise, against imbalance, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_bench.report.arrange import Runs
from fer_bench.report.measures import Metric

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """The values of a row: mean, lowest and highest over seeds at each place, and single runs as points [n, 2]."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows of all rows.

    Attributes:
        title: Above it.
        x: Name of the horizontal axis.
        metric: What the values are.
        curves: By row.
        ticks: Places and texts of the ticks of the horizontal axis; () lets the plot choose.
        log: Whether the horizontal axis is logarithmic.
        marks: Single values beside the curves by row, for each name: (x, y).
        ends: Whether rows are compared by their last value, and not by the mean over the places.
    """

    title: str
    x: str
    metric: Metric
    curves: Mapping[str, Curve]
    ticks: Sequence[tuple[float, str]] = ()
    log: bool = False
    marks: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    ends: bool = False

    @property
    def limits_x(self) -> tuple[float, float]:
        """The ends of the horizontal axis."""
        places = [*(x for each in self.curves.values() for x in each.x), *(x for x, _ in self._marks)]
        low, high = min(places), max(places)
        if self.log:
            room = (high / low) ** 0.05
            return low / room, high * room
        room = 0.05 * (high - low) or 1.0
        return low - room, high + room

    @property
    def limits_y(self) -> tuple[float, float]:
        """The ends of the vertical axis."""
        values = [y for each in self.curves.values() for y in (*each.low, *each.high)] + [y for _, y in self._marks]
        room = max(0.06 * (max(values) - min(values)), 0.2)
        return min(values) - room, max(values) + room

    @property
    def _marks(self) -> list[tuple[float, float]]:
        return [mark for marks in self.marks.values() for mark in marks.values()]

    @property
    def levels(self) -> dict[str, float]:
        """By what rows are compared: the last value, or the mean over the places of each row with a value at all."""
        if self.ends:
            return {row: float(each.mean[-1]) for row, each in self.curves.items()}
        most = max((len(each.x) for each in self.curves.values()), default=0)
        return {row: float(each.mean.mean()) for row, each in self.curves.items() if len(each.x) == most}

    @property
    def best(self) -> str:
        """The row with the best of :attr:`levels`."""
        levels = self.levels
        return max(levels, key=lambda row: self.metric.better * levels[row])


def curves_of(runs: Runs, part: pd.DataFrame, metric: Metric, x: str, by: str) -> dict[str, Curve]:
    """The curve of each row with values.

    Args:
        runs: Arranged runs, for the order of the rows.
        part: The runs to show.
        metric: What is shown, at the last epoch.
        x: Column of the horizontal axis; shares are shown in per cent.
        by: Runs with one value of this column are one place, at their mean ``x``.
    """
    import pandas as pd

    column, scale = metric.column("last"), 100 if x == "realised_rate" else 1
    values = pd.DataFrame(
        {
            "row": part["row"],
            "by": part[by],
            "x": scale * part[x].astype(float),
            "y": metric.scale * pd.to_numeric(part[column]).astype(float),
        }
    )
    values = values.dropna(subset="y")
    cells = values.groupby(["row", "by"], as_index=False).agg(
        x=("x", "mean"), mean=("y", "mean"), low=("y", "min"), high=("y", "max")
    )
    places, singles = (table["row"].to_numpy() for table in (cells, values))
    numbers, points = cells[["x", "mean", "low", "high"]].to_numpy(), values[["x", "y"]].to_numpy()
    return {row: _curve(numbers[places == row], points[singles == row]) for row in runs.rows if (places == row).any()}


def _curve(numbers: np.ndarray, points: np.ndarray) -> Curve:
    x, mean, low, high = numbers.T
    return Curve(x, mean, low, high, points)


def by_epoch(values: Mapping[str, Sequence[Sequence[float | None]]]) -> dict[str, Curve]:
    """The curve of each row over the epochs that all its runs have; the values are fractions, shown in per cent."""
    found = {}
    for row, runs in values.items():
        length = min(map(len, runs))
        table: Any = 100 * np.array([each[:length] for each in runs], dtype=float)
        if length and not np.isnan(table).any():
            epochs = np.arange(1.0, length + 1)
            found[row] = Curve(epochs, table.mean(0), table.min(0), table.max(0), np.empty((0, 2)))
    return found
