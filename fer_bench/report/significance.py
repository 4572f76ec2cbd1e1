"""What the tests say in a table: bold cells, stars, and the comparison over all conditions together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fer_bench.core.errors import SpecError, nearest
from fer_bench.core.text import counted
from fer_bench.report import statistics
from fer_bench.report.arrange import Runs
from fer_bench.report.footnotes import Footnotes
from fer_bench.report.measures import Metric, View
from fer_bench.report.rendering import Block, Cell
from fer_bench.report.statistics import ALPHA, MIN_PAIRS, Comparison, Leaders

if TYPE_CHECKING:
    import pandas as pd

STAR = "*"

TOGETHER = "all blocks together"
"""The condition of a comparison over all blocks, in the CSV."""

NAMES = {"sign-flip": "sign-flip permutation test of the mean difference", "wilcoxon": "Wilcoxon signed-rank test"}


@dataclass(frozen=True)
class Family:
    """The comparisons of one metric over one set of blocks, which are corrected together.

    Attributes:
        table: Values from :func:`fer_bench.report.statistics.blocks`.
        view: How they are tested.
        baseline: A row, or "" for none.
        higher: Whether higher is better.
    """

    table: pd.DataFrame
    view: View
    baseline: str
    higher: bool

    @cached_property
    def leaders(self) -> Leaders:
        """The best row and those that are not significantly worse."""
        return statistics.leaders(self.table, self.view.test, self.higher)

    def bold(self, metric: Metric) -> frozenset[str]:
        """The leaders; none if all means are equal as shown."""
        shown = {f"{mean * metric.scale:.{metric.digits}f}" for mean in self.table.mean().dropna()}
        return self.leaders.rows if len(shown) > 1 else frozenset()

    @cached_property
    def against(self) -> dict[str, Comparison]:
        """Comparisons by row: with the baseline, or with the best row if there is no baseline."""
        if self.baseline and self.baseline in self.table:
            found: Iterable[Comparison] = statistics.against(self.table, self.baseline, self.view.test, self.higher)
        else:
            found = () if self.baseline else self.leaders.comparisons
        return {comparison.row: comparison for comparison in found}

    @property
    def starred(self) -> set[str]:
        """Rows that differ significantly from the baseline."""
        return {row for row, c in self.against.items() if c.significant} if self.baseline else set()

    @property
    def pairs(self) -> int:
        """The fewest pairs of a comparison."""
        return min((c.pairs for c in self.against.values()), default=0)


@dataclass
class Significance:
    """The tests of a table, each made once.

    Attributes:
        runs: Arranged runs.
        view: How they are tested.
        baseline: The row of the view's baseline, or "".
        tested: Whether any test could find a difference.
        untested: Whether some cells were not tested, because there are too few pairs.
        reasons: Why tests are missing or cannot succeed, one sentence or two each.
        differences: Comparisons over all blocks together, as lines of the CSV.
    """

    runs: Runs
    view: View
    baseline: str = ""
    tested: bool = False
    untested: bool = False
    reasons: list[str] = field(default_factory=list)
    differences: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.view.baseline:
            self.baseline = find_row(self.runs.tested, self.view.baseline)

    def column(self, metric: Metric, selection: str, condition: str) -> tuple[frozenset[str], set[str]]:
        """The rows that are bold and the rows with a star in one column of a metric's block."""
        if not metric.compared:
            return frozenset(), set()
        part = self.runs.tested[self.runs.tested["condition"] == condition]
        table = statistics.blocks(part, metric.column(selection), self.view.unit)
        if table.shape[1] < 2:
            return frozenset(), set()
        family = Family(table, self.view, self.baseline, metric.better > 0)
        if len(table) < MIN_PAIRS:
            self.untested = True
            return family.bold(metric), set()
        self._remember(family)
        return family.bold(metric), family.starred

    def together(self, metric: Metric, selection: str, footnotes: Footnotes) -> list[Block]:
        """Methods compared over all blocks: one block of the table, or none where nothing can be compared."""
        if not metric.compared:
            return []
        table = statistics.blocks(self.runs.tested, metric.column(selection), self.view.unit)
        complete = table.dropna()
        if table.shape[1] < 2 or complete.empty:
            return []
        if len(complete) < MIN_PAIRS and not self.baseline:
            self._too_few(len(complete))
            return []
        if len(complete) < len(table):
            left = f"{len(table) - len(complete)} of {counted(len(table), 'block')}"
            self._add(f"Means and ranks over all blocks leave out {left}, in which some method has no run.")
        overall = Family(complete, self.view, "", metric.better > 0)
        compared = Family(table, self.view, self.baseline, metric.better > 0) if self.baseline else overall
        self._remember(compared)
        self.differences += [_csv_line(c, metric.column(selection), metric) for c in compared.against.values()]
        heading = metric.heading(selection, self.runs.wrong)
        return [_comparison_block(heading, metric, overall, compared, self.runs.rows, footnotes)]

    def _remember(self, family: Family) -> None:
        """Notes whether a test was made, and the reason where it was not or could not have succeeded."""
        comparisons, pairs, test = len(family.against), family.pairs, self.view.test
        if not comparisons:
            return  # the baseline has no run here
        if pairs < MIN_PAIRS:
            self.untested = True
            self._too_few(pairs)
            return
        least = statistics.smallest_p(pairs, comparisons, test)
        if least < ALPHA:
            self.tested = True
            return
        self.untested = True
        needed = statistics.pairs_needed(comparisons, test)
        few = f"With {pairs} pairs and {counted(comparisons, 'comparison')} no corrected p-value can fall below"
        self._add(f"{few} {least:.2g}, so no difference can be significant. {needed} pairs would be needed.")

    def _too_few(self, pairs: int) -> None:
        few = f"No test was made with {counted(pairs, 'pair')}, because {MIN_PAIRS} are needed"
        self._add(f"{few}: with five pairs a two-sided p-value cannot fall below 0.0625.")

    def _add(self, text: str) -> None:
        if text not in self.reasons:
            self.reasons.append(text)

    def caption(self) -> str:
        """The sentence on bold cells."""
        if not self.tested:
            return "Bold: the best mean of a column; no significance is claimed."
        star = f" {STAR} marks a significant difference from {self.runs.name(self.baseline)}." if self.baseline else ""
        where = ", where there are enough runs to test it" if self.untested else ""
        return f"Bold: the best mean of a column and all methods not significantly worse{where}.{star}"

    def notes(self) -> list[str]:
        """What was tested over what, what that does not cover, and why tests are missing."""
        found = []
        if self.tested:
            found.append(
                f"Significance: two-sided {NAMES[self.view.test]} over paired blocks, Holm-corrected over the methods "
                f"of a column, at level {ALPHA}. A block is {self._block()}."
            )
            found.append(self._scope())
        if self.differences:
            found.append(
                "Difference: mean over blocks with its 95 % interval (Student's t). P(better): probability that a run "
                "of the method beats a run of the other one in the same condition; ties count half."
            )
        return [*found, *self.reasons]

    def _block(self) -> str:
        return "one condition and one draw of the training data" + (
            ", averaged over training seeds" if self.view.unit == "draw" else " with one training seed"
        )

    def _scope(self) -> str:
        draws = self.runs.frame["data_seed"].nunique()
        shared = "Conditions share images and initial weights"
        if self.view.unit == "seed":
            shared = "Blocks are not independent: they share images, draws of the training data and initial weights"
        other = "data sets" if draws > 1 else "data sets or other draws of the training data"
        return f"{shared}. The tests therefore speak of other training seeds on these data, not of other {other}."


