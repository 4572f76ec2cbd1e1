"""The first screen of the page: who wins, by how much, whether that is significant, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from fer_bench.core.text import counted
from fer_bench.report import palette
from fer_bench.report.arrange import Runs
from fer_bench.report.footnotes import NOISE_RATE, footnotes
from fer_bench.report.groups import Groups
from fer_bench.report.measures import BY_NAME, Metric, View
from fer_bench.report.significance import Family, p_equation, p_text
from fer_bench.report.statistics import ALPHA, MIN_PAIRS, Comparison, blocks, smallest_p
from fer_bench.report.wording import signed

MOST_CONDITIONS = 4
"""Conditions up to which the first screen names the best method of each."""

COSTS = {"images_forward": "Images forward", "images_backward": "Images backward"}
"""Costs that the first screen names. Seconds are not among them: they depend on the machine and on what else it did."""


@dataclass(frozen=True)
class Line:
    """A method on the first screen; texts are ready to be shown, "" where there is nothing to show.

    Attributes:
        name: What it is called, with its signs.
        light: Its colour on a light ground.
        dark: Its colour on a dark ground.
        value: Mean over blocks.
        share: Where that is between the worst and the best, in per cent.
        difference: From the baseline, or from the best.
        interval: The 95 % interval of the difference.
        p: Corrected p-value of the difference.
        cost: Costs as multiples of the baseline's.
        best: Whether it has the best mean.
        unclear: Whether a test was made and does not find it worse than the best.
    """

    name: str
    light: str
    dark: str
    value: str
    share: float
    difference: str
    interval: str
    p: str
    cost: tuple[str, ...]
    best: bool
    unclear: bool


class Fact(NamedTuple):
    """A question, the short answer, and a sentence."""

    question: str
    short: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The first screen.

    Attributes:
        metric: What methods are compared by.
        column: The same as a heading.
        blocks: How many blocks all methods have, in words.
        shown: How many methods are shown, and of how many, in words.
        facts: Winner, lead, significance and cost.
        against: What differences are from.
        costs: Names of the costs.
        families: Lines by family.
    """

    metric: str
    column: str
    blocks: str
    shown: str
    facts: tuple[Fact, ...]
    against: str
    costs: tuple[str, ...]
    families: dict[str, tuple[Line, ...]]


@dataclass(frozen=True)
class Standing:
    """How the methods of a sweep stand, over the blocks that all of them have.

    Attributes:
        runs: Arranged runs.
        known: Their rows by family.
        metric: What they are compared by.
        order: Mean of each row, the best first, a fraction.
        base: The baseline; "" for none.
        overall: Comparisons with the best row.
        against: Comparisons with the baseline, or else with the best row.
    """

    runs: Runs
    known: Groups
    metric: Metric
    order: pd.Series
    base: str
    overall: Family
    against: Family

    @property
    def best(self) -> str:
        """The row with the best mean."""
        return self.overall.leaders.best

    @cached_property
    def given_rate(self) -> frozenset[str]:
        """Rows that are given the true noise rate."""
        frame = self.runs.tested
        return frozenset(frame.loc[frame["uses_noise_rate"].astype(bool), "row"])

    def name(self, row: str) -> str:
        """What a row is called; marked if it is given the noise rate."""
        return self.runs.name(row) + NOISE_RATE * (row in self.given_rate)

    @cached_property
    def firsts(self) -> dict[str, str]:
        """The row with the best mean in each condition."""
        means = self.overall.table.groupby(level="condition", sort=False).mean()
        return {str(condition): str(row) for condition, row in means.idxmax(axis=1).items()}

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Costs by row, as multiples of the baseline's in the conditions that both have; empty without a baseline."""
        if not self.base:
            return pd.DataFrame()
        means = self.runs.tested.groupby(["condition", "row"])[list(COSTS)].mean().astype(float)
        ratios = means / means.xs(self.base, level="row").reindex(means.index, level="condition")
        return ratios.groupby("row").mean()


def standing(runs: Runs, known: Groups) -> Standing | None:
    """How the methods stand; None where there is no block in which two methods have a run.

    They are compared by overall accuracy at the last epoch, and by mean accuracy over classes where there is class
    imbalance; tests are those of the tables.
    """
    metric = BY_NAME["mean" if (runs.tested["imbalance_factor"] > 1).any() else "overall"]
    complete = blocks(runs.tested, metric.column("last")).dropna()
    if complete.shape[1] < 2 or complete.empty:
        return None
    overall = Family(complete, View(), "", True)
    base = known.baseline if known.baseline in complete else ""
    order = complete.mean().sort_values(ascending=False, kind="stable")
    return Standing(
        runs, known, metric, order, base, overall, Family(complete, View(), base, True) if base else overall
    )


def answer(found: Standing) -> Answer:
    """The first screen."""
    names = footnotes(found.runs)
    members = {
        title: [str(row) for row in found.order.index if row in rows] for title, rows in found.known.families.items()
    }
    # the family of the baseline first, then that of the best method
    order = sorted(
        (title for title, rows in members.items() if rows),
        key=lambda title: (found.base not in members[title], -found.order[members[title][0]]),
    )
    return Answer(
        f"{found.metric.title} (%), last epoch",
        f"{found.metric.title} (%)",
        counted(len(found.overall.table), "block"),
        _shown(len(found.known.rows), len(found.order)),
        (_who(found), _how_much(found), _significance(found), _cost(found)),
        found.runs.name(found.base or found.best),
        tuple(COSTS.values()) if len(found.costs) else (),
        {title: tuple(_line(found, row, names.name(row)) for row in members[title]) for title in order},
    )


