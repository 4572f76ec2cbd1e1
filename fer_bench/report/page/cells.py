"""The main table: n, mean and sd (ddof 1) of every measure, method, condition and protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fer_bench.report.page.numbers import rounded
from fer_bench.report.page.protocols import MEASURES, PROTOCOLS


@dataclass(frozen=True)
class Measure:
    """``higher`` says which end is good, None where neither is; ``chosen`` whether the protocol changes it."""

    key: str
    title: str
    unit: str
    higher: bool | None
    chosen: bool
    digits: int = 2


TABLE = (
    Measure("overall", "Overall accuracy", "%", True, True),
    Measure("mean", "Mean accuracy over classes", "%", True, True),
    Measure("macro_f1", "Macro F1", "%", True, True),
    Measure("worst", "Worst class", "%", True, True),
    Measure("ece", "Calibration error (ECE)", "%", False, True),
    Measure("nll", "Negative log-likelihood", "nats", False, True, 3),
    Measure("gap", "Gap to the best test epoch (oracle)", "points", False, True),
    Measure("memorised", "Wrong labels memorised", "%", False, False),
    Measure("auroc", "Wrong-label detection, AUROC", "%", True, False),
    Measure("ap", "Wrong-label detection, average precision", "%", True, False),
    Measure("seconds", "Seconds a run", "s", False, False, 0),
    Measure("images_forward", "Images forwarded", "images", False, False, 0),
    Measure("images_backward", "Images backwarded", "images", False, False, 0),
    Measure("parameters", "Parameters", "parameters", False, False, 0),
    Measure("skipped_steps", "Skipped steps", "steps", None, False, 0),
)


def table(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By protocol: one entry per row and condition with {measure: [n, mean, sd]}; sd is None for one run."""
    return {protocol.key: _cells(runs, protocol.key) for protocol in PROTOCOLS}


def _cells(runs: Sequence[Mapping[str, Any]], protocol: str) -> list[dict[str, Any]]:
    records = []
    for run in runs:
        chosen, oracle = run["measures"][protocol], run["measures"]["best_test"]
        record = {"row": run["row"], "condition": run["condition"], **run["cost"]}
        record |= {name: run[name] for name in ("memorised", "auroc", "ap")}
        record |= {name: None if chosen is None else chosen[name] for name in MEASURES}
        record["gap"] = None if chosen is None else oracle["overall"] - chosen["overall"]
        records.append(record)
    frame = pd.DataFrame(records).astype(float)
    cells = []
    for (row, condition), group in frame.groupby(["row", "condition"]):
        values = {
            measure.key: [int(column.count()), rounded(column.mean(), 4), rounded(column.std(ddof=1), 4)]
            for measure in TABLE
            if (column := group[measure.key]).count()
        }
        cells.append({"row": int(row), "condition": int(condition), "values": values})
    return cells
