"""Weight surfaces: methods that weigh a sample by the probabilities of its label and of the best other class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fer_bench.core.errors import PluginError, SpecError
from fer_bench.method import Method
from fer_bench.plugins.registry import Plugin
from fer_bench.report.html.rounding import rounded
from fer_bench.store.folder import RunFolder

GRID = 61
"""Points of a surface along each axis; (p_label, p_other) with a sum above 1 do not occur."""

EPOCHS = 8

SAMPLES = 400


def surfaces(
    frame: pd.DataFrame, rows: list[str], conditions: list[str], plugins: Mapping[str, Plugin]
) -> list[dict[str, Any]]:
    """The first run of each row and condition whose method has a ``sample_weight``; empty where none has.

    ``same`` is the number of an earlier entry with the same weights, whose grids are not repeated.
    """
    found: list[dict[str, Any]] = []
    drawn: dict[tuple[str, str, int], int] = {}
    for run in frame.drop_duplicates(["row", "condition"]).to_dict("records"):
        folder = RunFolder(Path(run["path"]))
        plugin = plugins.get(run["method"])
        spec = folder.spec or {}
        if plugin is None or not spec:
            continue
        try:
            method, config = plugin.load(), plugin.restore_config(spec["config"])
        except (PluginError, SpecError):
            continue  # a plugin that no longer fits its runs: the runs are shown, the surface is not
        epochs = int(spec["recipe"]["epochs"])
        if method.sample_weight(config, 0, epochs) is None:
            continue
        samples = _samples(folder, epochs)
        same = drawn.setdefault((run["method"], run["config"], epochs), len(found))
        chosen = sorted({round(place) for place in np.linspace(0, epochs - 1, min(EPOCHS, epochs))})
        found.append(
            {
                "row": rows.index(run["row"]),
                "condition": conditions.index(run["condition"]),
                "seed": int(run["seed"]),
                "same_code": spec.get("code") == plugin.code,
                "same": same,
                "epochs": [epoch + 1 for epoch in chosen],
                "grids": None if same < len(found) else [_grid(method, config, epoch, epochs) for epoch in chosen],
                "samples": [samples.get(epoch) for epoch in chosen],
            }
        )
    return found


def _grid(method: type[Method], config: Any, epoch: int, epochs: int) -> list[list[float | None]] | None:
    """[GRID][GRID], rows p_other and columns p_label from 0 to 1; None where the two exceed 1 together."""
    weight = method.sample_weight(config, epoch, epochs)
    if weight is None:
        return None
    axis = torch.linspace(0, 1, GRID)
    other, label = torch.meshgrid(axis, axis, indexing="ij")
    values = torch.where(label + other <= 1 + 1e-6, weight(label, other), torch.nan)
    return [[rounded(value, 4) for value in row] for row in values.tolist()]


def _samples(folder: RunFolder, epochs: int) -> dict[int, dict[str, Any]]:
    """By epoch (0-based): ``label`` and ``other`` probabilities of training samples, and whether the label is wrong.

    From ``probe.npz`` (logits [E, P, C] of positions ``rows`` [P] in the training set) for every epoch, else from the
    ``train_logits`` [N, C] of ``scores.npz`` for the last one, else empty.
    """
    stored = folder.scores()
    if not {"noisy_label", "clean_label"} <= stored.keys():
        return {}
    given, wrong = stored["noisy_label"], stored["noisy_label"] != stored["clean_label"]
    if probe := folder.probe():
        rows, logits = probe["rows"][:SAMPLES], probe["logits"][:, :SAMPLES]
        return {epoch: _points(each, given[rows], wrong[rows]) for epoch, each in enumerate(logits[:epochs])}
    if "train_logits" in stored:
        rows = np.arange(len(given))[:: max(1, len(given) // SAMPLES)][:SAMPLES]
        return {epochs - 1: _points(stored["train_logits"][rows], given[rows], wrong[rows])}
    return {}


def _points(logits: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    probabilities = torch.from_numpy(logits.astype(np.float32)).softmax(1)
    labels = torch.from_numpy(given)[:, None]
    label = probabilities.gather(1, labels).squeeze(1)
    other = probabilities.scatter(1, labels, -1).max(1).values
    return {
        "label": [rounded(value, 3) for value in label.tolist()],
        "other": [rounded(value, 3) for value in other.tolist()],
        "wrong": wrong.astype(int).tolist(),
    }
