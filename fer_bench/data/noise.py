"""Label noise: a pure function of clean labels, image ids, the setting and a noise seed.

Whether an image is flipped and where to are two uniform numbers that belong to its id (``seeds.uniform_by_id``). Noise
is therefore the same for any file order and any training seed, and the images that are wrong at 10 % are wrong at 20 %,
with the same wrong label, for every kind that has a transition matrix. Nothing here may look at test labels.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fer_bench.data.imbalance import imbalance_factor, nearest_count, stratified_queue
from fer_bench.data.manifest import DataError
from fer_bench.seeds import uniform_by_id
from fer_bench.spec import nearest

log = logging.getLogger(__name__)

Pixels = Callable[[np.ndarray, int], np.ndarray]
"""Decoded images of these rows (int64 [n]) at this size: uint8 [n, 3, size, size], RGB."""


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

SIMILAR = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "happiness": "neutral",
    "sadness": "neutral",
    "surprise": "anger",
    "neutral": "sadness",
}
"""LA-Net (Wu and Cui, ICCV 2023), dataloader.py::_add_class_dependent_noise. Nothing becomes fear or happiness, so
this noise raises the imbalance where symmetric noise lowers it."""

RAF_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's labels 1 to 7: the order in which EAC's and SCN's label lists count."""

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


# --- class-conditional kinds ---------------------------------------------------------------------------------------


