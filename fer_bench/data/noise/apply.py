"""Label noise: a pure function of clean labels, image ids, the setting and a noise seed.

Whether an image is flipped and where to are two uniform numbers that belong to its id (``seeds.uniform_by_id``). Noise
is therefore the same for any file order and any training seed, and the images that are wrong at 10 % are wrong at 20 %,
with the same wrong label, for every kind that has a transition matrix. Nothing here may look at test labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import DataError, nearest
from fer_bench.core.seeds import _pick, uniform_by_id
from fer_bench.data.imbalance import imbalance_factor
from fer_bench.data.noise.files import _from_list, read_matrix, read_probabilities
from fer_bench.data.noise.instance import Pixels, _part_dependent, hardest
from fer_bench.data.noise.transition import _check_rate, _off_diagonal, transition_matrix, weights
from fer_bench.data.stratified import nearest_count, stratified_queue


@dataclass(frozen=True)
class Kind:
    """One kind of label noise."""

    about: str
    rate: bool = True
    """Whether it takes a rate; the others have the rate that their data have."""
    needs: str = ""
    """What it cannot do without: "pixels", "votes", "human" or "file"."""


KINDS = {
    "none": Kind("labels as they are", rate=False),
    "symmetric": Kind("to any other class alike (the FER papers' noise: SCN, EAC, LA-Net, Co-teaching)"),
    "symmetric-inclusive": Kind("a new label from all classes, the true one included (DivideMix): wrong is r (C-1)/C"),
    "pair": Kind("to the next class in the data set's order (Co-teaching); rate below 0.5"),
    "class-dependent": Kind("to the one expression that resembles it most (LA-Net's map)"),
    "frequency": Kind("to other classes in proportion to their size (RoLT's 'imb')"),
    "confusion": Kind("to other classes as in a confusion matrix from a csv file", needs="file"),
    "instance": Kind("depending on the image: part-dependent noise, random projections of the pixels", needs="pixels"),
    "instance-hard": Kind(
        "the images that a clean-trained network finds hardest, to its favourite wrong class", needs="file"
    ),
    "human": Kind("a second human label of the same image (FER2013's own labels for FERPlus)", False, "human"),
    "votes": Kind("the vote of one annotator, drawn from all of an image's votes", False, "votes"),
    "file": Kind("labels from a list '<image> <label>', such as EAC's and SCN's for RAF-DB", False, "file"),
}

MODES = {
    "exact": "exactly round(rate * N) wrong labels, shared among the classes by their size",
    "bernoulli": "each label is wrong with probability rate, as in the published FER noise files",
}

# --- drawing -------------------------------------------------------------------------------------------------------


def corrupt(
    labels: np.ndarray,
    ids: np.ndarray,
    classes: Sequence[str],
    *,
    kind: str,
    rate: float = 0.0,
    mode: str = "exact",
    seed: int = 0,
    pixels: Pixels | None = None,
    votes: np.ndarray | None = None,
    human: np.ndarray | None = None,
    file: str | Path | None = None,
) -> np.ndarray:
    """Noisy labels: int64 [N].

    labels   [N] int64, clean; ids [N] str, unique
    kind     one of KINDS; rate in [0, 1], 0 for kinds that take none; mode one of MODES
    seed     the noise seed, the same for all methods and training seeds
    pixels   images of rows of ``labels``, for "instance"
    votes    [N, C] annotator counts, for "votes"; an image without votes keeps its label
    human    [N] int64, for "human"; -1 keeps the label
    file     for "confusion" (read_matrix), "instance-hard" (read_probabilities) and "file" (read_labels)

    Raises ValueError for a setting out of range, DataError where the data or the file do not have what is needed.
    """
    check(kind, rate, mode)
    labels = _checked(labels, ids, len(classes))
    # asked for before the short way out, so that a sweep over rates fails at its first cell and not at its second
    have = {"pixels": pixels, "votes": votes, "human": human, "file": file or None, "": kind}
    if have[KINDS[kind].needs] is None:
        raise DataError(f"noise kind {kind!r} needs {KINDS[kind].needs}, and there is none: {KINDS[kind].about}")
    if kind == "none" or (KINDS[kind].rate and rate == 0):
        return labels.copy()
    if kind == "human":
        return _human(labels, np.asarray(human), len(classes))
    if kind == "file":
        return _from_list(labels, ids, classes, str(file))
    if kind == "instance-hard":
        return hardest(labels, ids, read_probabilities(str(file), ids, classes), rate)
    whether, whither = uniform_by_id(seed, "noise", ids, 2).T
    if kind == "votes":
        return _vote(labels, np.asarray(votes), whither, len(classes))
    if kind == "instance":
        assert pixels is not None
        return _part_dependent(labels, ids, len(classes), rate, mode, seed, pixels, whether, whither)
    counts = np.bincount(labels, minlength=len(classes))
    matrix = read_matrix(str(file), classes) if kind == "confusion" else None
    transition = transition_matrix(kind, rate, classes, counts=counts, matrix=matrix)
    target = _off_diagonal(weights(kind, classes, counts=counts, matrix=matrix))
    flip = _flipped(labels, 1 - np.diag(transition), whether, mode)
    return np.where(flip, _pick(target[labels], whither, labels), labels)


def check(kind: str, rate: float, mode: str) -> None:
    """Raises ValueError, naming value and allowed range, for a setting that :func:`corrupt` would refuse."""
    if kind not in KINDS:
        raise ValueError(f"noise kind {kind!r} is unknown{nearest(kind, KINDS)}")
    if mode not in MODES:
        raise ValueError(f"noise mode {mode!r} is unknown{nearest(mode, MODES)}")
    _check_rate(kind, rate)
    if not KINDS[kind].rate and rate != 0:
        raise ValueError(f"noise kind {kind!r} takes no rate (its labels are what they are), got rate = {rate}")
    if kind == "pair" and rate >= 0.5:
        raise ValueError(f"rate = {rate} is out of range for pair noise: 0 to less than 0.5, else the wrong class wins")
    if kind == "instance-hard" and mode != "exact":
        raise ValueError(f"mode {mode!r} is not for instance-hard noise: it flips the hardest images, exactly rate * N")


def _flipped(labels: np.ndarray, wrong: np.ndarray, whether: np.ndarray, mode: str) -> np.ndarray:
    """Which samples get a wrong label: bool [N]; ``wrong`` [C] is each class's probability, one value or 0.

    Exact: the nearest count over all samples that can flip, from a stratified queue, so every class has its share up to
    rounding and a lower rate flips a subset.
    """
    if mode == "bernoulli":
        return whether < wrong[labels]
    able = np.flatnonzero(wrong[labels] > 0)
    flip = np.zeros(len(labels), dtype=bool)
    queue = stratified_queue(labels[able], whether[able])
    flip[able[queue[: nearest_count(float(wrong.max()), len(able))]]] = True
    return flip


# --- labels by people ----------------------------------------------------------------------------------------------


def _human(labels: np.ndarray, human: np.ndarray, classes: int) -> np.ndarray:
    if human.shape != labels.shape or human.min(initial=0) < -1 or human.max(initial=0) >= classes:
        raise DataError(f"human labels must be [{len(labels)}] with values from -1 (none) to {classes - 1}")
    return np.where(human < 0, labels, human).astype(np.int64)


def _vote(labels: np.ndarray, votes: np.ndarray, uniform: np.ndarray, classes: int) -> np.ndarray:
    if votes.shape != (len(labels), classes) or votes.min(initial=0) < 0:
        raise DataError(f"votes must be counts [{len(labels)}, {classes}], got {votes.shape}")
    return _pick(votes, uniform, labels)


# --- what the noise did ---------------------------------------------------------------------------------------------


def summary(true: np.ndarray, given: np.ndarray, num_classes: int) -> dict[str, Any]:
    """What noise did to labels [N] int64, ready for JSON; see :func:`describe`."""
    true, given = np.asarray(true, dtype=np.int64), np.asarray(given, dtype=np.int64)
    if true.shape != given.shape or true.ndim != 1:
        raise ValueError(f"true and given labels must have one shape [N], got {true.shape} and {given.shape}")
    pairs = np.bincount(true * num_classes + given, minlength=num_classes**2)
    return describe(pairs.reshape(num_classes, num_classes))


def describe(confusion: np.ndarray) -> dict[str, Any]:
    """The same from counts [C, C] (rows true, columns given), which may be expected ones: counts[:, None] * T.

    n, realised_rate (share of wrong labels, 0 if there are none), confusion [C][C], clean_counts [C],
    noisy_counts [C], noisy_imbalance (largest over smallest observed count, None if a class is empty),
    purity [C] (share of the samples labelled c that are c, None if there are none), flips [C] (wrong labels among
    samples that are c).
    """
    confusion = np.asarray(confusion)
    right, true, observed = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    total = confusion.sum()
    return {
        "n": total.item(),
        "realised_rate": float((total - right.sum()) / total) if total else 0.0,
        "confusion": confusion.tolist(),
        "clean_counts": true.tolist(),
        "noisy_counts": observed.tolist(),
        "noisy_imbalance": imbalance_factor(observed),
        "purity": [float(r / o) if o else None for r, o in zip(right, observed, strict=True)],
        "flips": (true - right).tolist(),
    }


def _checked(labels: np.ndarray, ids: np.ndarray, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (len(ids),) or len(set(map(str, ids))) != len(ids):
        raise ValueError(f"labels {labels.shape} and {len(ids)} ids: one unique id for each label is needed")
    if len(labels) and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must be integers from 0 to {classes - 1}")
    return labels.astype(np.int64)
