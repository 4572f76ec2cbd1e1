"""The values behind the cells: unrounded, one line each, for the csv and for the blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.report.measures import METRICS, View
from fer_bench.report.rendering import Cell
from fer_bench.report.statistics import summary, t_interval
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["row", "method", "condition", "dataset", "noise", "imbalance"]

FIELDS = ["metric", "unit", "method", "row", "dataset", "condition", "noise", "imbalance", "class", "baseline",
          "n", "mean", "sd", "low", "high", "min", "max", "interval", "p", "p_holm", "improvement"]  # fmt: skip


def numbers(frame: pd.DataFrame, rows: list[str], conditions: list[str], view: View) -> pd.DataFrame:
    """n, mean, sd (ddof 1), 95 % interval, min and max of each metric under each selection, row and condition, in the
    unit of the metric. A condition without values of a metric has no line."""
    import pandas as pd

    order: dict[str, int] = {}
    parts = []
    for metric in METRICS:
        for column in dict.fromkeys(metric.column(selection) for selection in SELECTIONS):
            order[column] = len(order)
            if column not in frame:
                continue
            groups = (pd.to_numeric(frame[column]).astype(float) * metric.scale).groupby(
                [frame[key] for key in KEYS], sort=False
            )
            part = groups.agg(n="count", mean="mean", sd="std", min="min", max="max")
            if view.interval == "bootstrap":
                found = [summary(group, "bootstrap") if group.notna().any() else None for _, group in groups]
                part["low"], part["high"] = [about and about.low for about in found], [f and f.high for f in found]
            parts.append(part[part["n"] > 0].reset_index().assign(metric=column, unit=metric.unit))
    result = pd.concat(parts, ignore_index=True)
    if view.interval == "t":
        result["low"], result["high"] = t_interval(result["n"], result["mean"], result["sd"])
    result["interval"] = view.interval
    places = {"metric": order, **{n: {v: k for k, v in enumerate(c)} for n, c in
                                  (("row", rows), ("condition", conditions))}}  # fmt: skip
    return result.sort_values(
        ["metric", "condition", "row"], key=lambda column: column.map(places[str(column.name)]), kind="stable"
    ).reset_index(drop=True)


def purity(frame: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Share of right labels among those given as each class, %: dataset, condition, class, value; one line for each
    condition and distinct draw."""
    import pandas as pd

    found = []
    for run in frame.drop_duplicates(["condition", "data_seed"]).itertuples():
        final = RunFolder(Path(run.path)).final or {}
        shares = final.get("noise", {}).get("purity", [])
        names = class_names(classes, run.dataset, len(shares))
        for name, share in zip(names, shares, strict=True):
            found.append((run.dataset, run.condition, name, None if share is None else 100 * share))
    return pd.DataFrame(found, columns=["dataset", "condition", "class", "value"]).astype({"value": float})


def class_names(classes: Mapping[str, Sequence[str]], dataset: str, number: int) -> list[str]:
    """The names of a data set's classes; their numbers where they are not known or not of this number."""
    names = [str(name) for name in classes.get(dataset, ())]
    return names if len(names) == number else [str(place) for place in range(number)]


def together(values: pd.DataFrame, differences: list[dict[str, object]], shares: pd.DataFrame) -> pd.DataFrame:
    """The csv: values, then comparisons over all blocks together, then the purity of labels, which belongs to no
    method."""
    import pandas as pd

    keys = ["dataset", "condition", "class"]
    stats = shares.groupby(keys, sort=False)["value"].agg(n="count", mean="mean", sd="std", min="min", max="max")
    labels = stats.reset_index().assign(metric="purity", unit="%")
    methods = dict(zip(values["row"], values["method"], strict=True))
    lines = [*values.to_dict("records"), *({**d, "method": methods.get(str(d["row"]))} for d in differences)]
    return pd.DataFrame([*lines, *labels.to_dict("records")], columns=FIELDS)


def extent(values: pd.Series, form: Callable[[float], str]) -> str:
    """One number, or the lowest and the highest."""
    if values.empty or values.isna().all():
        return Cell().text
    low, high = form(float(values.min())), form(float(values.max()))
    return low if low == high else f"{low} to {high}"


def count(value: float, unit: str = "") -> str:
    """A count for people: 812, 12.3 k, 4.56 M."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            number = f"{value / size:.3g}" if value < 100 * size else f"{value / size:.0f}"
            return f"{number} {prefix}{unit}"
    return (f"{value:.3g}" if value < 100 else f"{value:.0f}") + (f" {unit}" if unit else "")
