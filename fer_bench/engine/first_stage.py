"""The first stage of a run, taken from the finished run of another method that it repeats number for number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fer_bench.engine.stages import StageSpan
from fer_bench.method import Method
from fer_bench.store.folder import RunFolder
from fer_bench.store.label_scores import FIT


@dataclass(frozen=True)
class FirstStage:
    """What the other run hands over.

    Attributes:
        networks: State of its method, by name.
        records: Its epochs, under the name of the stage that they now are.
        probe_logits: float32 [P, C] after each epoch.
        fit: State of its :class:`fer_bench.engine.training_fit.TrainingFit`; None if it did not keep it.
    """

    networks: dict[str, Any]
    records: list[dict[str, Any]]
    probe_logits: list[Tensor]
    fit: dict[str, Tensor] | None


def read_first_stage(folder: RunFolder, span: StageSpan, method: Method) -> FirstStage | None:
    """The first stage from a finished run, or None where the run is not finished or has not kept its networks.

    ValueError where the run has other networks than ``method``, or another number of epochs than the stage.
    """
    model = folder.model()
    if model is None:
        return None
    networks = dict(model.state)
    name, absent = span.stage.name, set(networks) - set(method.state_dict())
    if absent:
        raise ValueError(f"the stage {name!r} has no {', '.join(sorted(absent))}, which {folder.path} trained")
    records = [{**record, "stage": name} for record in folder.epochs()]
    if len(records) != span.epochs:
        raise ValueError(f"the stage {name!r} has {span.epochs} epochs, and {folder.path} {len(records)}")
    scores = folder.scores()
    fit = {name: torch.from_numpy(scores[name]) for name in FIT} if set(FIT) <= scores.keys() else None
    return FirstStage(networks, records, list(torch.from_numpy(folder.probe()["logits"]).float()), fit)
