"""Batches of a training run: which images a step visits, their views and landmarks, and the unlabelled stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer_bench.core.seeds import torch_generator
from fer_bench.data.splits import Splits
from fer_bench.engine.augment import Views, gather, send
from fer_bench.engine.job import TrainingJob
from fer_bench.engine.resampling import Placement
from fer_bench.engine.training_fit import TrainingFit
from fer_bench.method import Batch, Images, Needs

PASS_BATCH = 256
"""Images per batch of a pass over the training set. Augmentations are drawn batch by batch and depend on it."""

MEASURED = 256
"""Images from which folded weights get the statistics of their batch normalisation."""

NO_ROWS = torch.empty(0, dtype=torch.int64)

Sampler = Callable[[Tensor, torch.Generator], Tensor | None]
"""``Method.epoch_indices``."""


class StepRows(NamedTuple):
    """The images of one training step."""

    labelled: Tensor
    """int64 [B], on the CPU: rows of the training set."""
    unlabelled: Tensor
    """int64 [U], on the CPU: rows of the unlabelled pool."""


@dataclass(frozen=True)
class ImagePool:
    """Some images of a data set: ``rows`` int64 [N] of ``pixels`` uint8 [M, 3, S, S], both on one device."""

    pixels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The images ``index`` int64 [B] of the pool: uint8 [B, 3, S, S]."""
        return gather(self.pixels, self.rows[send(index, self.pixels.device)])


class BatchSource:
    """Makes every batch of a run, from its data and from random streams that depend on the run's seed alone."""

    def __init__(self, job: TrainingJob, splits: Splits, needs: Needs) -> None:
        recipe, resources = job.spec.recipe, job.resources
        self.device, self.needs, self.num_classes = resources.device, needs, len(job.dataset.classes)
        self.views = Views(recipe, self.device)
        self.noisy_label = torch.from_numpy(splits.noisy_label).to(self.device)
        self.fit = TrainingFit(self.noisy_label, self.num_classes)
        self.training = _pool(job.dataset.pixels(recipe.image_size), splits.train, self.device)
        self.unlabelled = self.training
        if resources.unlabelled is not None:
            images = resources.unlabelled.pixels(recipe.image_size)
            self.unlabelled = _pool(images, np.arange(len(images)), self.device)
        self._seed, self._batch_size = job.spec.seed, recipe.batch_size
        self._landmarks: tuple[np.ndarray, np.ndarray] | None = None
        if needs.landmarks and job.dataset.landmarks is not None and job.dataset.landmarks_ok is not None:
            self._landmarks = job.dataset.landmarks[splits.train], job.dataset.landmarks_ok[splits.train]

    def epoch(self, epoch: int, sampler: Sampler) -> list[StepRows]:
        """The images of each step of an epoch (0-based).

        ``sampler`` returns the rows to visit, int64 in order, or None for a shuffle that is equal for all methods.
        ValueError where it returns anything else.
        """
        batches = split_batches(self._order(epoch, sampler), self._batch_size)
        counts = [round(self.needs.unlabelled * len(rows)) for rows in batches]
        stream = self._unlabelled_stream(epoch, sum(counts)).split(counts)
        return [StepRows(*parts) for parts in zip(batches, stream, strict=True)]

    def training_batch(self, rows: StepRows, epoch: int, step: int) -> Batch:
        """The batch of a training step."""
        self.fit.begin_step()
        return self._batch(rows, "augment", epoch, step)

    def training_set(self, epoch: int, step: int, pass_index: int) -> Iterator[Batch]:
        """The training set in order. Each pass within a step has another ``pass_index`` and other augmentations."""
        for part, rows in enumerate(torch.arange(len(self.training)).split(PASS_BATCH)):
            yield self._batch(StepRows(rows, NO_ROWS), "walk", epoch, step, pass_index, part)

    def spread(self) -> Tensor:
        """Up to MEASURED normalised images from all over the training set: float32 [n, 3, S, S] on the CPU."""
        count = len(self.training)
        rows = torch.arange(min(count, MEASURED)) * count // min(count, MEASURED)
        return self.views.plain(self.training[rows]).cpu()

    def chosen(self, rows: Tensor, epoch: int, step: int, pass_index: int) -> Batch:
        """The training images ``rows`` int64 [n]. Each call within a step has another ``pass_index``."""
        return self._batch(StepRows(rows.cpu(), NO_ROWS), "chosen", epoch, step, pass_index)

    def _order(self, epoch: int, sampler: Sampler) -> Tensor:
        rows = sampler(self.noisy_label.cpu(), torch_generator(self._seed, "order", epoch))
        count = len(self.training)
        if rows is None:
            return torch.randperm(count, generator=torch_generator(self._seed, "order", epoch))
        if rows.ndim != 1 or rows.dtype != torch.int64 or not len(rows) or rows.min() < 0 or rows.max() >= count:
            raise ValueError(
                f"epoch_indices() must be int64 rows in [0, {count}), got {rows.dtype} {tuple(rows.shape)}"
            )
        return rows

    def _unlabelled_stream(self, epoch: int, count: int) -> Tensor:
        """The unlabelled images of an epoch, int64 [count]: shuffles of the whole pool, one after the other."""
        size = len(self.unlabelled)
        shuffles = [
            torch.randperm(size, generator=torch_generator(self._seed, "unlabelled", epoch, turn))
            for turn in range(-(-count // size))
        ]
        return torch.cat([NO_ROWS, *shuffles])[:count]

    def _batch(self, rows: StepRows, *purpose: str | int) -> Batch:
        """A batch of the images ``rows``; ``purpose`` names the random streams of its augmentations."""
        make_view, placement = self.views.batch(self.training[rows.labelled], self._seed, *purpose)
        unlabelled = None
        if len(rows.unlabelled):
            images = self.unlabelled[rows.unlabelled]
            make_unlabelled, _ = self.views.batch(images, self._seed, "unlabelled", *purpose)
            unlabelled = Images(len(images), make_unlabelled, self.needs.views)
        index = send(rows.labelled, self.device)
        landmarks, found = self._landmarks_of(rows.labelled, placement)
        expect = self.fit.expect

        def make_expected(name: str) -> Tensor:
            view = make_view(name)
            expect(view, index)
            return view

        return Batch(index, self.noisy_label[index], make_expected, self.needs.views, landmarks, found, unlabelled)

    def _landmarks_of(self, rows: Tensor, placement: Placement) -> tuple[Tensor | None, Tensor | None]:
        """Landmarks in the frame of the view 'weak', float32 [B, L, 2], and whether there are any, bool [B]."""
        if self._landmarks is None:
            return None, None
        points, found = (send(torch.from_numpy(array[rows.numpy()]), self.device) for array in self._landmarks)
        return placement.points(points), found


def split_batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of ``size``. A last batch of one image joins the one before, because BatchNorm cannot train on it."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _pool(pixels: np.ndarray, rows: np.ndarray, device: torch.device) -> ImagePool:
    """Images on the device if at most half of its free memory holds them, else memory-mapped on the CPU."""
    images = torch.from_numpy(pixels)
    if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        images = images.to(device)
    return ImagePool(images, torch.from_numpy(rows).to(images.device))
