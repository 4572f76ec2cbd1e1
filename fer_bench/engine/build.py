"""Builds the method of a run: what it is told of the problem, and its networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_bench.core.seeds import derive
from fer_bench.core.spec import Recipe, RunSpec
from fer_bench.data.splits import Splits
from fer_bench.data.stratified import stratified_part
from fer_bench.engine.batches import BatchSource
from fer_bench.engine.counters import CostCounter
from fer_bench.engine.isolation import seed_everything
from fer_bench.engine.job import TrainingJob
from fer_bench.method import Method, Needs, Task
from fer_bench.models.networks import MakeOwn, make_network
from fer_bench.models.precision import Precision


def build_method(job: TrainingJob, splits: Splits, needs: Needs, cost: CostCounter, source: BatchSource) -> Method:
    """The method of a run that is to be trained. SpecError as for :func:`make_method`.

    What goes through its networks is counted by ``cost``, and what they answer in training by ``source.fit``.
    """

    def watch(net: nn.Module) -> None:
        cost.attach(net)
        source.fit.attach(net)

    given, task = job.resources, make_task(job, splits, needs)
    build = partial(make_method, weights=given.weights, own=given.own_backbone, images=source.spread)
    return build(job.spec, job.method_class, job.config, task, given.device, watch=watch, count=cost.count)


def make_method(
    spec: RunSpec,
    method_class: type[Method],
    config: Any,
    task: Task,
    device: torch.device,
    *,
    weights: Path | None = None,
    own: MakeOwn | None = None,
    trained: bool = False,
    images: Callable[[], Tensor] | None = None,
    watch: Callable[[nn.Module], None] = lambda net: None,
    count: Callable[[Tensor], None] = lambda images: None,
) -> Method:
    """A method on a device, with networks that depend on the run's seed and its weights alone.

    Args:
        spec: The run.
        method_class: Its method.
        config: The method's Config.
        task: What the method is told.
        device: The device.
        weights: File of pre-trained weights, where the recipe names one.
        own: Makes the networks, where the recipe names a function of the user.
        trained: Whether a trained state will be loaded, so that no initial weights are needed.
        images: Makes training images for weights that need them, as for ``make_network``.
        watch: Called with each network.
        count: Called with the images that enter a compiled network.

    Raises:
        SpecError: Pre-trained weights cannot be had, or networks cannot be compiled here.
    """
    recipe = spec.recipe
    precision = Precision(recipe, device, count)

    def make_net(role: str) -> Any:
        net = make_network(
            recipe.backbone,
            task.num_classes,
            seed=spec.seed,
            role=role,
            pretrained=recipe.pretrained,
            weights=weights,
            trained=trained,
            images=images,
            own=own,
        )
        watch(net)
        precision.adapt(net)
        return net

    seed_everything(derive(spec.seed, "method"))
    method = method_class(config, task)
    method.build(make_net)
    method.to(device)
    precision.active = True
    return method


def make_task(job: TrainingJob, splits: Splits, needs: Needs) -> Task:
    """What the method is told: the noise rate and clean labels only as far as it needs them."""
    rate = splits.noise["realised_rate"] if needs.noise_rate else None
    trusted = _trusted_rows(job, splits, needs)
    labels = (torch.from_numpy(values.copy()) for values in (splits.noisy_label, splits.clean_label))
    return task_of(job.spec.recipe, len(job.dataset.classes), *labels, noise_rate=rate, trusted=trusted)


def task_of(
    recipe: Recipe,
    classes: int,
    noisy_label: Tensor,
    clean_label: Tensor,
    *,
    noise_rate: float | None,
    trusted: Tensor | None,
) -> Task:
    """A task from the labels of the training images, int64 [N]. The others are fields of :class:`Task`."""
    return Task(
        num_classes=classes,
        num_samples=len(noisy_label),
        class_counts=torch.bincount(noisy_label, minlength=classes),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        noise_rate=noise_rate,
        trusted=trusted,
        trusted_label=None if trusted is None else clean_label[trusted],
        pretrained=bool(recipe.pretrained),
        labels=noisy_label,
    )


def _trusted_rows(job: TrainingJob, splits: Splits, needs: Needs) -> Tensor | None:
    """Rows of the training set whose clean labels the method is told: some of each noisy class."""
    if not needs.trusted:
        return None
    size = max(round(needs.trusted * len(splits.train)), len(job.dataset.classes))
    chosen = stratified_part(splits.noisy_label, job.dataset.ids[splits.train], size, job.spec.data_seed)
    return torch.from_numpy(np.flatnonzero(chosen))
