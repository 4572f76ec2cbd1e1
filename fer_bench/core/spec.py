"""The specification of a run: everything that can change one of its numbers, and nothing else. Its key is its hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from fer_bench.core.errors import require
from fer_bench.core.schema import added, build, plain_values, require_complete

HOLD_OUT = 0.1
"""Share of the training images that becomes the validation split where a data set has none, or none is used."""

PROTOCOL_VERSION = 1
"""Version of what the harness does with a specification: order of the data, augmentation, evaluation. Runs of two
versions never share a key, so a table cannot mix them."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, in this order.

    Transforms of torchvision, flip, pixel noise, normalisation, resampling, erasing.

    The resampling rotates, scales and shifts an image at once. Each of the three is drawn uniformly up to its limit, to
    both sides.

    Raises:
        SpecError: A value is out of range.
    """

    flip: float = 0.5
    """Probability of a horizontal mirror."""
    noise: float = 0.0
    """Probability of Gaussian pixel noise."""
    noise_variance: float = 30.0
    """Variance of that noise, in grey levels squared on the 0..255 scale."""
    erase: float = 0.5
    """Probability of erasing a rectangle (filled with the mean colour)."""
    erase_min: float = 0.02
    erase_max: float = 0.25
    """Range of the share of the image that an erased rectangle covers. Its aspect ratio lies in [0.3, 3.3]."""
    rotate: float = added(0.0)
    """Largest rotation, in degrees."""
    scale: float = added(0.0)
    """Largest change of size, as a share of the size: 0.1 draws from 0.9 to 1.1."""
    shift: float = added(0.0)
    """Largest shift in each direction, as a share of the side of the image."""
    transforms: tuple[str, ...] = added(())
    """Calls of classes of ``torchvision.transforms.v2`` with named values: ``("ColorJitter(brightness=0.3)",)``."""

    def __post_init__(self) -> None:
        for name in ("flip", "noise", "erase"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augmentation.{name} = {value} is not a probability in [0, 1]")
        for name, limit in (("rotate", 180), ("scale", 0.9), ("shift", 1)):
            value = getattr(self, name)
            require(0 <= value <= limit, f"augmentation.{name} = {value} is out of range: 0 to {limit}")
        require(self.noise_variance >= 0, f"augmentation.noise_variance = {self.noise_variance} is negative")
        require(
            0 < self.erase_min <= self.erase_max < 1,
            f"augmentation.erase_min, erase_max = {self.erase_min}, {self.erase_max}: need 0 < min <= max < 1",
        )


@dataclass(frozen=True)
class Recipe:
    """How every method is trained. A preset is a recipe with a name.

    Raises:
        SpecError: A value is out of range.
    """

    backbone: str = "ferres8"
    """A network of fer-bench, any timm model name, or "FILE.py:FUNCTION@HASH" for a function of the user."""
    pretrained: str = ""
    """Initial weights: "" for random ones, "timm:TAG" for timm's, "sha256:…" or "sha256:…, PROVENANCE" for a file."""
    image_size: int = 48
    epochs: int = 16
    batch_size: int = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    """For sgd only."""
    schedule: Literal["constant", "exponential", "cosine"] = "exponential"
    gamma: float = 0.9
    """Factor on the learning rate after each epoch, for the exponential schedule."""
    clip_norm: float = 0.0
    """Clips the gradient of each optimizer to this global norm; 0 = no clipping."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    threads: int = 1
    """CPU threads of a run. They change the order of sums, so they are in the key; ``--jobs`` is not."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["float32", "bf16"] = "float32"
    """Precision of the networks' forward passes. bf16 is autocast; parameters, losses and metrics stay in float32."""
    compile: bool = False
    """Whether the networks are compiled with torch.compile, which rounds differently."""

    def __post_init__(self) -> None:
        for name, low, high in (("image_size", 16, 1024), ("epochs", 1, 100_000), ("batch_size", 2, 1_000_000)):
            value = getattr(self, name)
            require(low <= value <= high, f"{name} = {value} is out of range: {low} to {high}")
        require(1 <= self.threads <= 1024, f"threads = {self.threads} is out of range: 1 to 1024")
        require(0 < self.lr < math.inf, f"lr = {self.lr} is not a positive number")
        for name in ("weight_decay", "clip_norm"):
            require(0 <= getattr(self, name) < math.inf, f"{name} = {getattr(self, name)} is negative or not finite")
        require(0 <= self.momentum < 1, f"momentum = {self.momentum} is not in [0, 1)")
        require(0 < self.gamma <= 1, f"gamma = {self.gamma} is not in (0, 1]")
        require(len(self.mean) == len(self.std) == 3 and min(self.std) > 0, "mean and std need three values, std > 0")


def weights_name(pretrained: str) -> str:
    """Describes ``Recipe.pretrained`` for a caption: the provenance of the weights and the beginning of their hash."""
    if not pretrained:
        return "random initial weights"
    if pretrained.startswith("timm"):
        return f"timm's pre-trained weights {pretrained.removeprefix('timm').removeprefix(':')}".rstrip()
    digest, _, provenance = pretrained.partition(", ")
    return f"weights {provenance or 'of unknown provenance'} ({digest[:19]})"


