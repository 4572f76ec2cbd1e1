"""Runs of the small problem of ``Bench`` that are trained with resources of their own."""

from __future__ import annotations

from typing import Any

from fer_bench.engine.trainer import train
from fer_bench.plugins.registry import Plugin
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import Bench


def train_with(
    bench: Bench, plugin: Plugin, name: str, epochs: int = 2, settings: dict[str, Any] | None = None, **resources: Any
) -> RunFolder:
    """The folder of a run that was trained through the engine. ``settings`` are of the method's Config."""
    spec = bench.spec(plugin, epochs=epochs, settings=settings or {})
    folder = RunFolder.of(bench.folder / name, spec)  # a run is damaged in a folder that is not called by its key
    with folder.claim():
        folder.start(spec, {})
        train(bench.job(plugin, spec, folder, **resources))
    return folder
