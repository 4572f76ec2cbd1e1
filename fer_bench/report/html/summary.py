"""The main table: n, mean and sd (ddof 1) of every measure, method, condition and selected epoch, and what is bold.

All from the columns of runs that the other tables are made from, so that the page says what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fer_bench.report.html.rounding import rounded
from fer_bench.report.measures import METRICS, View
from fer_bench.report.significance import Conclusions
from fer_bench.store.model_selection import SELECTIONS

SCALES = {"%": 100, "points": 100, "MB": 1e-6}
"""What turns a column of runs into a unit; 1 for the others."""

COMPARED = {metric.name: metric for metric in METRICS if metric.better}


@dataclass(frozen=True)
class Measure:
    """``higher`` says which end is good, None where neither is; ``chosen`` whether the selected epoch changes it."""

    key: str
    title: str
    unit: str
    higher: bool | None
    chosen: bool
    digits: int = 2

    def column(self, selection: str) -> str:
        """The column of the runs, with :func:`with_gaps`, that holds it."""
        return SELECTIONS[selection].column(self.key) if self.chosen else self.key


TABLE = (
    Measure("overall", "Overall accuracy", "%", True, True),
    Measure("mean", "Mean accuracy over classes", "%", True, True),
    Measure("macro_f1", "Macro F1", "%", True, True),
    Measure("worst", "Worst class", "%", True, True),
    Measure("head", "Head classes", "%", True, True),
    Measure("tail", "Tail classes", "%", True, True),
    Measure("ece", "Calibration error (ECE)", "%", False, True),
    Measure("nll", "Negative log-likelihood", "nats", False, True, 3),
    Measure("gap", "Gap to the best test epoch (oracle)", "points", False, True),
    Measure("memorised", "Wrong labels memorised", "%", False, False),
    Measure("detection_auroc", "Wrong-label detection, AUROC", "%", True, False),
    Measure("detection_ap", "Wrong-label detection, average precision", "%", True, False),
    Measure("seconds", "Seconds a run", "s", False, False, 0),
    Measure("peak_memory_bytes", "Peak memory", "MB", False, False, 0),
    Measure("images_forward", "Images forwarded", "images", False, False, 0),
    Measure("images_backward", "Images backwarded", "images", False, False, 0),
    Measure("parameters", "Parameters", "parameters", False, False, 0),
    Measure("skipped_steps", "Skipped steps", "steps", None, False, 0),
)


def with_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs with the gap of each selection of epochs to the oracle."""
    best = frame["best_test_overall"]
    return frame.assign(**{s.column("gap"): best - frame[s.column("overall")] for s in SELECTIONS.values()})


def table(frame: pd.DataFrame, rows: Sequence[str], conditions: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By selection of epochs, one entry per row and condition with {measure: [n, mean, sd, bold]}.

    sd is None for one run.

    ``frame`` are the arranged runs :func:`with_gaps`.
    """
    conclusions = Conclusions(frame, View())
    made: dict[str, dict[tuple[str, str], list[Any]]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for selection in SELECTIONS:
        columns = {measure.key: measure.column(selection) for measure in TABLE}
        for measure in TABLE:
            if (column := columns[measure.key]) not in made:
                made[column] = _cells(frame, measure, selection, conclusions)
        found[selection] = [
            {
                "row": rows.index(row),
                "condition": conditions.index(condition),
                "values": {
                    key: made[name][row, condition] for key, name in columns.items() if (row, condition) in made[name]
                },
            }
            for row, condition in dict.fromkeys(zip(frame["row"], frame["condition"], strict=True))
        ]
    return found


def _cells(
    frame: pd.DataFrame, measure: Measure, selection: str, conclusions: Conclusions
) -> dict[tuple[str, str], list[Any]]:
    values = pd.to_numeric(frame[measure.column(selection)]).astype(float) * SCALES.get(measure.unit, 1)
    groups = values.groupby([frame["condition"], frame["row"]], sort=False).agg(["count", "mean", "std"])
    groups = groups[groups["count"] > 0]
    bold = {
        str(condition): conclusions.column(COMPARED[measure.key], selection, str(condition))[0]
        for condition in groups.index.get_level_values("condition").unique()
        if measure.key in COMPARED
    }
    return {
        (row, condition): [int(n), rounded(mean, 8), rounded(sd, 8), row in bold.get(condition, ())]
        for (condition, row), n, mean, sd in groups.itertuples()
    }
