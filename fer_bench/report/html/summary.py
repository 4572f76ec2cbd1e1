"""The main table of the page: n, mean, sd and bold of every metric, row, condition and selected epoch.

All come from the columns and tests that the other tables use, so that the page shows the same numbers.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from fer_bench.report.arrange import Runs
from fer_bench.report.html.rounding import rounded
from fer_bench.report.measures import METRICS, Metric, View
from fer_bench.report.significance import Significance
from fer_bench.report.wording import sentence_case
from fer_bench.store.model_selection import SELECTIONS

SHOWN = tuple(metric for metric in METRICS if metric.name not in ("fit_noisy", "fit_clean"))
"""Metrics of the page; how the training labels are fitted has curves instead."""


def metrics(wrong: str) -> list[dict[str, Any]]:
    """What the page must know of each metric. ``wrong`` names the wrong labels."""
    return [
        {
            "key": metric.name,
            "title": sentence_case(metric.title.format(wrong=wrong)),
            "unit": metric.unit,
            "digits": metric.digits,
            "better": metric.better,
            "compared": metric.compared,
            "by_epoch": metric.by_epoch,
            "cost": metric.cost,
        }
        for metric in SHOWN
    ]


def table(runs: Runs) -> dict[str, list[dict[str, Any]]]:
    """By selected epoch, one entry per row and condition with {metric: [n, mean, sd, bold]}; sd is None for one run."""
    significance = Significance(runs, View())
    made: dict[str, dict[tuple[str, str], list[Any]]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for selection in SELECTIONS:
        columns = {metric.name: metric.column(selection) for metric in SHOWN}
        for metric in SHOWN:
            if (column := columns[metric.name]) not in made:
                made[column] = _cells(significance, metric, selection)
        found[selection] = [
            {
                "row": runs.rows.index(row),
                "condition": runs.conditions.index(condition),
                "values": {
                    key: made[name][row, condition] for key, name in columns.items() if (row, condition) in made[name]
                },
            }
            for row, condition in dict.fromkeys(zip(runs.frame["row"], runs.frame["condition"], strict=True))
        ]
    return found


def _cells(significance: Significance, metric: Metric, selection: str) -> dict[tuple[str, str], list[Any]]:
    frame = significance.runs.frame
    values = pd.to_numeric(frame[metric.column(selection)]).astype(float) * metric.scale
    groups = values.groupby([frame["condition"], frame["row"]], sort=False).agg(["count", "mean", "std"])
    groups = groups[groups["count"] > 0]
    conditions = groups.index.get_level_values("condition").unique()
    bold = {condition: significance.column(metric, selection, str(condition))[0] for condition in conditions}
    return {
        (row, condition): [int(n), rounded(mean, 8), rounded(sd, 8), row in bold[condition]]
        for (condition, row), n, mean, sd in groups.itertuples()
    }
