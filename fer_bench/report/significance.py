"""What the tests say in a table: which cells are bold, which have a star, and all blocks together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fer_bench.core.errors import SpecError, nearest
from fer_bench.report import statistics
from fer_bench.report.footnotes import Marks
from fer_bench.report.measures import Metric, View
from fer_bench.report.rendering import Block, Cell
from fer_bench.report.statistics import ALPHA, MIN_PAIRS, Comparison, Leaders

if TYPE_CHECKING:
    import pandas as pd

STAR = "*"

TOGETHER = "all blocks together"

NAMES = {"sign-flip": "sign-flip permutation test of the mean difference", "wilcoxon": "Wilcoxon signed-rank test"}


@dataclass(frozen=True)
class Family:
    """The comparisons of one metric of the selected epochs over one set of blocks. ``higher``: more is better."""

    table: pd.DataFrame
    view: View
    baseline: str
    """A row, or "" for none."""
    higher: bool

    @cached_property
    def leaders(self) -> Leaders:
        return statistics.leaders(self.table, self.view.test, self.higher)

    @cached_property
    def against(self) -> dict[str, Comparison]:
        """Comparisons by row: with the baseline, or with the best where none is named."""
        if self.baseline and self.baseline in self.table:
            found: Iterable[Comparison] = statistics.against(self.table, self.baseline, self.view.test, self.higher)
        else:
            found = () if self.baseline else self.leaders.comparisons
        return {comparison.row: comparison for comparison in found}

    @property
    def starred(self) -> set[str]:
        return {row for row, c in self.against.items() if c.significant} if self.baseline else set()

    @property
    def pairs(self) -> int:
        return min((c.pairs for c in self.against.values()), default=0)


@dataclass
class Conclusions:
    """Tests of a table, each made once. ``notes`` says why tests are missing or cannot succeed."""

    frame: pd.DataFrame
    view: View
    baseline: str = ""
    tested: bool = False
    """Whether any test was made."""
    untested: bool = False
    """Whether the cells of some column are too few for a test."""
    notes: list[str] = field(default_factory=list)
    differences: list[dict[str, object]] = field(default_factory=list)
    """Comparisons over all blocks together, for the csv."""

    def __post_init__(self) -> None:
        if self.view.baseline:
            self.baseline = find_row(self.frame, self.view.baseline)

    def column(self, metric: Metric, selection: str, condition: str) -> tuple[frozenset[str], set[str]]:
        """Rows that are bold and rows with a star in one column of a metric's block."""
        part = self.frame[self.frame["condition"] == condition]
        table = statistics.blocks(part, metric.column(selection), self.view.unit)
        if not metric.better or table.shape[1] < 2:
            return frozenset(), set()
        family = Family(table, self.view, self.baseline, metric.better > 0)
        if len(table) < MIN_PAIRS:
            self.untested = True
            return family.leaders.rows, set()
        self._remember(family)
        return family.leaders.rows, family.starred

    def together(self, metric: Metric, selection: str, marks: Marks, rows: list[str]) -> list[Block]:
        """All blocks at once: one block of the table, or none where nothing can be compared."""
        column = metric.column(selection)
        table = statistics.blocks(self.frame, column, self.view.unit)
        complete = table.dropna()
        if not metric.better or table.shape[1] < 2 or complete.empty:
            return []
        if len(complete) < MIN_PAIRS and not self.baseline:
            self._few(len(complete))
            return []
        if len(complete) < len(table):
            left = f"{len(table) - len(complete)} of {len(table)} blocks are left out of means and ranks"
            self._note(f"All blocks together: {left}, because not every method has a run there.")
        higher = metric.better > 0
        family = Family(complete, self.view, "", higher)
        compared = Family(table, self.view, self.baseline, higher) if self.baseline else family
        self._remember(compared)
        ranks = statistics.friedman(complete, higher)
        title = f"{metric.heading(selection)}: all {_blocks(self.view, complete)} together"
        if ranks:
            title += f" (Friedman's test: p {'= ' * (ranks.p >= 0.001)}{p_text(ranks.p)})"
        columns = {"Mean": lambda row: _mean(complete, row, metric, row in family.leaders.rows)}
        if ranks:
            columns["Mean rank"] = lambda row: Cell(f"{ranks.mean[row]:.2f}")
        other, found = marks.name(self.baseline) if self.baseline else "the best", compared.against
        columns |= {
            f"Difference to {other} [95 %]": lambda row: _difference(found.get(row), metric),
            "p (Holm)": lambda row: _p(found.get(row), row in compared.starred),
            "P(better)": lambda row: Cell(f"{found[row].improvement:.2f}") if row in found else Cell(),
        }
        if {c.pairs for c in found.values()} != {len(complete)}:
            columns["Pairs"] = lambda row: Cell(str(found[row].pairs)) if row in found else Cell()
        self.differences += [_line(c, column, metric) for c in found.values()]
        lines = ((marks.name(row), tuple(cell(row) for cell in columns.values())) for row in rows if row in table)
        return [Block(title, "Method", tuple(columns), tuple(lines))]

    def _remember(self, family: Family) -> None:
        """Whether a test was made, and a note where it could not be made or could not have succeeded."""
        number, pairs, test = len(family.against), family.pairs, self.view.test
        if not number:
            return  # the baseline has no run here
        if pairs < MIN_PAIRS:
            self.untested = True
            self._few(pairs)
            return
        self.tested = True
        least = statistics.smallest_p(pairs, number, test)
        if least >= ALPHA:
            needed = statistics.pairs_needed(number, test)
            few = f"With {pairs} pairs and {number} comparisons no p-value can fall below {least:.2g} after Holm's"
            self._note(f"{few} correction, so nothing can be told apart; {needed} pairs would be needed.")

    def _few(self, pairs: int) -> None:
        few = f"No test, no star: there are {pairs} pairs and {MIN_PAIRS} are needed"
        self._note(f"{few}; the two-sided p of five pairs cannot fall below 0.0625.")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def sentences(self) -> list[str]:
        """For the caption: what was tested over what, and what that does not cover."""
        view, frame, pairs = self.view, self.frame, "block" if self.view.unit == "draw" else "seed"
        explained = [
            "Difference: mean over blocks with its 95 % interval (Student's t). P(better): probability that a run "
            "beats one of the other method in the same condition, ties half (Mann-Whitney U / nm, mean over conditions)"
        ]
        if not self.tested:
            return [
                "Bold: best mean of its column and no more; no significance is claimed "
                f"(below {MIN_PAIRS} paired {pairs}s no test is made)",
                *(explained if self.differences else []),
            ]
        family = "the methods of a column or block"
        bold = (
            f"Bold: the best mean, and all that a two-sided {NAMES[view.test]} (Holm-corrected over {family}) does not "
        )
        bold += f"tell from it at {ALPHA}"
        if self.untested:
            bold += (
                f"; where fewer than {MIN_PAIRS} pairs share a condition no test is made and only the best mean is bold"
            )
        found = [bold]
        if self.baseline:
            found.append(f"{STAR} differs from {self.baseline} by the same test, p < {ALPHA}")
        found += explained if self.differences else []
        draws, seeds = frame["data_seed"].nunique(), frame["seed"].nunique()
        what = f"{_number(frame['condition'].nunique(), 'condition')} x {_number(draws, 'draw')} of the training data"
        if view.unit == "seed":
            what += f" x {_number(seeds, 'training seed')}"
        limits = f"Tests are over blocks, {what}; "
        if view.unit == "seed":
            limits += "seeds on one draw are not independent data, "
        limits += "and conditions share images and initial weights, so they say what to expect of other "
        limits += "seeds on these data, not of other data sets" + ("" if draws > 1 else " or other draws")
        found.append(limits)
        return found


