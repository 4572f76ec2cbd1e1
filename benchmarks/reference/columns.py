"""Columns of the tables of docs/results.md: cells as the tables of fer_bench.report have them, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import spearmanr

from fer_bench.report import chance
from fer_bench.report.footnotes import LETTERS
from fer_bench.report.rendering import Block, Cell

BASELINE = "ce"


@dataclass(frozen=True)
class Column:
    """One number of each method.

    Attributes:
        cells: What a table shows, by key of the method.
        values: Unrounded means, by key.
        names: Names of the methods with their marks, by key.
        better: 1 if higher is better, -1 if lower is better.
        digits: Decimals in sentences.
    """

    cells: Mapping[str, Cell]
    values: Mapping[str, float]
    names: Mapping[str, str]
    better: int = 1
    digits: int = 2

    def __getitem__(self, key: str) -> str:
        """The mean of a method, as in the table."""
        return f"{self.values[key]:.{self.digits}f}"

    def __sub__(self, other: Column) -> Column:
        """Differences of the methods that both columns have, in points."""
        values = {key: value - other.values[key] for key, value in self.values.items() if key in other.values}
        return of_values(values, self.names, self.better, "+.2f")

    def over(self, key: str = BASELINE) -> Column:
        """Differences of the other methods from one of them, in points."""
        values = {each: value - self.values[key] for each, value in self.values.items() if each != key}
        return of_values(values, self.names, self.better, "+.2f")

    def times(self, key: str = BASELINE) -> Column:
        """Multiples of the value of one method."""
        values = {each: value / self.values[key] for each, value in self.values.items()}
        return of_values(values, self.names, self.better, ".1f")

    def only(self, keys: Iterable[str]) -> Column:
        """The same of these methods alone."""
        kept = set(keys)
        cells = {key: cell for key, cell in self.cells.items() if key in kept}
        return replace(self, cells=cells, values={key: self.values[key] for key in cells if key in self.values})

    def at_chance(self) -> list[str]:
        """Keys of the methods that do not learn."""
        return [key for key, cell in self.cells.items() if chance.SIGN in cell.text]

    def best(self, count: int | None = None) -> list[str]:
        """Keys of the best methods, best first; of all without a count."""
        return sorted(self.values, key=lambda key: -self.better * self.values[key])[:count]

    def worst(self, count: int) -> list[str]:
        """Keys of the worst methods, worst first."""
        return self.best()[::-1][:count]

    def ahead(self, key: str = BASELINE) -> list[str]:
        """Keys of the methods that are better than one of them, best first."""
        best = self.best()
        return [each for each in best if self.better * (self.values[each] - self.values[key]) > 0]

    def above(self, value: float) -> list[str]:
        """Keys of the methods whose value is above a number, highest first."""
        found = [key for key in self.values if self.values[key] > value]
        return sorted(found, key=lambda key: -self.values[key])

    def below(self, value: float) -> list[str]:
        """Keys of the methods whose value is below a number, lowest first."""
        found = [key for key in self.values if self.values[key] < value]
        return sorted(found, key=lambda key: self.values[key])

    def at_least_times(self, factor: float, other: Column) -> list[str]:
        """Keys of the methods whose value is at least so many times that in another column, highest first."""
        shared = other.values.keys()
        return [key for key in self.above(0) if key in shared and self.values[key] >= factor * other.values[key]]


def of_values(values: Mapping[str, float], names: Mapping[str, str], better: int = 1, form: str = ".2f") -> Column:
    """A column of numbers that no table has, such as differences."""
    cells = {key: Cell(f"{value:{form}}") for key, value in values.items()}
    return Column(cells, values, names, better)


def always_ahead(found: Iterable[Column]) -> list[str]:
    """Keys of the methods that are better than cross-entropy in each of these columns."""
    first, *others = (column.ahead() for column in found)
    return [key for key in first if all(key in other for other in others)]


def rank_correlation(one: Column, other: Column) -> float:
    """Spearman's rank correlation of the methods that both columns have; 1 for the same order, -1 for the reverse."""
    shared = [key for key in one.values if key in other.values]
    return float(spearmanr([one.values[key] for key in shared], [other.values[key] for key in shared]).statistic)


def correlations(corner: str, rows: Mapping[str, Sequence[tuple[Column, Column]]]) -> str:
    """A table of rank correlations by overall accuracy and by mean accuracy over classes."""
    headings = ("methods", "overall accuracy", "mean accuracy over classes")
    found = {}
    for name, pairs in rows.items():
        shared = pairs[0][0].values.keys() & pairs[0][1].values.keys()
        found[name] = [f"{len(shared)}", *(f"{rank_correlation(*pair):.2f}" for pair in pairs)]
    return lines(corner, headings, found)


def table(columns: Sequence[tuple[str, Column]], ends: int | None = None) -> str:
    """A table of methods in Markdown, best first by the first column.

    Args:
        columns: Headings and columns. One without any value is left out.
        ends: How many of the first and of the last methods are shown, and cross-entropy; None for all.
    """
    headings, shown = zip(*((heading, column) for heading, column in columns if column.cells), strict=True)
    first, names = shown[0], _names(shown)
    ordered = [*first.best(), *(key for key in names if key not in first.values)]
    middle = ordered[ends:-ends] if ends else []
    kept = [key for key in ordered if key not in middle or key == BASELINE]
    rows = tuple((names[key], tuple(column.cells.get(key, Cell()) for column in shown)) for key in kept)
    corner = "Method" if len(kept) == len(ordered) else f"First and last {ends} of {len(ordered)} methods"
    return Block("", corner, headings, rows).markdown()


def lines(corner: str, headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of other lines than methods in Markdown."""
    cells = tuple((name, tuple(map(Cell, row))) for name, row in rows.items())
    return Block("", corner, tuple(headings), cells).markdown()


def _names(columns: Iterable[Column]) -> dict[str, str]:
    """Names of all methods, with the marks that they have in any column, without the remarks of one table (letters)."""
    found: dict[str, str] = {}
    for column in columns:
        for key in column.cells:
            name = column.names[key].rstrip(LETTERS)
            found[key] = max(found.get(key, ""), name, key=len)
    return found
