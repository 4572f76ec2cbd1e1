"""What the page holds of each run: measures, curves, detection of wrong labels, cost, and where it ran."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.report.html.rounding import percent, rounded
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import MEASURES, SELECTIONS, select

COST = ("seconds", "parameters", "images_forward", "images_backward", "skipped_steps")

FALSE_ALARMS = np.linspace(0, 1, 61) ** 2
"""False positive rates at which every ROC curve is read off, denser towards 0; one grid, so that curves have a mean."""


def describe(run: Mapping[str, Any], rows: Mapping[str, int], conditions: Mapping[str, int]) -> dict[str, Any]:
    """One run of the arranged frame as plain values; accuracies in per cent. ``row`` and ``condition`` are numbers."""
    folder = RunFolder(Path(run["path"]))
    epochs, final = folder.epochs(), folder.final or {}
    return {
        "key": run["key"],
        "row": rows[run["row"]],
        "condition": conditions[run["condition"]],
        "seed": int(run["seed"]),
        "data_seed": int(run["data_seed"]),
        "measures": {key: _measures(epochs, key) for key in SELECTIONS},
        "memorised": percent(final["memorisation"]["memorised"]),
        "auroc": percent(final["detection"]["auroc"]),
        "ap": percent(final["detection"]["ap"]),
        "cost": {name: rounded(final[name], 1) for name in COST},
        "curves": _curves(epochs),
        "roc": roc(folder),
        "spec": folder.spec,
        "env": environment(folder),
        "scored_by": final.get("detection_by", ""),
    }


def _measures(epochs: list[dict[str, Any]], selection: str) -> dict[str, Any] | None:
    found = select(epochs, selection)
    if found is None:
        return None
    return {
        **{name: percent(found.test[name]) for name in MEASURES if name != "nll"},
        "nll": rounded(found.test["nll"], 4),
        "recall": [percent(value) for value in found.test["recall"]],
        "confusion": found.test["confusion"],
        "epoch": list(found.epochs),
    }


def _curves(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """After each epoch, in per cent: test accuracies, and how the training images are fitted."""
    return {
        **{name: [percent(record["test"][name]) for record in epochs] for name in ("overall", "mean")},
        **{
            name: [percent(record["train_fit"][name]) for record in epochs]
            for name in ("memorised", "fit_noisy", "fit_clean")
        },
    }


def roc(folder: RunFolder) -> list[float] | None:
    """Share of wrong labels found (per cent) at FALSE_ALARMS, suspicion = low clean score. None without both kinds."""
    import torch
    from torchmetrics.functional.classification import binary_roc

    stored = folder.scores()
    if not {"clean_score", "noisy_label", "clean_label"} <= stored.keys():
        return None
    wrong = torch.from_numpy(stored["noisy_label"] != stored["clean_label"])
    if not wrong.any() or wrong.all():
        return None
    # ranks in [0, 1]: outside it torchmetrics applies a sigmoid, which ties large scores
    rank = torch.unique(-torch.from_numpy(stored["clean_score"]).double(), return_inverse=True)[1].double()
    false_alarms, found, _ = binary_roc(rank / max(float(rank.max()), 1.0), wrong.long())
    return [rounded(value, 2) for value in 100 * np.interp(FALSE_ALARMS, false_alarms.numpy(), found.numpy())]


def environment(folder: RunFolder) -> dict[str, Any]:
    try:
        return json.loads((folder.path / "env.json").read_text())
    except (OSError, ValueError):
        return {}
