"""The splits of a run: which images it trains on, selects by and tests on, with which labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.spec import RunSpec
from fer_bench.data import imbalance as long_tail
from fer_bench.data import stratified
from fer_bench.data.dataset import Dataset, SplitSource
from fer_bench.data.groups import whole_groups
from fer_bench.data.noise.apply import corrupt
from fer_bench.data.noise.summary import summary


@dataclass(frozen=True)
class Splits:
    """Rows of a :class:`Dataset` and their labels; arrays are int64.

    Attributes:
        train: Rows of the training images.
        noisy_label: Their labels, which methods are trained on.
        clean_label: Their reference labels, for measurements only.
        val: Rows of the validation images.
        val_label: Their labels, which models are selected by.
        test: Rows of the test images.
        test_label: Their labels, for measurements only.
        noise: Realised rate, confusion, counts and purity: :func:`fer_bench.data.noise.summary.summary`.
        errors_known: Whether it is known which training labels are wrong: the data set has reference labels, or
            noise was injected into its own. Otherwise nothing may be said about wrong and right labels.
        held_out: Images that were taken from the training split for validation.
        source: Where the test split comes from.
    """

    train: np.ndarray
    noisy_label: np.ndarray
    clean_label: np.ndarray
    val: np.ndarray
    val_label: np.ndarray
    test: np.ndarray
    test_label: np.ndarray
    noise: dict[str, Any]
    errors_known: bool = True
    held_out: int = 0
    source: SplitSource = "official"

    @property
    def sizes(self) -> dict[str, Any]:
        """Images of each split, how many were held out, and ``source``; ready for JSON."""
        counts = {name: len(getattr(self, name)) for name in ("train", "val", "test")}
        return {**counts, "held_out": self.held_out, "source": self.source}


def make_splits(dataset: Dataset, spec: RunSpec, noise_file: Path | None = None) -> Splits:
    """Makes the splits that a specification asks for: hold-out, part, imbalance (on clean labels), then noise.

    Test images stay as they are. Where there is no official validation split, or the specification asks for held-out
    images, a part of the training images becomes the validation split, with the same noise as the rest. The images of
    an official split are then not used.

    Args:
        dataset: The data set.
        spec: Data seed, validation, held_out, train_size, imbalance and noise are used.
        noise_file: The file that the kind of noise reads, if it reads one.

    Raises:
        ValueError: The noise is not for these classes.
        DataError: A class has no training image, a split is empty, or the noise file does not fit.
    """
    seed, label, ids = spec.data_seed, dataset.label, dataset.ids
    parts = _divided(dataset, spec)
    train, val = parts.train, parts.val
    if spec.train_size is not None:
        if spec.train_size > len(train):
            raise DataError(_too_few(dataset, spec.train_size, parts))
        train = train[stratified.stratified_part(label[train], ids[train], spec.train_size, seed)]
    if spec.imbalance.factor > 1:
        kept = long_tail.keep(
            label[train], ids[train], kind=spec.imbalance.kind, factor=spec.imbalance.factor, seed=seed
        )
        train = train[kept]
    _require_classes(dataset, train)
    noisy_label = corrupt(dataset, train, spec.noise, seed, noise_file)
    errors_known = dataset.label_source == "reference" or bool((noisy_label != label[train]).any())
    return Splits(
        train=train,
        noisy_label=noisy_label,
        clean_label=label[train],
        val=val,
        val_label=corrupt(dataset, val, spec.noise, seed, noise_file) if parts.held_out else label[val],
        test=parts.test,
        test_label=label[parts.test],
        noise=summary(label[train], noisy_label, len(dataset.classes), errors_known),
        errors_known=errors_known,
        held_out=parts.held_out,
        source=dataset.split_source,
    )


def describe_sizes(sizes: Sequence[Mapping[str, Any]]) -> str:
    """What the splits of some runs hold, from :attr:`Splits.sizes` of each: a part of a sentence."""
    validation = "no validation"
    if any(each["val"] for each in sizes):
        validation = f"{_count(sizes, 'val')} validation"
    if any(each["held_out"] for each in sizes):
        validation += " (held out of training)"
    derived = {each["source"] for each in sizes} - {"official"}
    test = f"{_count(sizes, 'test')} test images" + (f" ({' or '.join(sorted(derived))})" if derived else "")
    return f"{_count(sizes, 'train')} training, {validation} and {test}"


def short_sizes(sizes: Sequence[Mapping[str, Any]]) -> str:
    """The same in few words, for captions: "2,500 training, 500 held-out validation and 1,000 test images"."""
    held = "held-out " if any(each["held_out"] for each in sizes) else ""
    derived = "derived " if any(each["source"] != "official" for each in sizes) else ""
    validation = f", {_count(sizes, 'val')} {held}validation" if any(each["val"] for each in sizes) else ""
    return f"{_count(sizes, 'train')} training{validation} and {_count(sizes, 'test')} {derived}test images"


def _count(sizes: Sequence[Mapping[str, Any]], name: str) -> str:
    low, high = (f"{bound(each[name] for each in sizes):,}" for bound in (min, max))
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class _Parts:
    """Rows of the splits before any image is left out; ``held_out`` of them went from train to val."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    held_out: int = 0


def _divided(dataset: Dataset, spec: RunSpec) -> _Parts:
    """The splits of the data set, with the validation split that the spec asks for."""
    train, val, test = (np.flatnonzero(dataset.split == name) for name in ("train", "val", "test"))
    if not len(train) or not len(test):
        empty = "train" if not len(train) else "test"
        raise DataError(f"data set {dataset.name} has no images in its {empty} split")
    if spec.validation == "none":
        return _Parts(train, val[:0], test)
    if len(val) and spec.validation == "official":
        return _Parts(train, val, test)
    share = spec.held_out if spec.held_out < 1 else spec.held_out / len(train)
    if share >= 1:
        raise DataError(f"{spec.held_out:g} images to hold out: {dataset.name} has {len(train)} training images")
    label, ids = dataset.label[train], dataset.ids[train]
    if dataset.group is None:
        held = stratified.holdout(label, ids, share, spec.data_seed)
    else:
        held = whole_groups(label, dataset.group[train], share, "holdout", spec.data_seed)
    return _Parts(train[~held], train[held], test, int(held.sum()))


def _too_few(dataset: Dataset, size: int, parts: _Parts) -> str:
    left, held = len(parts.train), parts.held_out
    if not held:
        return f"train_size = {size}: {dataset.name} has {left} training images"
    return (
        f"train_size = {size}: {dataset.name} has {left} of its {left + held} training images left; {held} are held "
        "out for validation (--val none holds out nothing)"
    )


def _require_classes(dataset: Dataset, train: np.ndarray) -> None:
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.name} has one class only, {', '.join(dataset.classes)}: there is nothing to classify"
        )
    counts = np.bincount(dataset.label[train], minlength=len(dataset.classes))
    missing = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if missing:
        found = ", ".join(f"{name} {count}" for name, count in zip(dataset.classes, counts, strict=True))
        raise DataError(f"no training image of {', '.join(missing)} in {dataset.name} (found: {found})")
