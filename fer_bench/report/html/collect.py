"""Everything that the page shows, as plain values: read from the store, never from a running program."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from fer_bench.plugins.registry import Plugin
from fer_bench.report.aggregate import class_names
from fer_bench.report.arrange import arrange, row_order, unique
from fer_bench.report.footnotes import Marks, marks
from fer_bench.report.html import gallery, labels, ranks
from fer_bench.report.html import summary as cells
from fer_bench.report.html import weight_surfaces as weights
from fer_bench.report.html.rounding import percent, rounded
from fer_bench.report.html.run_details import COST, FALSE_ALARMS, describe
from fer_bench.report.tables import comparison
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.sweep.record import Sweep


def collect(sweep: Sweep, plugins: Mapping[str, Plugin], faces: gallery.FacesShown = "own") -> dict[str, Any]:
    """The content of the page of a sweep with at least one finished run; ValueError where there is none."""
    frame = cells.with_gaps(arrange(sweep.finished()))
    rows, conditions = row_order(frame), unique(frame, "condition")
    numbers = {name: place for place, name in enumerate(rows)}
    places = {name: place for place, name in enumerate(conditions)}
    signs = marks(frame)
    runs = [describe(run, numbers, places) for run in frame.to_dict("records")]
    shown, pictures, reasons = gallery.galleries(frame, rows, conditions, faces)
    return {
        "sweep": sweep.name,
        "command": sweep.content.get("command", ""),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "version": _version(),
        "caption": comparison(sweep.finished(), classes=sweep.classes).caption,
        "unfinished": sweep.unfinished(),
        "selections": [asdict(selection) for selection in SELECTIONS.values()],
        "measures": [asdict(measure) for measure in cells.TABLE],
        "cost": list(COST),
        "false_alarms": [rounded(100 * rate, 3) for rate in FALSE_ALARMS],
        "rows": _rows(frame, rows, signs),
        "legend": list(signs.legend),
        "conditions": _conditions(frame, conditions, sweep),
        "runs": runs,
        "table": cells.table(frame, rows, conditions),
        "ranks": ranks.diagrams(frame, rows),
        "labels": labels.describe(frame, conditions),
        "surfaces": weights.surfaces(frame, rows, conditions, plugins),
        "galleries": shown,
        "pictures": pictures,
        "withheld": reasons,
    }


def _rows(frame: pd.DataFrame, rows: list[str], signs: Marks) -> list[dict[str, Any]]:
    first = frame.drop_duplicates("row").set_index("row")
    return [{"name": row, "method": first.at[row, "method"], "signs": signs.signs.get(row, "")} for row in rows]


def _conditions(frame: pd.DataFrame, conditions: list[str], sweep: Sweep) -> list[dict[str, Any]]:
    """What was asked of the runs of each condition, and the names of their classes."""
    found = []
    for name, group in frame.groupby("condition", sort=False):
        run = group.iloc[0]
        labelled = labels.describe(group.head(1), conditions)[0]["purity"]
        found.append(
            {
                "name": str(name),
                "data": Path(run["dataset"]).name,
                **{key: str(run[key]) for key in ("family", "context", "setting")},
                "rate": percent(run["noise_rate"]),
                "realised": percent(group["realised_rate"].mean()),
                "factor": rounded(run["imbalance_factor"], 3),
                "classes": class_names(sweep.classes, run["dataset"], len(labelled)),
            }
        )
    return found


def _version() -> str:
    try:
        return metadata.version("fer-bench")
    except metadata.PackageNotFoundError:
        return "(not installed)"