def _shown(rows: int, known: int) -> str:
    return "All methods" if rows >= known else f"{rows} of {known} methods"


def _line(found: Standing, row: str, name: str) -> Line:
    compared, leaders = found.against.against.get(row), found.overall.leaders
    order, metric, costs = found.order, found.metric, found.costs
    spread = float(order.max() - order.min()) or 1.0
    place = found.known.places[row]
    return Line(
        name,
        palette.LIGHT[place],
        palette.DARK[place],
        f"{order[row] * metric.scale:.{metric.digits}f}",
        round(100 * float(order[row] - order.min()) / spread, 1),
        points(compared.difference, metric) if compared else "",
        _interval(compared, metric) if compared else "",
        "" if compared is None or compared.corrected is None else p_text(compared.corrected),
        tuple(_times(costs.at[row, cost]) for cost in COSTS) if row in costs.index else (),
        row == leaders.best,
        leaders.tested and row in leaders.rows and row != leaders.best,
    )


def points(difference: float, metric: Metric) -> str:
    """A difference in points with its sign."""
    return signed(difference * metric.scale, f"+.{metric.digits}f")


def _times(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1f}×"


def _interval(found: Comparison, metric: Metric) -> str:
    if found.low is None or found.high is None or found.pairs < MIN_PAIRS:
        return ""
    low, high = (signed(value * metric.scale, f"+.{metric.digits}f") for value in (found.low, found.high))
    return f"[{low}, {high}]"


def _who(found: Standing) -> Fact:
    value = f"{found.order[found.best] * found.metric.scale:.1f} % {found.metric.title.lower()}"
    parts = [f"{value}, the best mean over {counted(len(found.overall.table), 'block')}."]
    if found.best in found.given_rate:
        parts.append(f"{NOISE_RATE} is given the true noise rate.")
    if found.best not in found.known.rows:
        parts.append("It is not among the methods below.")
    if 1 < len(found.firsts) <= MOST_CONDITIONS:
        firsts = "; ".join(f"{found.name(row)} ({condition})" for condition, row in found.firsts.items())
        parts.append(f"First by condition: {firsts}.")
    question = "Who wins?" if found.overall.leaders.tested else "Highest mean (not tested)"
    return Fact(question, found.name(found.best), " ".join(parts))


def _how_much(found: Standing) -> Fact:
    second = next(str(row) for row in found.order.index if row != found.best)
    lead = points(found.order[found.best] - found.order[second], found.metric)
    over = f"over {found.name(second)}, the second"
    if not found.base or found.base in (found.best, second):
        return Fact("By how much?", f"{lead} points", f"{over}.")
    gain = found.against.against[found.best]
    text = f"over {found.runs.name(found.base)} {_interval(gain, found.metric)}".rstrip()
    return Fact("By how much?", f"{points(gain.difference, found.metric)} points", f"{text}. {lead} {over}.")


def _cost(found: Standing) -> Fact:
    best, costs = found.best, found.costs
    if best == found.base or best not in costs.index:
        seconds = found.runs.tested.set_index("row").loc[[best], "seconds"].astype(float).mean()
        return Fact("At what cost?", f"{seconds:,.0f} s a run", f"{found.name(best)}, mean over conditions.")
    forward, backward = (_times(costs.at[best, name]) for name in COSTS)
    text = f"of {found.runs.name(found.base)} forward, {backward} backward."
    return Fact("At what cost?", f"{forward} the images", text)


def _significance(found: Standing) -> Fact:
    """Whether the best method is significantly ahead of the others, and of the baseline."""
    question, leaders = "Is it significant?", found.overall.leaders
    if not leaders.tested:
        pairs, comparisons = len(found.overall.table), len(found.order) - 1
        if pairs < MIN_PAIRS:
            return Fact(
                question, "Too few runs", f"{counted(pairs, 'block')} cannot be tested; {MIN_PAIRS} are needed."
            )
        least = smallest_p(pairs, comparisons)
        why = f"With {pairs} blocks and {counted(comparisons, 'comparison')} no corrected p can fall below {least:.2g}."
        return Fact(question, "Too few runs", why)
    text = ""
    compared = found.against.against.get(found.best) if found.base else None
    if compared and compared.corrected is not None:
        text = f"Against {found.runs.name(found.base)}: {p_equation(compared.corrected)}. "
    draw = " All blocks are of one draw of the data." * (found.runs.tested["data_seed"].nunique() == 1)
    others = [found.name(str(row)) for row in found.order.index if row in leaders.rows and row != found.best]
    if not others:
        return Fact(question, "Yes", f"{text}Every other method is significantly worse (p < {ALPHA}, Holm).{draw}")
    names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    short = f"Not over {counted(len(others), 'method')}"
    return Fact(question, short, f"{text}Not significantly worse: {names}.{draw}")
