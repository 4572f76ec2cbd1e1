"""Everything that the page shows, as plain values, from the records of a sweep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fer_bench.plugins.registry import Plugin
from fer_bench.report import palette
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.footnotes import footnotes
from fer_bench.report.groups import Groups, groups
from fer_bench.report.html import gallery, labels, ranks, summary, weight_surfaces
from fer_bench.report.html.answer import answer, standing
from fer_bench.report.html.rounding import percent, rounded
from fer_bench.report.html.run_details import FALSE_ALARMS, describe
from fer_bench.report.tables import comparison
from fer_bench.report.training_data import draws
from fer_bench.report.wording import clean_label_verb, singular
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.sweep.record import Sweep


def collect(sweep: Sweep, plugins: Mapping[str, Plugin], faces: gallery.FacesShown = "own") -> dict[str, Any]:
    """The content of the page.

    Args:
        sweep: A sweep with at least one finished run.
        plugins: Methods by key, for the surfaces of sample weights.
        faces: Which pictures may go into the page.

    Raises:
        ValueError: No run is finished.
    """
    runs = arranged(sweep, plugins)
    known = groups(runs)
    data, table = draws(runs), comparison(runs)
    shown, pictures, withheld = gallery.galleries(runs, faces)
    return {
        "sweep": sweep.name,
        "command": sweep.content.get("command", ""),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "version": _version(),
        "caption": table.caption,
        "notes": list(table.below),
        "unfinished": sweep.unfinished(),
        **{name: getattr(runs, name) for name in ("wrong", "correct")},
        "is": clean_label_verb(runs.frame["labels"]),
        **{f"one_{name}": singular(getattr(runs, name)) for name in ("wrong", "correct")},
        "selections": [asdict(selection) for selection in SELECTIONS.values()],
        "metrics": summary.metrics(runs.wrong),
        "false_alarms": [rounded(100 * rate, 3) for rate in FALSE_ALARMS],
        "rows": _rows(runs, known),
        "answer": answer(place) if (place := standing(runs, known)) else None,
        "palette": {"light": palette.LIGHT, "dark": palette.DARK},
        "legend": list(table.legend),
        "conditions": _conditions(runs),
        "runs": [describe(run, runs.rows, runs.conditions) for run in runs.frame.to_dict("records")],
        "folders": any(record.folder.path.exists() for record in runs.frame["record"]),
        "table": summary.table(runs),
        "ranks": ranks.diagrams(runs),
        "labels": labels.describe(data, runs.conditions),
        "surfaces": weight_surfaces.surfaces(runs, plugins),
        "galleries": shown,
        "pictures": pictures,
        "withheld": withheld,
    }


def arranged(sweep: Sweep, plugins: Mapping[str, Plugin]) -> Runs:
    """The runs of a sweep, with the rows of a family beside each other. Arguments and errors as for :func:`collect`."""
    runs = arrange(sweep.records(), sweep.classes, {key: plugin.described for key, plugin in plugins.items()})
    return replace(runs, rows=groups(runs).rows)


def _rows(runs: Runs, known: Groups) -> list[dict[str, Any]]:
    signs = footnotes(runs).signs
    methods = dict(zip(runs.frame["row"], runs.frame["method"], strict=True))
    families = {row: title for title, rows in known.families.items() for row in rows}
    return [
        {
            "name": known.name(row),
            "method": methods[row],
            "signs": signs.get(row, ""),
            "family": families[row],
            "colour": known.places[row],
            "baseline": row == known.baseline,
        }
        for row in runs.rows
    ]


def _conditions(runs: Runs) -> list[dict[str, Any]]:
    """What was asked of the runs of each condition, and the names of their classes."""
    found = []
    for name, group in runs.frame.groupby("condition", sort=False):
        run = group.iloc[0]
        classes = len(run["record"].epochs[-1]["test"]["recall"])
        found.append(
            {
                "name": str(name),
                "data": Path(run["dataset"]).name,
                **{key: str(run[key]) for key in ("family", "context", "setting", "base")},
                "rate": percent(run["noise_rate"]),
                "realised": percent(group["realised_rate"].mean()),
                "errors_known": all(record.errors_known for record in group["record"]),
                "factor": rounded(run["imbalance_factor"], 3),
                "classes": runs.class_names(run["dataset"], classes),
            }
        )
    return found


def _version() -> str:
    try:
        return metadata.version("fer-bench")
    except metadata.PackageNotFoundError:
        return "(not installed)"
