"""Instance-dependent label noise: part-dependent, and the images that a clean model finds hardest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer_bench.core.seeds import pick, uniform_by_id
from fer_bench.core.spec import Noise
from fer_bench.data.dataset import Dataset
from fer_bench.data.stratified import nearest_count

PTD_SIZE = 32
"""Part-dependent noise sees images of this side length, in grey."""

PTD_SD = 0.1
"""Standard deviation of the per-image flip rate before truncation to [0, 1] (the official code's norm_std)."""

PTD_SCALE = 2.0
"""Standard deviation of the projections (the softmax's inverse temperature), as images have norm 1. The official code
has |x| = sqrt(number of pixel values) in its place, 390 for a face of 224 x 224, which makes the wrong class a function
of the image. At 2 the likeliest wrong class of a FER2013 face has a mean probability of 0.60."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Grey from RGB, ITU-R BT.601."""


def ptd_rates(rate: float, uniform: np.ndarray) -> np.ndarray:
    """Draws flip rates of images from a truncated normal distribution, scaled so that its mean is exactly ``rate``.

    Truncation to [0, 1] moves the mean towards 1/2 (0.1 becomes 0.129 in the official code). Scaling the distance from
    the nearer end moves it back without leaving [0, 1].

    Args:
        rate: Mean, in [0, 1].
        uniform: [N], one uniform number for each image.

    Returns:
        float64 [N].
    """
    drawn, mean = truncated(rate).ppf(uniform), truncated(rate).mean()
    return drawn * (rate / mean) if rate <= 0.5 else 1 - (1 - drawn) * ((1 - rate) / (1 - mean))


def truncated(rate: float, sd: float = PTD_SD) -> Any:
    """The normal distribution N(rate, sd) truncated to [0, 1], as a frozen SciPy distribution."""
    from scipy.stats import truncnorm  # slow to import, as is all of SciPy, and only this kind of noise needs it

    return truncnorm(-rate / sd, (1 - rate) / sd, loc=rate, scale=sd)


def ptd_probabilities(x: np.ndarray, labels: np.ndarray, projection: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Probabilities of each noisy label: q_i softmax(x_i W_{y_i}) over the other classes, 1 - q_i for y_i itself.

    Source: Xia et al., "Part-dependent Label Noise", NeurIPS 2020; tools.get_instance_noisy_label of
    xiaoboxia/Part-dependent-label-noise.

    Args:
        x: [N, S], the images.
        labels: [N] int64, clean labels y.
        projection: W [C, S, C].
        q: [N], flip rates.

    Returns:
        float64 [N, C]; rows sum to 1.
    """
    from scipy.special import softmax

    result = np.empty((len(x), projection.shape[2]))
    for label in range(len(projection)):
        rows = np.flatnonzero(labels == label)
        score = x[rows] @ projection[label]
        score[:, label] = -np.inf
        result[rows] = q[rows, None] * softmax(score, axis=1)
    result[np.arange(len(x)), labels] = 1 - q
    return result


def part_dependent(dataset: Dataset, rows: np.ndarray, noise: Noise, seed: int) -> np.ndarray:
    """Flips image i with probability q_i, to a class drawn by its projections.

    In exact mode the samples with the smallest u_i / q_i are flipped (order sampling), which keeps their chances
    proportional to q_i. The q_i move with the rate, so this kind is nested only in tendency.

    Args:
        dataset: The data set; its pixels are read at PTD_SIZE.
        rows: [n] int64, the images.
        noise: Rate and mode.
        seed: The noise seed.

    Returns:
        Noisy labels, [n] int64.
    """
    labels, ids = dataset.label[rows], dataset.ids[rows]
    q = ptd_rates(noise.rate, uniform_by_id(seed, "noise ptd rate", ids)[:, 0])
    projection = _projection(seed, len(dataset.classes))
    chances = ptd_probabilities(_grey(dataset, rows), labels, projection, np.ones(len(labels)))
    whether, whither = uniform_by_id(seed, "noise", ids, 2).T
    if noise.mode == "bernoulli":
        flip = whether < q
    else:
        flip = np.zeros(len(labels), dtype=bool)
        order = np.lexsort((np.asarray(ids), whether / np.maximum(q, 1e-300)))
        flip[order[: nearest_count(noise.rate, len(labels))]] = True
    return np.where(flip, pick(chances, whither, labels), labels)


def _projection(seed: int, classes: int) -> np.ndarray:
    """W [C, S, C] float64, normal with standard deviation PTD_SCALE; every entry is named, like all draws here."""
    from scipy.special import ndtri

    shape = (classes, PTD_SIZE**2, classes)
    uniform = uniform_by_id(seed, "noise ptd projection", [str(k) for k in range(int(np.prod(shape)))])
    # a uniform of exactly 0 would be an infinite entry
    return PTD_SCALE * ndtri(np.maximum(uniform, 2.0**-54)).reshape(shape)


def _grey(dataset: Dataset, rows: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """Every image in grey, mean 0 and norm 1 (0 if it is one flat colour): float64 [n, PTD_SIZE ** 2]."""
    pixels = dataset.pixels(PTD_SIZE)
    parts = []
    for start in range(0, len(rows), chunk):
        images = pixels[rows[start : start + chunk]]
        grey = np.tensordot(np.asarray(images, dtype=np.float64), LUMA, axes=([1], [0])).reshape(len(images), -1)
        grey -= grey.mean(1, keepdims=True)
        length = np.linalg.norm(grey, axis=1, keepdims=True)
        parts.append(grey / np.where(length > 1e-6, length, np.inf))
    return np.concatenate(parts) if parts else np.zeros((0, PTD_SIZE**2))


def hardest(labels: np.ndarray, ids: np.ndarray, probabilities: np.ndarray, rate: float) -> np.ndarray:
    """Flips the round(rate * N) samples of highest max_{j != y} S_ij to that class j, without randomness.

    Source: Chen et al., "Beyond Class-Conditional Assumption", AAAI 2021.

    Args:
        labels: [N] int64, clean labels y.
        ids: [N] str; they decide between samples that are equally hard.
        probabilities: S [N, C], softmax outputs of a network trained on clean labels, averaged over its epochs.
        rate: Share of the samples to flip.

    Returns:
        int64 [N].
    """
    others = np.array(probabilities, dtype=np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    order = np.lexsort((np.asarray(ids), -others.max(1, initial=-np.inf)))
    flip = order[: nearest_count(rate, len(labels))]
    noisy = labels.copy()
    noisy[flip] = others[flip].argmax(1)
    return noisy
