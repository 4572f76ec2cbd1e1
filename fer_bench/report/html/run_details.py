"""What the page holds of each run: test measures, curves, detection of wrong labels, settings and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fer_bench.report.html.rounding import percent, rounded
from fer_bench.store.model_selection import MEASURES, SELECTIONS, select
from fer_bench.store.records import Record

FALSE_ALARMS = np.linspace(0, 1, 61) ** 2
"""False positive rates at which every ROC curve is read off, denser towards 0: one grid, so that curves have a mean."""


def describe(run: Mapping[str, Any], rows: Sequence[str], conditions: Sequence[str]) -> dict[str, Any]:
    """One run of the arranged frame as plain values, shares in per cent; ``row`` and ``condition`` are numbers."""
    record: Record = run["record"]
    final = record.final
    return {
        "key": record.key,
        "row": rows.index(run["row"]),
        "condition": conditions.index(run["condition"]),
        "seed": int(run["seed"]),
        "data_seed": int(run["data_seed"]),
        "measures": {key: _measures(record, key) for key in SELECTIONS},
        "memorised": percent(final["memorisation"]["memorised"]),
        "auroc": percent(final["detection"]["auroc"]),
        "seconds": rounded(final["seconds"], 1),
        "curves": _curves(record.epochs),
        "roc": roc(record),
        "spec": record.spec,
        "env": record.environment,
        "scored_by": final.get("detection_by", ""),
    }


def _measures(record: Record, selection: str) -> dict[str, Any] | None:
    found = select(record.epochs, selection)
    if found is None:
        return None
    test = found.test
    return {
        **{name: percent(test[name]) for name in MEASURES if name != "nll"},
        "nll": rounded(test["nll"], 4),
        "recall": [percent(value) for value in test["recall"]] if "recall" in test else None,
        "confusion": test.get("confusion"),
        "epoch": list(found.epochs),
    }


def _curves(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """After each epoch, in per cent: test accuracies, and how the training images are fitted."""
    return {
        **{name: [percent(epoch["test"][name]) for epoch in epochs] for name in ("overall", "mean")},
        **{
            name: [percent(epoch["train_fit"][name]) for epoch in epochs]
            for name in ("memorised", "fit_noisy", "fit_clean")
        },
    }


def roc(record: Record) -> list[float] | None:
    """Share of wrong labels found, per cent, at FALSE_ALARMS; a low clean score is a suspicion.

    None without scores, or unless there are both wrong and correct labels.
    """
    from sklearn.metrics import roc_curve

    stored = record.scores()
    if not {"clean_score", "noisy_label", "clean_label"} <= stored.keys():
        return None
    wrong = stored["noisy_label"] != stored["clean_label"]
    if not wrong.any() or wrong.all():
        return None
    false_alarms, found, _ = roc_curve(wrong, -stored["clean_score"].astype(np.float64))
    return [rounded(value, 2) for value in 100 * np.interp(FALSE_ALARMS, false_alarms, found)]
