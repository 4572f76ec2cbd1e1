"""``synthetic``: the embedded data set, faces drawn from parameters. No download, the same pixels on every machine.

A face is an identity (shape, colours, hair, glasses, beard), a picture of it (pose, light, blur, occlusion) and an
expression: a mixture of two of the seven basic expressions, with an intensity. The mixture *is* the true label
distribution, and its largest share is the label; what is drawn are the mixture's facial action units. Weak and blended
expressions are ambiguous by construction, mostly between the classes that people confuse too (fear/surprise,
disgust/anger, sadness/neutral).

Every number comes from a random stream that is named by the image or the identity, so an image does not depend on how
many others there are, nor on the chunk it is rendered in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.seeds import numpy_rng
from fer_bench.data.dataset import SPLITS, Manifest
from fer_bench.data.synthetic.geometry import AUS, geometry, landmarks
from fer_bench.data.synthetic.render import draw

GENERATOR_VERSION = 1
"""Raise it with every change that moves a pixel, a label or a landmark; it is part of every digest."""

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")

SIZES = (32, 224)

COUNTS = {
    "synthetic": {"train": 3000, "val": 300, "test": 1000},
    "synthetic-tuning": {"train": 4000, "test": 1000},
}
"""Images per split; classes are balanced to within one image. ``synthetic-tuning`` has no validation split: with 1,300
of its training images held out, as many are left as ``synthetic`` has after its own hold-out."""

POPULATIONS = {"synthetic": 0, "synthetic-natural": 0, "synthetic-tuning": 1}
"""Which population the faces of each variant are drawn from. Settings that were tuned on one are tested on another."""

NATURAL_COUNTS = {
    "train": (2524, 4772, 1290, 1982, 705, 717, 281),
    "test": (680, 1185, 329, 478, 162, 160, 74),
}
"""Images per class, in the order of CLASSES, of ``synthetic-natural``: those of RAF-DB (basic), Li et al. 2017."""

IMAGES_PER_IDENTITY = 14

# --- expressions ----------------------------------------------------------------------------------------------------

EXPRESSIONS: dict[str, dict[int, float]] = {
    "neutral": {},
    "happiness": {6: 0.8, 12: 1.0, 25: 0.6},
    "surprise": {1: 0.9, 2: 0.9, 5: 0.7, 25: 0.6, 26: 0.9},
    "sadness": {1: 0.9, 4: 0.5, 15: 0.9, 17: 0.5},
    "anger": {4: 1.0, 5: 0.3, 7: 0.8, 10: 0.2, 17: 0.3, 23: 0.9},
    "disgust": {4: 0.5, 7: 0.4, 9: 0.9, 10: 0.8, 17: 0.3, 25: 0.2},
    "fear": {1: 0.9, 2: 0.5, 4: 0.5, 5: 0.9, 7: 0.2, 20: 0.8, 25: 0.6, 26: 0.5},
}
"""Action units of the prototypes and their intensity (0 to 1).

