"""Everything that the page shows, as plain values, from the records of a sweep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from fer_bench.plugins.registry import Plugin
from fer_bench.report import palette
from fer_bench.report.arrange import Runs
from fer_bench.report.footnotes import footnotes
from fer_bench.report.groups import Groups, groups
from fer_bench.report.html import gallery, labels, ranks, summary, tuning, weight_surfaces
from fer_bench.report.html.answer import answer, standing
from fer_bench.report.html.rounding import percent, rounded
from fer_bench.report.html.run_details import FALSE_ALARMS, describe
from fer_bench.report.measures import View
from fer_bench.report.shown import ALL, Shown
from fer_bench.report.tables import comparison
from fer_bench.report.training_data import draws
from fer_bench.report.wording import clean_label_verb, singular
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.sweep.record import Sweep


def collect(
    sweep: Sweep, plugins: Mapping[str, Plugin], faces: gallery.FacesShown = "own", shown: Shown = ALL
) -> dict[str, Any]:
    """The content of the page.

    The page of a tuning shows the tuned settings first; ``settings`` has the content of each column of its table.

    Args:
        sweep: A sweep with at least one finished run, or a tuning with at least one complete trial.
        plugins: Methods by key, for their names and the surfaces of sample weights.
        faces: Which pictures may go into the page.
        shown: Which methods are shown, and in which order.

    Raises:
        SpecError: A name in ``shown`` is unknown, or no trial of a tuning is complete.
        ValueError: No run is finished.
    """
    general = {
        "sweep": sweep.name,
        "command": sweep.content.get("command", ""),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "version": _version(),
        "unfinished": sweep.unfinished(),
        "selections": [asdict(selection) for selection in SELECTIONS.values()],
        "false_alarms": [rounded(100 * rate, 3) for rate in FALSE_ALARMS],
        "palette": {"light": palette.LIGHT, "dark": palette.DARK},
    }
    if not sweep.tuning:
        return general | _of_runs(arranged(sweep, plugins, shown), plugins, faces)
    columns = tuning.columns(sweep, plugins, shown)
    parts = {column: _of_runs(runs, plugins, faces) for column, runs in columns.items()}
    tuned = parts[tuning.FIRST]
    settings = [{"key": key, "about": tuning.ABOUT[key], "part": part} for key, part in parts.items()]
    gaps = tuning.gaps(sweep, columns[tuning.FIRST])
    return general | tuned | {"settings": settings, "setting": tuning.FIRST, "tuning": gaps}


def _of_runs(runs: Runs, plugins: Mapping[str, Plugin], faces: gallery.FacesShown) -> dict[str, Any]:
    """What the page shows of arranged runs."""
    known = groups(runs)
    data, table = draws(runs), comparison(runs)
    galleries, pictures, withheld = gallery.galleries(runs, faces)
    place = standing(runs, known)
    return {
        "caption": table.caption,
        "notes": list(table.below),
        **{name: getattr(runs, name) for name in ("wrong", "correct")},
        "is": clean_label_verb(runs.frame["labels"]),
        **{f"one_{name}": singular(getattr(runs, name)) for name in ("wrong", "correct")},
        "metrics": summary.metrics(runs.wrong),
        "rows": _rows(runs, known),
        "answer": answer(place) if place else None,
        "metric": place.metric.name if place else "overall",
        "legend": list(table.legend),
        "conditions": _conditions(runs),
        "runs": [describe(run, runs.rows, runs.conditions) for run in runs.frame.to_dict("records")],
        "folders": any(record.folder.path.exists() for record in runs.frame["record"]),
        "table": summary.table(runs),
        "ranks": ranks.diagrams(runs),
        "labels": labels.describe(data, runs.conditions),
        "surfaces": weight_surfaces.surfaces(runs, plugins),
        "galleries": galleries,
        "pictures": pictures,
        "withheld": withheld,
    }


def arranged(sweep: Sweep, plugins: Mapping[str, Plugin], shown: Shown = ALL) -> Runs:
    """The runs of a sweep, or those of the tuned settings. Arguments and errors as for :func:`collect`."""
    if sweep.tuning:
        return tuning.columns(sweep, plugins, shown)[tuning.FIRST]
    return shown.arrange(sweep.records(), sweep.classes, plugins, View())


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
