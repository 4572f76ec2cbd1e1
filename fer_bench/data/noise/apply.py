"""Label noise: a pure function of clean labels, image ids, the setting and a noise seed.

Whether an image gets a wrong label and which one are two uniform numbers that belong to its id
(:func:`fer_bench.core.seeds.uniform_by_id`). The noise is therefore the same for any file order and any training seed,
and the images that are wrong at 10 % are wrong at 20 %, with the same wrong label, for every kind that has a transition
matrix. Test labels are never looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.seeds import pick, uniform_by_id
from fer_bench.core.spec import Noise
from fer_bench.data.dataset import Dataset
from fer_bench.data.noise.files import read_matrix, read_probabilities, require_listed
from fer_bench.data.noise.instance import hardest, part_dependent
from fer_bench.data.noise.kinds import KINDS, check
from fer_bench.data.noise.lists import read_list
from fer_bench.data.noise.transition import off_diagonal, transition_matrix, weights
from fer_bench.data.stratified import nearest_count, stratified_queue


def corrupt(dataset: Dataset, rows: np.ndarray, noise: Noise, seed: int = 0, file: Path | None = None) -> np.ndarray:
    """Makes the noisy labels of some images of a data set.

    Args:
        dataset: The data set; ``votes``, ``human`` and pixels are used by the kinds that need them.
        rows: [n] int64, the images.
        noise: The setting; its ``file`` is not read.
        seed: The noise seed, the same for all methods and training seeds.
        file: What the kinds that need a file read.

    Returns:
        [n] int64.

    Raises:
        ValueError: The setting is out of range.
        DataError: The data set or the file does not have what the kind needs.
    """
    check(noise.kind, noise.rate, noise.mode)
    # checked before rate 0 returns, so that a sweep over rates fails at its first condition and not at its second
    _require_needs(dataset, noise.kind, file)
    labels, ids, classes = dataset.label[rows], dataset.ids[rows], dataset.classes
    if noise.kind == "none" or (KINDS[noise.kind].rate and noise.rate == 0):
        return labels.copy()
    if noise.kind == "human":
        return _human(dataset, rows)
    if noise.kind == "votes":
        return _vote(dataset, rows, seed)
    if noise.kind == "instance":
        return part_dependent(dataset, rows, noise, seed)
    if noise.kind == "file":
        assert file is not None
        return _listed(dataset, rows, file)
    if noise.kind == "instance-hard":
        assert file is not None
        among = (dataset.ids, dataset.ids[dataset.rows("train")])
        return hardest(labels, ids, read_probabilities(file, ids, classes, among), noise.rate)
    counts = np.bincount(labels, minlength=len(classes))
    matrix = read_matrix(file, classes) if noise.kind == "confusion" and file is not None else None
    transition = transition_matrix(noise.kind, noise.rate, classes, counts=counts, matrix=matrix)
    target = off_diagonal(weights(noise.kind, classes, counts=counts, matrix=matrix))
    whether, whither = uniform_by_id(seed, "noise", ids, 2).T
    flip = _flipped(labels, 1 - np.diag(transition), whether, noise.mode)
    return np.where(flip, pick(target[labels], whither, labels), labels)


def _require_needs(dataset: Dataset, kind: str, file: Path | None) -> None:
    available = {"votes": dataset.votes, "human": dataset.human, "file": file}
    need = KINDS[kind].needs
    if need in available and available[need] is None:
        raise DataError(f"noise kind {kind!r} needs {need}, and there is none: {KINDS[kind].about}")


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


def _human(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """The second human label, where there is one."""
    assert dataset.human is not None
    labels, human, classes = dataset.label[rows], dataset.human[rows], len(dataset.classes)
    if human.min(initial=0) < -1 or human.max(initial=0) >= classes:
        raise DataError(f"human labels must be [{len(labels)}] with values from -1 (none) to {classes - 1}")
    return np.where(human < 0, labels, human).astype(np.int64)


def _vote(dataset: Dataset, rows: np.ndarray, seed: int) -> np.ndarray:
    """The vote of one annotator; an image without votes keeps its label."""
    assert dataset.votes is not None
    votes = dataset.votes
    if votes.shape != (len(dataset), len(dataset.classes)) or votes.min(initial=0) < 0:
        raise DataError(f"votes must be counts [{len(dataset)}, {len(dataset.classes)}], got {votes.shape}")
    return pick(votes[rows], uniform_by_id(seed, "noise", dataset.ids[rows], 2)[:, 1], dataset.label[rows])


def _listed(dataset: Dataset, rows: np.ndarray, file: Path) -> np.ndarray:
    """The labels of a list, which is read and judged for all training images of the data set."""
    found = read_list(file, dataset)
    require_listed(file, dataset.ids[rows], found.label[rows] >= 0, found.example)
    return found.label[rows]