The units are those of the EMFACS prototypes (Ekman & Friesen 1978; Friesen & Ekman 1983: happiness 6+12, surprise
1+2+5+26, sadness 1+4+15, anger 4+5+7+23, disgust 9+15/10, fear 1+2+4+5+7+20+26) and their listed variants (mouth open
25, chin 17, upper lip 10 with anger). The intensities are this generator's choice.
"""

PARTNERS: dict[str, dict[str, float]] = {
    "neutral": {"sadness": 0.55, "anger": 0.15, "happiness": 0.1, "disgust": 0.1, "surprise": 0.05, "fear": 0.05},
    "happiness": {"surprise": 0.5, "disgust": 0.2, "anger": 0.1, "fear": 0.1, "sadness": 0.1},
    "surprise": {"fear": 0.75, "happiness": 0.2, "sadness": 0.05},
    "sadness": {"fear": 0.35, "anger": 0.25, "disgust": 0.25, "happiness": 0.15},
    "anger": {"disgust": 0.7, "sadness": 0.15, "fear": 0.1, "happiness": 0.05},
    "disgust": {"anger": 0.75, "sadness": 0.1, "happiness": 0.1, "fear": 0.05},
    "fear": {"surprise": 0.75, "sadness": 0.2, "anger": 0.05},
}
"""How often an expression blends with another: mostly with the one that people take it for."""

INTENSITY: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.46),
    "happiness": (0.58, 1.0),
    "surprise": (0.6, 1.0),
    "sadness": (0.53, 1.0),
    "anger": (0.58, 1.0),
    "disgust": (0.58, 1.0),
    "fear": (0.6, 1.0),
}
"""Range of the share of the mixture that is not neutral; above a half for every class but neutral."""

MAX_BLEND = 0.495
"""The largest share of the second expression within the expressive part."""

# --- parameters -----------------------------------------------------------------------------------------------------

IDENTITY: dict[str, tuple[float, float]] = {
    "head_w": (0.64, 0.82), "head_h": (0.92, 1.04), "taper": (0.08, 0.32), "ear": (0.06, 0.11),
    "eye_x": (0.29, 0.36), "eye_y": (-0.12, -0.06), "eye_w": (0.13, 0.17), "eye_open": (0.058, 0.088),
    "eye_slant": (-0.016, 0.016), "iris": (0.0, 1.0), "lashes": (0.0, 1.0),
    "brow_gap": (0.195, 0.23), "brow_thick": (0.018, 0.048), "brow_len": (0.15, 0.195), "brow_arch": (0.0, 0.045),
    "brow_tilt": (-0.015, 0.015), "nose_y": (0.22, 0.31), "nose_w": (0.08, 0.14),
    "mouth_y": (0.51, 0.56), "mouth_w": (0.23, 0.31), "mouth_rest": (-0.014, 0.014), "lip_up": (0.022, 0.055),
    "lip_low": (0.03, 0.065), "lipstick": (-0.6, 1.0), "skin": (0.0, 0.7), "ruddy": (0.0, 1.0), "blush": (0.0, 1.0),
    "age": (0.0, 1.0), "hair": (0.0, 1.0), "grey": (0.0, 1.0), "hair_line": (-0.8, -0.62), "hair_round": (0.1, 0.7),
    "hair_long": (0.0, 1.0), "hair_volume": (0.04, 0.22), "parting": (-0.35, 0.35), "strands": (5.0, 16.0),
    "bald": (0.0, 1.0), "beard": (0.0, 1.0), "glasses": (0.0, 1.0), "lens": (0.11, 0.18), "lens_round": (0.3, 0.95),
    "rim_r": (0.05, 0.5), "rim_g": (0.05, 0.35), "rim_b": (0.05, 0.35), "expressive": (0.9, 1.15),
}  # fmt: skip
"""What stays the same in all pictures of a person: ranges of uniform draws, lengths in face units."""

IMAGE: dict[str, tuple[float, float]] = {
    "roll": (-0.045, 0.045), "yaw": (-1.0, 1.0), "pitch": (-1.0, 1.0), "scale": (0.9, 0.97),
    "shift_x": (-0.025, 0.025), "shift_y": (-0.1, -0.05), "gaze_x": (-0.035, 0.035), "gaze_y": (-0.012, 0.012),
    "skew": (-0.03, 0.03), "light_x": (-0.5, 0.5), "light_y": (-0.6, 0.35), "ambient": (0.6, 0.95),
    "contrast": (0.9, 1.2), "exposure": (0.42, 0.6), "cast_r": (0.85, 1.12), "cast_g": (0.88, 1.08),
    "cast_b": (0.82, 1.12), "blur": (0.0, 0.16), "noise": (0.0, 0.04),
    "back_r": (0.1, 0.9), "back_g": (0.1, 0.9), "back_b": (0.1, 0.9), "wall_r": (0.1, 0.9), "wall_g": (0.1, 0.9),
    "wall_b": (0.1, 0.9), "spot_r": (0.1, 0.9), "spot_g": (0.1, 0.9), "spot_b": (0.1, 0.9), "spot_x": (-1.6, 1.6),
    "spot_y": (-1.6, 1.0), "spot_size": (0.3, 1.0), "back_dx": (-1.0, 1.0), "back_dy": (-1.0, 1.0),
    "stripes": (0.5, 6.0), "stripe_depth": (0.0, 0.7), "shoulder": (0.9, 1.4), "cloth_r": (0.0, 0.9),
    "cloth_g": (0.0, 0.9), "cloth_b": (0.0, 0.9), "cover": (0.0, 1.0), "cover_x": (-0.7, 0.7), "cover_y": (-0.6, 0.9),
    "cover_w": (0.12, 0.4), "cover_h": (0.12, 0.4), "cover_lean": (-0.5, 0.5), "cover_r": (0.1, 1.0),
    "cover_g": (0.1, 1.0), "cover_b": (0.1, 1.0),
}  # fmt: skip
"""What changes from picture to picture."""

AU_GAIN = (1.05, 1.45)
"""Range of the factor on each action unit of a picture: people do not show the whole prototype."""

AU_STRAY = 0.1
"""Largest intensity of an action unit that belongs to no expression (talking, squinting, habit)."""


@dataclass(frozen=True)
class FaceParameters:
    """The parameters of N faces.

    Attributes:
        values: float32 [N] for each name in IDENTITY and IMAGE.
        aus: [N, len(AUS)] float32, intensities of the action units as drawn.
        distribution: [N, 7] float32, the mixture of expressions; rows sum to 1.
        label: [N] int64, its argmax.
        identity: [N] str, which person it is.
    """

    values: Mapping[str, np.ndarray]
    aus: np.ndarray
    distribution: np.ndarray
    label: np.ndarray
    identity: np.ndarray

    def landmarks(self) -> np.ndarray:
        """19 points, float32 [N, 19, 2]; see :func:`fer_bench.data.synthetic.geometry.landmarks` for the order."""
        return landmarks(self.values, geometry(self.values, self.aus))


def prototypes() -> np.ndarray:
    """EXPRESSIONS as an array, float64 [7, len(AUS)]."""
    return np.array([[EXPRESSIONS[name].get(unit, 0.0) for unit in AUS] for name in CLASSES])


def mixture(label: int, intensity: float, partner: float, blend: float) -> np.ndarray:
    """Mixes a label with neutral and with a partner expression.

    Args:
        label: The class with the largest share.
        intensity: Uniform draw in [0, 1) of the share that is not neutral.
        partner: Uniform draw of the partner.
        blend: Uniform draw of the partner's share.

    Returns:
        float64 [7], the shares of the classes.
    """
    low, high = INTENSITY[CLASSES[label]]
    strength = low + (high - low) * intensity
    weights = PARTNERS[CLASSES[label]]
    edge, other = 0.0, label
    for name, weight in weights.items():
        edge, other = edge + weight, CLASSES.index(name)
        if partner < edge:
            break
    shares = np.zeros(len(CLASSES))
    if label == 0:
        shares[other] = strength
    else:
        # the label stays ahead of its partner and of neutral
        most = min(MAX_BLEND, (2 * strength - 1) / strength - 0.02)
        shares[other] = strength * blend * max(most, 0.0)
        shares[label] = strength - shares[other]
    shares[0] += 1 - strength
    return shares


def sample(
    labels: Sequence[int] | np.ndarray, ids: Sequence[str], identities: Sequence[str], seed: int
) -> FaceParameters:
    """Draws the parameters of faces.

    Args:
        labels: [N], class ids.
        ids: [N], names of the images.
        identities: [N], names of the persons.
        seed: Names the population.
    """
    people = {who: numpy_rng(seed, "synthetic", "identity", who).random(len(IDENTITY)) for who in set(identities)}
    extra = 3 + 2 * len(AUS)
    draws = np.array([numpy_rng(seed, "synthetic", "image", name).random(len(IMAGE) + extra) for name in ids])
    who = np.array([people[name] for name in identities])
    values = {name: low + (high - low) * who[:, i] for i, (name, (low, high)) in enumerate(IDENTITY.items())}
    values |= {name: low + (high - low) * draws[:, i] for i, (name, (low, high)) in enumerate(IMAGE.items())}
    rest = draws[:, len(IMAGE) :]
    shares = np.array([mixture(int(y), *row) for y, row in zip(labels, rest[:, :3].tolist(), strict=True)])
    gain = AU_GAIN[0] + (AU_GAIN[1] - AU_GAIN[0]) * rest[:, 3 : 3 + len(AUS)]
    stray = AU_STRAY * rest[:, 3 + len(AUS) :] ** 2
    pattern = np.zeros((len(shares), len(AUS)))
    for share, units in zip(shares.T, prototypes(), strict=True):  # no matrix product: its rounding is the library's
        pattern += share[:, None] * units
    aus = np.minimum(pattern * gain * values["expressive"][:, None] + stray, 1.3)
    return FaceParameters(
        values={name: value.astype(np.float32) for name, value in values.items()},
        aus=aus.astype(np.float32),
        distribution=shares.astype(np.float32),
        label=shares.argmax(axis=1).astype(np.int64),
        identity=np.asarray(identities),
    )


# --- the data set ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Renderer:
    """A source of pixels that draws faces when they are needed.

    Attributes:
        faces: The parameters of all faces.
        ids: [N] str.
        seed: Draws the sensor noise.
    """

    faces: FaceParameters
    ids: np.ndarray
    seed: int

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        """Draws some faces: uint8 [n, 3, size, size], RGB. DataError for a size outside of SIZES."""
        if not SIZES[0] <= size <= SIZES[1]:
            raise DataError(f"synthetic faces can be drawn from {SIZES[0]} to {SIZES[1]} pixels wide, not {size}")
        chosen = np.asarray(rows, dtype=np.int64)
        out = np.empty((len(chosen), 3, size, size), np.uint8)
        step = max(1, 32768 // (size * size))  # planes of this size stay in the processor's cache
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            grain = np.stack([self._grain(int(row), size) for row in part])
            values = {name: value[part] for name, value in self.faces.values.items()}
            out[start : start + step] = draw(values, self.faces.aus[part], grain)
        return out

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        """sha256 of the numbers that each face is drawn from, and of the version of the generator."""
        table = np.stack([*self.faces.values.values(), *self.faces.aus.T], axis=1)
        head = f"{GENERATOR_VERSION}\x1f{self.seed}\x1f"
        return [
            hashlib.sha256(f"{head}{self.ids[row]}\x1f".encode() + table[row].astype("<f4").tobytes()).digest()
            for row in rows
        ]

    def _grain(self, row: int, size: int) -> np.ndarray:
        """Sensor noise in [-1, 1), float32 [3, size, size]; triangular, from the image's own stream."""
        rng = numpy_rng(self.seed, "synthetic", "grain", str(self.ids[row]), size)
        return rng.random((3, size, size), np.float32) - rng.random((3, size, size), np.float32)


