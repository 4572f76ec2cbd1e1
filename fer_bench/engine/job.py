"""What one training run is made from, where it finds its inputs, and the progress that it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fer_bench.core.spec import RunSpec
from fer_bench.data.dataset import Dataset
from fer_bench.method import Method
from fer_bench.models.networks import MakeOwn
from fer_bench.store.folder import RunFolder


@dataclass(frozen=True)
class Resources:
    """Where a run finds its inputs. Nothing here can change a number, so nothing here is part of the run's key."""

    device: torch.device
    weights: Path | None = None
    """File of the pre-trained weights that the recipe names."""
    noise_file: Path | None = None
    """File of noisy labels, where the noise comes from a file."""
    unlabelled: Dataset | None = None
    """Images of the unlabelled stream; None = the training images with their labels hidden."""
    first_stage_run: RunFolder | None = None
    """A finished run, stored with its networks, whose training is the first stage of this one."""
    own_backbone: MakeOwn | None = None
    """Makes the networks where the recipe names a function of the user."""
    keep_networks: bool = False
    """Whether the trained networks are stored beside the results."""


@dataclass(frozen=True)
class ProgressEvent:
    """How far a run is."""

    epoch: int
    """Finished epochs."""
    epochs: int
    """All epochs of the run, extra stages included."""
    step: int
    """Finished steps of the current epoch; 0 right after an epoch."""
    steps: int
    """Steps of the current epoch."""
    images_per_second: float
    """Training images per second of wall time, without evaluation."""
    loss: float | None = None
    """Mean training loss of the current epoch so far; None where the method logs no "loss"."""
    overall: float | None = None
    """Test accuracy after the last finished epoch, in [0, 1]; None before it."""


def ignore_progress(event: ProgressEvent) -> None:
    """The default ``on_progress``."""


def never() -> bool:
    """The default ``stopping``."""
    return False


@dataclass(frozen=True)
class TrainingJob:
    """One run to train: ``spec`` on ``dataset`` with ``method_class(config, ...)``; results go to ``folder``.

    The caller holds the claim of ``folder``.
    """

    spec: RunSpec
    dataset: Dataset
    method_class: type[Method]
    config: Any
    """The method's ``Config``, as ``spec.config`` holds it in plain values."""
    folder: RunFolder
    resources: Resources
    on_progress: Callable[[ProgressEvent], None] = ignore_progress
    """Called about twice a second and after each epoch."""
    stopping: Callable[[], bool] = never
    """Asked before each training step; the run ends with :class:`Interrupted` when it answers True."""


class Interrupted(Exception):
    """Training was asked to stop; the folder holds everything up to the last finished epoch."""