def find_row(frame: pd.DataFrame, name: str) -> str:
    """The row that a method key or the name of a row means.

    Raises:
        SpecError: There is no such row, or the method has several; the message lists them.
    """
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
    """A p-value with three decimals."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def p_equation(p: float) -> str:
    """``p = 0.012`` or ``p < 0.001``."""
    return f"p {'= ' * (p >= 0.001)}{p_text(p)}"


def _comparison_block(
    heading: str, metric: Metric, overall: Family, compared: Family, rows: Iterable[str], footnotes: Footnotes
) -> Block:
    """Mean, mean rank and comparisons of each row.

    Args:
        heading: Name of the metric.
        metric: The metric.
        overall: All rows over the blocks that every row has.
        compared: The comparisons that are shown.
        rows: Names of the rows, in order.
        footnotes: Signs of the rows.
    """
    complete, found, bold = overall.table, compared.against, overall.bold(metric)
    ranks = statistics.friedman(complete, overall.higher)
    title = f"{heading}: all conditions together"
    title += f" ({counted(len(complete), 'block')}" + (f"; Friedman's test: {p_equation(ranks.p)})" if ranks else ")")
    columns: dict[str, Callable[[str], Cell]] = {"Mean": lambda row: _mean(complete, row, metric, row in bold)}
    if ranks:
        columns["Mean rank"] = lambda row: Cell(f"{ranks.mean[row]:.2f}")
    other = footnotes.name(compared.baseline or overall.leaders.best) + ", the best" * (not compared.baseline)
    columns |= {
        f"Difference from {other} [95 %]": lambda row: _difference(found.get(row), metric),
        "p (Holm)": lambda row: _p(found.get(row), row in compared.starred),
        "P(better)": lambda row: Cell(f"{found[row].improvement:.2f}") if row in found else Cell(),
    }
    if {c.pairs for c in found.values()} != {len(complete)}:
        columns["Pairs"] = lambda row: Cell(str(found[row].pairs)) if row in found else Cell()
    lines = (
        (footnotes.name(row), tuple(cell(row) for cell in columns.values())) for row in rows if row in compared.table
    )
    return Block(title, "Method", tuple(columns), tuple(lines), main=False)


def _mean(table: pd.DataFrame, row: str, metric: Metric, bold: bool) -> Cell:
    return Cell(f"{table[row].mean() * metric.scale:.{metric.digits}f}", bold)


def _difference(found: Comparison | None, metric: Metric) -> Cell:
    """With its interval where there are pairs enough for a test."""
    if found is None:
        return Cell()
    text = f"{found.difference * metric.scale:+.{metric.digits}f}"
    if found.low is not None and found.high is not None and found.pairs >= MIN_PAIRS:
        low, high = (f"{value * metric.scale:+.{metric.digits}f}" for value in (found.low, found.high))
        text += f" [{low}, {high}]"
    return Cell(text)


def _p(found: Comparison | None, star: bool) -> Cell:
    return Cell() if found is None or found.corrected is None else Cell(p_text(found.corrected) + STAR * star)


def _csv_line(found: Comparison, column: str, metric: Metric) -> dict[str, object]:
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