def class_counts(name: str) -> dict[str, tuple[int, ...]]:
    """Images per class for each split of a variant."""
    if name == "synthetic-natural":
        return dict(NATURAL_COUNTS)
    n = len(CLASSES)
    return {split: tuple((total + n - 1 - c) // n for c in range(n)) for split, total in COUNTS[name].items()}


def read(name: str = "synthetic", *, seed: int | None = None) -> Manifest:
    """Makes ``synthetic`` (balanced), ``synthetic-natural`` (RAF-DB's class counts) or ``synthetic-tuning``.

    Only ``synthetic`` has a validation split. Identities are disjoint between splits.

    Args:
        name: One of POPULATIONS.
        seed: Another seed is another population; None is that of the name.

    Raises:
        DataError: The name is unknown.
    """
    if name not in POPULATIONS:
        raise DataError(f"no synthetic data set {name!r}; there are {', '.join(map(repr, POPULATIONS))}")
    seed = POPULATIONS[name] if seed is None else seed
    ids, split, labels, identities = [], [], [], []
    counts = class_counts(name)
    for part in SPLITS:
        wanted = np.repeat(np.arange(len(CLASSES)), counts.get(part, 0))
        shuffle = numpy_rng(seed, "synthetic", "order", name, part).random(len(wanted))
        wanted = wanted[np.argsort(shuffle, kind="stable")]
        ids += [f"{part}/{i:06d}" for i in range(len(wanted))]
        split += [part] * len(wanted)
        labels += wanted.tolist()
        identities += [f"{part}/{i // IMAGES_PER_IDENTITY:05d}" for i in range(len(wanted))]
    faces = sample(labels, ids, identities, seed)
    return Manifest(
        name=name,
        classes=CLASSES,
        ids=np.array(ids),
        split=np.array(split),
        label=faces.label,
        source=Renderer(faces, np.array(ids), seed),
        landmarks=faces.landmarks(),
        landmarks_ok=np.ones(len(ids), dtype=bool),
        distribution=faces.distribution,
        expected={part: sum(numbers) for part, numbers in counts.items()},
        files=sorted(Path(__file__).parent.glob("*.py")),
        label_source="reference",
    )
