"""The values behind the cells: unrounded, one line each, for the CSV and for the blocks of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fer_bench.report.measures import METRICS, View
from fer_bench.report.statistics import summary, t_interval
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.arrange import Runs

KEYS = ["row", "method", "condition", "dataset", "noise", "imbalance"]

FIELDS = ["metric", "unit", "method", "row", "dataset", "condition", "noise", "imbalance", "class", "baseline",
          "n", "mean", "sd", "low", "high", "min", "max", "interval", "p", "p_holm", "improvement"]  # fmt: skip
"""Columns of ``table.csv``."""


def aggregate(runs: Runs, view: View) -> pd.DataFrame:
    """Statistics over the runs of each metric, selected epoch, row and condition.

    Returns:
        One line each: ``KEYS``, metric (a column of the runs), unit, n, mean, sd (divisor n - 1), the 95 % interval
        (low, high, interval), min and max, in the unit of the metric. A condition without values of a metric has no
        line.
    """
    import pandas as pd

    frame = runs.frame
    parts = []
    columns = {metric.column(key): metric for metric in METRICS for key in SELECTIONS}
    scaled = {column: pd.to_numeric(frame[column]).astype(float) * each.scale for column, each in columns.items()}
    groups = pd.DataFrame(scaled).groupby([frame[key] for key in KEYS], sort=False)
    measured = {
        "n": groups.count(),
        "mean": groups.mean(),
        "sd": groups.std(),
        "min": groups.min(),
        "max": groups.max(),
    }
    for column, metric in columns.items():
        part = pd.DataFrame({name: values[column] for name, values in measured.items()})
        if view.interval == "bootstrap":
            found = [summary(group, "bootstrap") if group.notna().any() else None for _, group in groups[column]]
            part["low"], part["high"] = [about and about.low for about in found], [f and f.high for f in found]
        parts.append(part[part["n"] > 0].reset_index().assign(metric=column, unit=metric.unit))
    result = pd.concat([part for part in parts if len(part)], ignore_index=True)
    if view.interval == "t":
        result["low"], result["high"] = t_interval(result["n"], result["mean"], result["sd"])
    result["interval"] = view.interval
    order = {"metric": list(columns), "condition": runs.conditions, "row": runs.rows}
    places = {name: {value: place for place, value in enumerate(values)} for name, values in order.items()}
    return result.sort_values(
        list(order), key=lambda column: column.map(places[str(column.name)]), kind="stable"
    ).reset_index(drop=True)


def csv_lines(values: pd.DataFrame, differences: Sequence[dict[str, object]], purity: pd.DataFrame) -> pd.DataFrame:
    """The lines of ``table.csv``: values, then comparisons over all blocks, then the purity of labels.

    Args:
        values: From :func:`aggregate`.
        differences: From ``Significance.differences``.
        purity: From ``training_data.purity``; it belongs to no method.
    """
    import pandas as pd

    stats = purity.groupby(["dataset", "condition", "class"], sort=False)["value"]
    labels = stats.agg(n="count", mean="mean", sd="std", min="min", max="max").reset_index()
    methods = dict(zip(values["row"], values["method"], strict=True))
    lines = [
        *values.to_dict("records"),
        *({**difference, "method": methods.get(str(difference["row"]))} for difference in differences),
        *labels.assign(metric="purity", unit="%").to_dict("records"),
    ]
    return pd.DataFrame(lines, columns=FIELDS)
