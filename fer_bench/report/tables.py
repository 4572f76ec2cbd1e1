"""The comparison of methods: what a table holds, computed from finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fer_bench.report import chance, notes, other_predictions, training_data
from fer_bench.report.aggregate import aggregate, csv_lines
from fer_bench.report.arrange import Runs
from fer_bench.report.caption import caption
from fer_bench.report.footnotes import Footnotes, footnotes
from fer_bench.report.measures import METRICS, Metric, View
from fer_bench.report.rendering import Block, Cell, Table, short_count, value_range
from fer_bench.report.significance import STAR, Significance

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_VIEW = View()

TITLE = "Facial expression recognition under label noise and class imbalance"


def comparison(runs: Runs, view: View = DEFAULT_VIEW, unfinished: Iterable[str] = ()) -> Table:
    """The comparison table: methods as rows and conditions as columns.

    It has one block for each metric and selected epoch, then all conditions together, the costs, and the training data.
    Cells are the mean over runs and, for two runs or more, the standard deviation or the 95 % interval. Bold are the
    best mean of a column and, where a test can be made, all methods that are not significantly worse.

    Args:
        runs: Arranged runs.
        view: Which metrics and epochs are shown, and how methods are compared.
        unfinished: Lines on runs that are missing; they come first in the notes.
    """
    signs, significance = footnotes(runs), Significance(runs, view)
    values, draws = aggregate(runs, view), training_data.draws(runs)
    shares = training_data.purity(draws)
    shown = [(metric, selection) for metric in view.chosen for selection in view.variants(metric)]
    marked = {selection: chance.marks(runs, selection) for selection in dict.fromkeys(view.selections)}
    blocks: list[Block] = []
    for metric, selection in shown:
        blocks += _metric_block(values, metric, selection, signs, significance, marked[selection])
    for metric in view.chosen:
        blocks += significance.together(metric, view.selections[0], signs)
    blocks += other_predictions.block(runs, signs)
    blocks.append(_cost_block(values, runs, signs))
    blocks += training_data.blocks(runs, shares)
    return Table(
        TITLE,
        tuple(blocks),
        caption(runs, view, significance),
        (
            *unfinished,
            *([runs.order] if runs.order and len(runs.rows) > 1 else []),
            *chance.note(runs, marked[view.selections[0]]),
            *notes.gaps(runs),
            *_without_values(values, shown, runs.wrong),
            *notes.definitions(runs, view, draws),
            *(significance.notes() if len(runs.rows) > 1 else []),
            notes.training(runs.frame),
            *notes.splits(runs.frame["record"]),
            *notes.own_recipes(runs.frame),
            notes.source(runs.frame),
        ),
        csv_lines(values, significance.differences, shares),
        (*signs.legend, *([chance.LEGEND] if any(marked.values()) else [])),
    )


def _metric_block(
    values: pd.DataFrame,
    metric: Metric,
    selection: str,
    signs: Footnotes,
    significance: Significance,
    marks: Mapping[tuple[str, str], chance.Count],
) -> list[Block]:
    """One block, or none where no run has the metric.

    A condition without values, such as memorised labels of clean data, has no column.
    """
    runs, view = significance.runs, significance.view
    mine = values[values["metric"] == metric.column(selection)]
    found = {(value["row"], value["condition"]): value for value in mine.to_dict("records")}
    columns = [c for c in runs.conditions if any(condition == c for _, condition in found)]
    if not columns:
        return []
    usual = int(mine["n"].max())
    at_chance = marks if metric.by_epoch and metric.compared else {}
    lost = {place for place, count in at_chance.items() if count.all}  # the best of those who guess has won nothing
    marked = {condition: significance.column(metric, selection, condition) for condition in columns}

    def cell(row: str, condition: str) -> Cell:
        if (row, condition) not in found:
            return Cell()
        value, (bold, starred) = found[row, condition], marked[condition]
        mean, sd, low, high = (f"{value[name]:.{metric.digits}f}" for name in ("mean", "sd", "low", "high"))
        text = mean
        if value["n"] > 1:
            text += f" ± {sd}" if view.spread == "sd" else f" [{low}, {high}]"
        text += STAR * (row in starred) + f" {chance.SIGN}" * ((row, condition) in at_chance)
        text += f" (n={value['n']:.0f})" if value["n"] != usual else ""
        return Cell(text, row in bold and (row, condition) not in lost)

    lines = tuple((signs.name(row), tuple(cell(row, c) for c in columns)) for row in runs.rows)
    return [Block(metric.heading(selection, runs.wrong), "Method", tuple(columns), lines)]


def _without_values(values: pd.DataFrame, shown: Iterable[tuple[Metric, str]], wrong: str) -> list[str]:
    """A line with the metrics that were asked for and that no run has."""
    present = set(values["metric"])
    absent = [
        metric.heading(selection, wrong)
        for metric, selection in shown
        if metric.column(selection) not in present and metric.name != "memorised"  # clean labels have none
    ]
    return [f"No finished run has: {'; '.join(absent)}."] if absent else []


def _cost_block(values: pd.DataFrame, runs: Runs, signs: Footnotes) -> Block:
    """What a run costs: a mean over seeds, and a range where conditions differ (imbalance removes images)."""
    means = dict(iter(values.groupby(["metric", "row"])["mean"]))
    most = dict(iter(values.groupby("metric")["max"].max().items()))
    # a count that is no cost, such as skipped steps, has a column only where there are any
    measured = [m for m in METRICS if m.cost and m.name in most and (m.better or most[m.name])]

    def cell(metric: Metric, row: str) -> Cell:
        if (metric.name, row) not in means:
            return Cell()
        unit = {"MB": "B"}.get(metric.unit, "")
        return Cell(value_range(means[metric.name, row], lambda v: short_count(v / metric.scale, unit)))

    lines = tuple((signs.name(row), tuple(cell(metric, row) for metric in measured)) for row in runs.rows)
    titles = tuple(f"{m.title} (s)" if m.unit == "s" else m.title for m in measured)
    return Block("Cost of one run", "Method", titles, lines, main=False)