def transition_matrix(
    kind: str,
    rate: float,
    classes: Sequence[str] | int,
    *,
    counts: np.ndarray | None = None,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """T [C, C] float64, T_ij = probability that a sample of class i is given label j; rows sum to 1.

    T_ij = (1 - r) [i = j] + r K_ij / sum_{k != i} K_ik for weights K of the kind (see :func:`weights`). The one
    exception is symmetric-inclusive, T = (1 - r) I + r / C, which is symmetric noise of rate r (C - 1) / C. A class
    with nowhere to go (all its weights 0) keeps its labels.

    classes   class names, or their number for kinds that do not go by names
    counts    [C] clean class counts, for "frequency"
    matrix    [C, C] confusion counts or probabilities, rows true, for "confusion"
    """
    _check_rate(kind, rate)
    target = _off_diagonal(weights(kind, classes, counts=counts, matrix=matrix))
    size = len(target)
    wrong = rate * (size - 1) / size if kind == "symmetric-inclusive" else rate
    # by any() and not by the sum, which rounding can put above 1: at rate 1 the diagonal would be negative
    return np.diag(1 - wrong * target.any(1)) + wrong * target


def weights(
    kind: str,
    classes: Sequence[str] | int,
    *,
    counts: np.ndarray | None = None,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """K [C, C] float64: where wrong labels of each class (row) go, up to a factor for each row; diagonal ignored."""
    size = classes if isinstance(classes, int) else len(classes)
    if kind in ("symmetric", "symmetric-inclusive"):
        return np.ones((size, size))
    if kind == "pair":
        return np.roll(np.eye(size), 1, axis=1)
    if kind == "class-dependent":
        return _similar(classes)
    if kind == "frequency":
        return np.tile(_array(counts, (size,), f"{kind} noise needs class counts"), (size, 1))
    if kind == "confusion":
        return _array(matrix, (size, size), f"{kind} noise needs a confusion matrix")
    raise ValueError(f"noise kind {kind!r} has no transition matrix")


def _similar(classes: Sequence[str] | int) -> np.ndarray:
    """LA-Net's map by name. A further class (contempt) is not in it: its labels stay, and nothing becomes it."""
    names = [] if isinstance(classes, int) else list(classes)
    missing = [name for name in SIMILAR if name not in names]
    if missing:
        raise ValueError(
            f"class-dependent noise goes by the names {', '.join(SIMILAR)}; this data set has no {', '.join(missing)} "
            f"(its classes: {', '.join(names) or classes})"
        )
    result = np.zeros((len(names), len(names)))
    for source, target in SIMILAR.items():
        result[names.index(source), names.index(target)] = 1
    return result


def _array(values: np.ndarray | None, shape: tuple[int, ...], message: str) -> np.ndarray:
    if values is None:
        raise ValueError(message)
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape or not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{message}: finite, non-negative, of shape {shape}; got shape {array.shape}")
    return array


def _off_diagonal(values: np.ndarray) -> np.ndarray:
    """Rows without their diagonal, summing to 1 (or 0 where nothing is left)."""
    target = values * (1 - np.eye(len(values)))
    total = target.sum(1, keepdims=True)
    return np.divide(target, total, out=np.zeros_like(target), where=total > 0)


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


def _check_rate(kind: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"rate = {rate} of {kind} noise is out of range: 0 to 1")


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


def _pick(chances: np.ndarray, uniform: np.ndarray, default: np.ndarray) -> np.ndarray:
    """A class for each row of ``chances`` [N, C] (any scale) by inversion; ``default`` where all are 0: int64 [N]."""
    cumulative = np.cumsum(chances, axis=1, dtype=np.float64)
    total = cumulative[:, -1:]
    # divided by its own last value the sum ends in exactly 1, so that no uniform number falls behind it
    cumulative = np.divide(cumulative, total, out=np.ones_like(cumulative), where=total > 0)
    return np.where(total[:, 0] > 0, (cumulative <= uniform[:, None]).sum(1), default)


# --- labels by people ----------------------------------------------------------------------------------------------


def _human(labels: np.ndarray, human: np.ndarray, classes: int) -> np.ndarray:
    if human.shape != labels.shape or human.min(initial=0) < -1 or human.max(initial=0) >= classes:
        raise DataError(f"human labels must be [{len(labels)}] with values from -1 (none) to {classes - 1}")
    return np.where(human < 0, labels, human).astype(np.int64)


def _vote(labels: np.ndarray, votes: np.ndarray, uniform: np.ndarray, classes: int) -> np.ndarray:
    if votes.shape != (len(labels), classes) or votes.min(initial=0) < 0:
        raise DataError(f"votes must be counts [{len(labels)}, {classes}], got {votes.shape}")
    return _pick(votes, uniform, labels)


# --- instance-dependent kinds --------------------------------------------------------------------------------------


def ptd_rates(rate: float, uniform: np.ndarray) -> np.ndarray:
    """Flip rate of each image: float64 [N], a truncated normal around ``rate`` scaled to have exactly this mean.

    Truncation to [0, 1] moves the mean towards 1/2 (0.1 becomes 0.129 in the official code); scaling the distance from
    the nearer end puts it back without leaving [0, 1].
    """
    drawn, mean = truncated(rate).ppf(uniform), truncated(rate).mean()
    return drawn * (rate / mean) if rate <= 0.5 else 1 - (1 - drawn) * ((1 - rate) / (1 - mean))


def truncated(rate: float, sd: float = PTD_SD) -> Any:
    """The normal distribution N(rate, sd) truncated to [0, 1], as a frozen SciPy distribution."""
    from scipy.stats import truncnorm  # slow to import, as is all of SciPy, and only this kind of noise needs it

    return truncnorm(-rate / sd, (1 - rate) / sd, loc=rate, scale=sd)


def ptd_probabilities(x: np.ndarray, labels: np.ndarray, projection: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Probability of each given label: float64 [N, C]; q_i softmax(x_i W_{y_i}) off the diagonal, 1 - q_i on it.

    Xia et al., "Part-dependent Label Noise", NeurIPS 2020; tools.get_instance_noisy_label of
    xiaoboxia/Part-dependent-label-noise. ``x`` [N, S]; ``projection`` W [C, S, C]; ``q`` [N] flip rates.
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


def _part_dependent(
    labels: np.ndarray,
    ids: np.ndarray,
    classes: int,
    rate: float,
    mode: str,
    seed: int,
    pixels: Pixels,
    whether: np.ndarray,
    whither: np.ndarray,
) -> np.ndarray:
    """Flips image i with probability q_i, to a class drawn by its projections.

    Exact: the samples with the smallest u_i / q_i (order sampling), which keeps their chances proportional to q_i. The
    q_i move with the rate, so this kind is nested only in tendency.
    """
    q = ptd_rates(rate, uniform_by_id(seed, "noise ptd rate", ids)[:, 0])
    chances = ptd_probabilities(_grey(pixels, len(labels)), labels, _projection(seed, classes), np.ones(len(labels)))
    if mode == "bernoulli":
        flip = whether < q
    else:
        flip = np.zeros(len(labels), dtype=bool)
        order = np.lexsort((np.asarray(ids), whether / np.maximum(q, 1e-300)))
        flip[order[: nearest_count(rate, len(labels))]] = True
    return np.where(flip, _pick(chances, whither, labels), labels)


def _projection(seed: int, classes: int) -> np.ndarray:
    """W [C, S, C] float64, normal with standard deviation PTD_SCALE; every entry is named, like all draws here."""
    from scipy.special import ndtri

    shape = (classes, PTD_SIZE**2, classes)
    uniform = uniform_by_id(seed, "noise ptd projection", [str(k) for k in range(int(np.prod(shape)))])
    # a uniform of exactly 0 would be an infinite entry
    return PTD_SCALE * ndtri(np.maximum(uniform, 2.0**-54)).reshape(shape)


def _grey(pixels: Pixels, total: int, chunk: int = 4096) -> np.ndarray:
    """Every image in grey, mean 0 and norm 1 (0 if it is one flat colour): float64 [N, PTD_SIZE ** 2]."""
    parts = []
    for start in range(0, total, chunk):
        images = pixels(np.arange(start, min(start + chunk, total)), PTD_SIZE)
        grey = np.tensordot(np.asarray(images, dtype=np.float64), LUMA, axes=([1], [0])).reshape(len(images), -1)
        grey -= grey.mean(1, keepdims=True)
        length = np.linalg.norm(grey, axis=1, keepdims=True)
        parts.append(grey / np.where(length > 1e-6, length, np.inf))
    return np.concatenate(parts) if parts else np.zeros((0, PTD_SIZE**2))


def hardest(labels: np.ndarray, ids: np.ndarray, probabilities: np.ndarray, rate: float) -> np.ndarray:
    """Flips the round(rate * N) samples of highest max_{j != y} S_ij to that class j: int64 [N]; no randomness.

    Chen et al., "Beyond Class-Conditional Assumption", AAAI 2021. ``probabilities`` S [N, C]: softmax outputs of a
    network trained on clean labels, averaged over its epochs.
    """
    others = np.array(probabilities, dtype=np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    order = np.lexsort((np.asarray(ids), -others.max(1, initial=-np.inf)))
    flip = order[: nearest_count(rate, len(labels))]
    noisy = labels.copy()
    noisy[flip] = others[flip].argmax(1)
    return noisy


# --- files ---------------------------------------------------------------------------------------------------------


def read_matrix(path: str | Path, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix from csv, in the order of ``classes``: float64 [C, C], rows true, columns given.

    The header names the classes in any order. Rows come in the header's order, or begin with their own class name; then
    the header has one cell more at its beginning.
    """
    header, *rows = _csv(path)
    named = len(rows) > 0 and len(header) == len(classes) + 1
    names = header[1:] if named else header
    if sorted(names) != sorted(classes):
        raise DataError(f"{path}: the header must name the classes {', '.join(classes)}; it has {', '.join(header)}")
    row_names = [row[0] for row in rows] if named else names
    if sorted(row_names) != sorted(classes) or len(rows) != len(classes):
        raise DataError(f"{path}: one row for each of {', '.join(classes)} is needed, found {len(rows)} rows")
    values = _numbers([row[1:] if named else row for row in rows], len(names), path)
    at = [row_names.index(name) for name in classes], [names.index(name) for name in classes]
    return values[np.ix_(*at)]


def read_probabilities(path: str | Path, ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Class probabilities of these images: float64 [N, C].

    From .npz with ``ids`` [M] and ``probabilities`` [M, C] in the data set's class order, or from csv with a header
    ``id,<class>,<class>,…``.
    """
    if Path(path).suffix == ".npz":
        names, values = _npz(path)
    else:
        header, *rows = _csv(path)
        if sorted(header[1:]) != sorted(classes):
            raise DataError(f"{path}: the header must be id,{','.join(classes)}; it is {','.join(header)}")
        names = [row[0] for row in rows]
        values = _numbers([row[1:] for row in rows], len(classes), path)[:, [header.index(c) - 1 for c in classes]]
    if values.shape != (len(names), len(classes)) or not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(f"{path}: probabilities must be finite, not negative and [{len(names)}, {len(classes)}]")
    return values[_match(names, ids, path)]


def read_labels(path: str | Path, ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels of these images from a list, one ``<image> <label> [<flag>]`` a line: int64 [N].

    EAC's raf-basic/EmoLabel/noise0?.txt count from 1, SCN's 0.?noise_train.txt from 0; which it is shows in the
    smallest and largest label of the file, and is logged. Numbers follow RAF-DB's order if the data set has RAF-DB's
    classes (in any order), else the data set's own; class names may stand in their place. The third column of NLA's
    lists (is it noise?) is not used. Images are matched by id, else by file name without folder, extension and
    ``_aligned``.
    """
    entries: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.split()
        if len(rest) not in (1, 2) or name in entries:
            fault = "the image is listed twice" if name in entries else "expected '<image> <label> [<flag>]'"
            raise DataError(f"{path}, line {number}: {fault}: {line.strip()[:80]!r}")
        entries[name] = rest[0]
    if not entries:
        raise DataError(f"{path} holds no labels")
    return _codes(list(entries.values()), classes, path)[_match(list(entries), ids, path)]


def _codes(words: list[str], classes: Sequence[str], path: str | Path) -> np.ndarray:
    """Class ids of label words: int64 [M]."""
    if all(word in classes for word in words):
        return np.array([list(classes).index(word) for word in words], dtype=np.int64)
    try:
        numbers = np.array([int(word) for word in words], dtype=np.int64)
    except ValueError:
        unknown = next(word for word in words if word not in classes)
        raise DataError(f"{path}: label {unknown!r} is neither a number nor one of {', '.join(classes)}") from None
    low, high, size = int(numbers.min()), int(numbers.max()), len(classes)
    base = {(True, False): 0, (False, True): 1}.get((low == 0 and high < size, low >= 1 and high == size))
    if base is None:
        raise DataError(
            f"{path}: labels run from {low} to {high}; {size} classes are counted from 0 to {size - 1} or from 1 to "
            f"{size}, with both ends in use. Class names in place of numbers always work."
        )
    log.info("%s: labels run from %d to %d, so they count from %d", path, low, high, base)
    order = RAF_ORDER if sorted(classes) == sorted(RAF_ORDER) else classes
    return np.array([list(classes).index(name) for name in order], dtype=np.int64)[numbers - base]


def _from_list(labels: np.ndarray, ids: np.ndarray, classes: Sequence[str], path: str) -> np.ndarray:
    given = read_labels(path, ids, classes)
    agree = float((given == labels).mean()) if len(labels) else 1.0
    if agree < 0.5:
        # a list in another class order agrees on a seventh; no published list is wrong in more than a third
        raise DataError(
            f"{path}: only {agree:.0%} of its labels are the reference labels: is it in another class order? "
            "Write class names in place of numbers, and leave at least half of the labels right."
        )
    return given


def _match(names: Sequence[str], ids: np.ndarray, path: str | Path) -> np.ndarray:
    """Row of each image in a file's list of names: int64 [N]; by the whole id, else by the bare file name."""
    whole = {name: row for row, name in enumerate(names)}
    if all(str(i) in whole for i in ids):
        return np.array([whole[str(i)] for i in ids], dtype=np.int64)
    bare = {_bare(name): row for row, name in enumerate(names)}
    wanted = [_bare(str(i)) for i in ids]
    if len(bare) < len(names) or len(set(wanted)) < len(wanted):
        raise DataError(f"{path}: file names repeat in different folders; list the images by their full ids")
    missing = [str(i) for i, name in zip(ids, wanted, strict=True) if name not in bare]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} training images are not in it, for example {', '.join(missing[:3])} "
            f"(the file has names such as {names[0]})"
        )
    return np.array([bare[name] for name in wanted], dtype=np.int64)


def _bare(name: str) -> str:
    """File name without folder, image extension and RAF-DB's ``_aligned``."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
    return (path.stem if known else path.name).removesuffix("_aligned")


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _csv(path: str | Path) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(_text(path).splitlines()) if row]
    if len(rows) < 2:
        raise DataError(f"{path}: expected a csv file with a header and rows")
    return rows


def _npz(path: str | Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path) as stored:
            return [str(name) for name in stored["ids"]], np.asarray(stored["probabilities"], dtype=np.float64)
    except Exception as error:  # numpy, zipfile and zlib have no common error for a damaged file
        raise DataError(f"{path}: expected an npz file with 'ids' and 'probabilities': {error}") from None


def _numbers(rows: list[list[str]], width: int, path: str | Path) -> np.ndarray:
    wanted = f"{path}: every row needs {width} finite numbers, none negative"
    for place, row in enumerate(rows, start=1):
        if len(row) != width:
            raise DataError(f"{wanted}; row {place} has {len(row)}")
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{wanted} ({error})") from None
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(wanted)
    return values


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

    n, realised_rate (share of wrong labels, 0 if there are none), confusion [C][C], true_counts [C],
    observed_counts [C], observed_imbalance (largest over smallest observed count, None if a class is empty),
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
        "true_counts": true.tolist(),
        "observed_counts": observed.tolist(),
        "observed_imbalance": imbalance_factor(observed),
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
