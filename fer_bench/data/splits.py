"""From a data set and a spec to one training problem: which images, which labels, which of them are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.spec import RunSpec
from fer_bench.data import imbalance as long_tail
from fer_bench.data import stratified
from fer_bench.data.dataset import Dataset
from fer_bench.data.noise.apply import corrupt
from fer_bench.data.noise.summary import summary

HOLD_OUT = 0.1
"""Share of the training images that becomes the validation split where a data set has none, or none is used."""


@dataclass(frozen=True)
class Splits:
    """Rows (int64) of a :class:`Dataset` and their labels (int64).

    Methods are trained on ``noisy_label``, and models are selected by ``val_label``. ``clean_label`` and ``test_label``
    serve measurements only.
    """

    train: np.ndarray
    noisy_label: np.ndarray
    clean_label: np.ndarray
    val: np.ndarray
    val_label: np.ndarray
    test: np.ndarray
    test_label: np.ndarray
    noise: dict[str, Any]
    """Realised rate, confusion, counts and purity: ``fer_bench.data.noise.apply.summary``."""


def make_splits(dataset: Dataset, spec: RunSpec, noise_file: Path | None = None) -> Splits:
    """Realises the spec on the data: hold-out, part, imbalance (on clean labels), then noise. Test images stay.

    Where there is no official validation split, or the spec asks for held-out images, validation is carved from train
    and gets the same noise as the rest. The images of an official split are then not used. DataError where a class has
    no training image or there is no test split.
    """
    seed = spec.data_seed
    train, val, test = (np.flatnonzero(dataset.split == name) for name in ("train", "val", "test"))
    if not len(train) or not len(test):
        empty = "train" if not len(train) else "test"
        raise DataError(f"data set {dataset.name} has no images in its {empty} split")
    label, ids = dataset.label, dataset.ids
    carved = not len(val) or spec.validation == "held-out"
    if carved:
        held = stratified.holdout(label[train], ids[train], HOLD_OUT, seed)
        train, val = train[~held], train[held]
    if spec.train_size is not None:
        if spec.train_size > len(train):
            raise DataError(f"train_size = {spec.train_size}: {dataset.name} has {len(train)} training images")
        train = train[stratified.stratified_part(label[train], ids[train], spec.train_size, seed)]
    if spec.imbalance.factor > 1:
        kept = long_tail.keep(
            label[train], ids[train], kind=spec.imbalance.kind, factor=spec.imbalance.factor, seed=seed
        )
        train = train[kept]
    _require_classes(dataset, train)
    noisy_label = corrupt(dataset, train, spec.noise, seed, noise_file)
    return Splits(
        train=train,
        noisy_label=noisy_label,
        clean_label=label[train],
        val=val,
        val_label=corrupt(dataset, val, spec.noise, seed, noise_file) if carved else label[val],
        test=test,
        test_label=label[test],
        noise=summary(label[train], noisy_label, len(dataset.classes)),
    )


def _require_classes(dataset: Dataset, train: np.ndarray) -> None:
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.name} has one class only, {', '.join(dataset.classes)}: there is nothing to tell apart"
        )
    counts = np.bincount(dataset.label[train], minlength=len(dataset.classes))
    missing = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if missing:
        found = ", ".join(f"{name} {count}" for name, count in zip(dataset.classes, counts, strict=True))
        raise DataError(f"no training image of {', '.join(missing)} in {dataset.name} (found: {found})")