def find_row(frame: pd.DataFrame, name: str) -> str:
    """The row that a method key or a row's name means. SpecError with the nearest one, or where a key has several."""
    rows = {str(row) for row in frame["row"]}
    of_key = sorted({str(row) for row in frame.loc[frame["method"] == name, "row"]})
    if name in rows:
        return name
    if len(of_key) == 1:
        return of_key[0]
    if of_key:
        raise SpecError(f"baseline {name!r} has several rows; name one of: {', '.join(of_key)}")
    raise SpecError(f"unknown baseline {name!r}{nearest(name, rows | set(frame['method']))}")


def p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _mean(table: pd.DataFrame, row: str, metric: Metric, bold: bool) -> Cell:
    return Cell(f"{table[row].mean() * metric.scale:.2f}", bold)


def _difference(found: Comparison | None, metric: Metric) -> Cell:
    """With its interval where there are pairs enough for a test."""
    if found is None:
        return Cell()
    text = f"{found.difference * metric.scale:+.2f}"
    if found.low is not None and found.high is not None and found.pairs >= MIN_PAIRS:
        text += f" [{found.low * metric.scale:+.2f}, {found.high * metric.scale:+.2f}]"
    return Cell(text)


def _p(found: Comparison | None, star: bool) -> Cell:
    return Cell() if found is None or found.corrected is None else Cell(p_text(found.corrected) + STAR * star)


def _line(found: Comparison, column: str, metric: Metric) -> dict[str, object]:
    """A comparison for the csv."""
    low, high = (None if value is None else value * metric.scale for value in (found.low, found.high))
    return {
        "metric": column,
        "unit": "percentage points" if metric.unit == "%" else metric.unit,
        "row": found.row,
        "condition": TOGETHER,
        "baseline": found.other,
        "n": found.pairs,
        "mean": found.difference * metric.scale,
        "low": low,
        "high": high,
        "interval": "t",
        "p": found.p,
        "p_holm": found.corrected,
        "improvement": found.improvement,
    }


def _blocks(view: View, table: pd.DataFrame) -> str:
    return _number(len(table), "block") + (", means over seeds," if view.unit == "draw" else "")


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"
