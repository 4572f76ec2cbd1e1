"""Builds the method of a run: what it is told of the problem, and its networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench.core.seeds import derive
from fer_bench.data.splits import Splits
from fer_bench.data.stratified import stratified_part
from fer_bench.engine.counters import CostCounter
from fer_bench.engine.isolation import seed_everything
from fer_bench.engine.job import TrainingJob
from fer_bench.engine.training_fit import TrainingFit
from fer_bench.method import Method, Needs, Task
from fer_bench.models.networks import make_network
from fer_bench.models.precision import Precision


def build_method(job: TrainingJob, splits: Splits, needs: Needs, cost: CostCounter, fit: TrainingFit) -> Method:
    """The method on the run's device, with networks that depend on the run's seed alone.

    What goes through the networks is counted by ``cost``, and what they answer in training by ``fit``.

    SpecError where pre-trained weights cannot be had, or networks cannot be compiled here.
    """
    spec, device = job.spec, job.resources.device
    precision = Precision(spec.recipe, device, cost.count)

    def make_net(role: str) -> Any:
        net = make_network(
            spec.recipe.backbone,
            len(job.dataset.classes),
            seed=spec.seed,
            role=role,
            pretrained=spec.recipe.pretrained,
            weights=job.resources.weights,
        )
        cost.attach(net)
        fit.attach(net)
        precision.adapt(net)
        return net

    seed_everything(derive(spec.seed, "method"))
    method = job.method_class(job.config, make_task(job, splits, needs))
    method.build(make_net)
    method.to(device)
    precision.active = True
    return method


def make_task(job: TrainingJob, splits: Splits, needs: Needs) -> Task:
    """What the method is told: the noise rate and clean labels only as far as it needs them."""
    recipe, classes = job.spec.recipe, len(job.dataset.classes)
    trusted = _trusted_rows(job, splits, needs)
    return Task(
        num_classes=classes,
        num_samples=len(splits.train),
        class_counts=torch.bincount(torch.from_numpy(splits.noisy_label), minlength=classes),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        noise_rate=splits.noise["realised_rate"] if needs.noise_rate else None,
        trusted=trusted,
        trusted_label=None if trusted is None else torch.from_numpy(splits.clean_label)[trusted],
        pretrained=bool(recipe.pretrained),
        labels=torch.from_numpy(splits.noisy_label.copy()),
    )


def _trusted_rows(job: TrainingJob, splits: Splits, needs: Needs) -> Tensor | None:
    """Rows of the training set whose clean labels the method is told: some of each noisy class."""
    if not needs.trusted:
        return None
    size = max(round(needs.trusted * len(splits.train)), len(job.dataset.classes))
    chosen = stratified_part(splits.noisy_label, job.dataset.ids[splits.train], size, job.spec.data_seed)
    return torch.from_numpy(np.flatnonzero(chosen))