@dataclass(frozen=True)
class Noise:
    """Label noise on the training set; ``fer_bench.data.noise.apply`` has the formulas.

    The mode makes no difference at rate 0, so it is "exact" there.
    """

    kind: str = "symmetric"
    rate: float = 0.0
    mode: Literal["exact", "bernoulli"] = "exact"
    file: str = ""
    """sha256 of the file that the kind reads (a label list, a confusion matrix), or ""."""

    def __post_init__(self) -> None:
        if not self.rate:
            object.__setattr__(self, "mode", "exact")

    @property
    def label(self) -> str:
        """Short name for tables: "clean", "symmetric 0.2", "human"."""
        if self.kind == "none":
            return "clean"
        return f"{self.kind} {self.rate:g}" if self.rate else self.kind


@dataclass(frozen=True)
class Imbalance:
    """Class imbalance, made on clean labels before any noise.

    Factor 1 leaves the data set as it is. The kind makes no difference then, so it is "exp".

    Raises:
        SpecError: The factor is out of range.
    """

    kind: Literal["exp", "step"] = "exp"
    factor: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.factor < math.inf, f"imbalance factor = {self.factor} is out of range: 1 (as it is) or more")
        if self.factor == 1:
            object.__setattr__(self, "kind", "exp")


@dataclass(frozen=True)
class RunSpec:
    """One training run, fully resolved."""

    dataset: str
    fingerprint: str
    """sha256 of the data: ids, splits, labels, image contents."""
    method: str
    code: str
    """Hash of the plugin's code (comments and docstrings aside)."""
    config: Mapping[str, Any]
    """Every hyper-parameter of the method."""
    noise: Noise = field(default_factory=Noise)
    imbalance: Imbalance = field(default_factory=Imbalance)
    train_size: int | None = None
    """Size of the stratified part of the training set that is used; None = all of it."""
    data_seed: int = 0
    """Draws noise, imbalance, the part and the validation split: shared by all methods and training seeds."""
    seed: int = 0
    """Draws weights, order and augmentation."""
    recipe: Recipe = field(default_factory=Recipe)
    protocol: int = PROTOCOL_VERSION
    unlabelled: str = ""
    """sha256 of the folder of unlabelled images that the method also learns from; "" = the training images."""
    landmarks: str = ""
    """sha256 of the landmarks beside the images, where the method learns from them; "" = the data set's own or none."""
    validation: Literal["official", "held-out", "none"] = "official"
    """Validation split: the data set's own, with clean labels; a part of the training set, with its noise; or none. A
    data set without a split of its own never has the first."""
    held_out: float = HOLD_OUT
    """The part of the training images that is held out for validation: a share, or from 1 on a number of images."""

    def __post_init__(self) -> None:
        require(
            0 < self.held_out < 1 or (self.held_out >= 1 and self.held_out == int(self.held_out)),
            f"held_out = {self.held_out:g}: a share between 0 and 1, or a whole number of images",
        )

    @cached_property
    def canonical(self) -> str:
        """The specification as JSON with sorted keys: equal for equal specifications only.

        Values have the types of their fields, so that 1 and 1.0 are one learning rate. Floats are the shortest decimal
        that reads back to them.
        """
        return canonical_json(plain_values(build(RunSpec, dataclasses.asdict(self), "spec")))

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON, first 16 hexadecimal digits."""
        return _digest(self.canonical)

    @property
    def name(self) -> str:
        """One line for a person: method, noise, imbalance, seed, and the data seed if it is not 0."""
        parts = [self.method, self.noise.label]
        if self.imbalance.factor != 1:
            parts.append(f"{self.imbalance.kind} imbalance {self.imbalance.factor:g}")
        parts.append(f"seed {self.seed}")
        if self.data_seed:
            parts.append(f"data seed {self.data_seed}")
        return ", ".join(parts)


def canonical_json(values: Any) -> str:
    """Plain values as JSON with sorted keys and no spaces."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(values: Mapping[str, Any]) -> str:
    """The key of a specification that is given as the plain values of its JSON."""
    return _digest(canonical_json(values))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def restore(values: Any, where: str) -> RunSpec:
    """Builds the specification that a run folder holds.

    Args:
        values: The parsed content of its ``spec.json``.
        where: What messages call it.

    Raises:
        SpecError: The run was measured by another protocol, or a setting is missing, unknown or wrong.
    """
    require(isinstance(values, Mapping), f"{where} is no object")
    stored = values.get("protocol")
    require(
        stored == PROTOCOL_VERSION,
        f"{where} is of protocol {stored}, and this fer-bench measures by protocol {PROTOCOL_VERSION}: their "
        "numbers cannot be compared",
    )
    spec = build(RunSpec, values, where)
    require_complete(RunSpec, values, where)
    return spec
