"""Surfaces of sample weights, for methods that weight a sample by two probabilities.

These are the probability of its label and the highest probability of another class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fer_bench.core.errors import PluginError, SpecError
from fer_bench.method import Method
from fer_bench.plugins.registry import Plugin
from fer_bench.report.arrange import Runs
from fer_bench.report.html.rounding import rounded
from fer_bench.store.records import Record

GRID = 61
"""Points of a surface along each axis."""

EPOCHS = 8
"""Most epochs of a surface."""

SAMPLES = 400
"""Most training samples of an epoch."""


def surfaces(runs: Runs, plugins: Mapping[str, Plugin]) -> list[dict[str, Any]]:
    """The surface of the first run of each row and condition whose method has a ``sample_weight``.

    Args:
        runs: Arranged runs.
        plugins: Methods by key.

    Returns:
        One entry for each surface. ``same`` is the number of the first entry with the same weights; only that one has
        the ``grids``.
    """
    found: list[dict[str, Any]] = []
    drawn: dict[tuple[str, str, int], int] = {}
    for run in runs.frame.drop_duplicates(["row", "condition"]).to_dict("records"):
        record, plugin = run["record"], plugins.get(run["method"])
        surface = _surface(record, plugin) if plugin else None
        if surface is None:
            continue
        same = drawn.setdefault((run["method"], run["config"], int(run["epochs"])), len(found))
        if same < len(found):
            surface["grids"] = None
        where = {"row": runs.rows.index(run["row"]), "condition": runs.conditions.index(run["condition"])}
        found.append({**where, "seed": int(run["seed"]), "same": same, **surface})
    return found


def _surface(record: Record, plugin: Plugin) -> dict[str, Any] | None:
    """Weights and samples at some epochs; None for a method without weights of this kind."""
    try:
        method, config = plugin.load(), plugin.restore_config(record.spec["config"])
    except (PluginError, SpecError):
        return None  # the method has changed since: its runs are shown, the surface is not
    epochs = int(record.spec["recipe"]["epochs"])
    if method.sample_weight(config, 0, epochs) is None:
        return None
    samples = _samples(record, epochs)
    chosen = sorted({round(place) for place in np.linspace(0, epochs - 1, min(EPOCHS, epochs))})
    return {
        "same_code": record.spec["code"] == plugin.code,
        "epochs": [epoch + 1 for epoch in chosen],
        "grids": [_grid(method, config, epoch, epochs) for epoch in chosen],
        "samples": [samples.get(epoch) for epoch in chosen],
    }


def _grid(method: type[Method], config: Any, epoch: int, epochs: int) -> list[list[float | None]] | None:
    """Weights [GRID][GRID], rows p_other and columns p_label from 0 to 1; None where their sum exceeds 1."""
    weight = method.sample_weight(config, epoch, epochs)
    if weight is None:
        return None
    axis = torch.linspace(0, 1, GRID)
    other, label = torch.meshgrid(axis, axis, indexing="ij")
    values = torch.where(label + other <= 1 + 1e-6, weight(label, other), torch.nan)
    return [[rounded(value, 4) for value in row] for row in values.tolist()]


def _samples(record: Record, epochs: int) -> dict[int, dict[str, Any]]:
    """By epoch, from 0: probabilities of training samples, and whether their label is wrong.

    They come from the probe (logits [E, P, C] of positions ``rows`` [P] in the training set) for every epoch, else from
    the ``train_logits`` [N, C] of the scores for the last one. Empty if the run has neither.
    """
    stored = record.scores()
    if not {"noisy_label", "clean_label"} <= stored.keys():
        return {}
    labels, wrong = stored["noisy_label"], stored["noisy_label"] != stored["clean_label"]
    if probe := record.probe():
        rows, logits = probe["rows"][:SAMPLES], probe["logits"][:, :SAMPLES]
        return {epoch: _points(each, labels[rows], wrong[rows]) for epoch, each in enumerate(logits[:epochs])}
    if "train_logits" in stored:
        rows = np.arange(len(labels))[:: max(1, len(labels) // SAMPLES)][:SAMPLES]
        return {epochs - 1: _points(stored["train_logits"][rows], labels[rows], wrong[rows])}
    return {}


def _points(logits: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Probability of the label and of the best other class, from logits [n, C] and labels [n]."""
    probabilities = torch.from_numpy(logits.astype(np.float32)).softmax(1)
    index = torch.from_numpy(labels)[:, None]
    label = probabilities.gather(1, index).squeeze(1)
    other = probabilities.scatter(1, index, -1).max(1).values
    return {
        "label": [rounded(value, 3) for value in label.tolist()],
        "other": [rounded(value, 3) for value in other.tolist()],
        "wrong": wrong.astype(int).tolist(),
    }
