"""A run for measuring: a method on random faces, without a sweep around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.data.dataset import Dataset
from fer_bench.engine.job import Resources, TrainingJob, never
from fer_bench.plugins.registry import describe_config, discover
from fer_bench.store.folder import RunFolder


def make_job(
    method: str,
    recipe: Recipe,
    faces: Dataset,
    folder: Path,
    stopping: Callable[[], bool] = never,
    device: str = "cpu",
    settings: Mapping[str, Any] | None = None,
) -> TrainingJob:
    """A run of a built-in method with 40 % of wrong labels, whose results go to ``folder``."""
    plugin = discover()[method]
    config = plugin.configure(faces.name, "symmetric 0.4", settings or {})
    spec = RunSpec(
        *(faces.name, faces.fingerprint, method, plugin.code, describe_config(config)),
        **{"noise": Noise("symmetric", 0.4), "recipe": recipe},
    )
    resources = Resources(torch.device(device))
    return TrainingJob(spec, faces, plugin.load(), config, RunFolder(folder), resources, stopping=stopping)
