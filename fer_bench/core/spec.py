"""What a run is: everything that can change one of its numbers, and nothing else. Its key is a hash of it."""

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
from fer_bench.core.schema import _hints, _taken_apart, build

PROTOCOL_VERSION = 1
"""Version of what the harness does with a spec (data order, augmentation, evaluation). Runs of two versions never share
a key, so a table cannot mix them."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, applied in this order: flip, pixel noise, normalisation, erasing."""

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
    """Share of the image area that an erased rectangle covers; its aspect ratio lies in [0.3, 3.3]."""

    def __post_init__(self) -> None:
        for name in ("flip", "noise", "erase"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augmentation.{name} = {value} is not a probability in [0, 1]")
        require(self.noise_variance >= 0, f"augmentation.noise_variance = {self.noise_variance} is negative")
        require(
            0 < self.erase_min <= self.erase_max < 1,
            f"augmentation.erase_min, erase_max = {self.erase_min}, {self.erase_max}: need 0 < min <= max < 1",
        )


@dataclass(frozen=True)
class Recipe:
    """How every method is trained: a preset names a whole one."""

    backbone: str = "ferres8"
    """A network of fer-bench or any timm model name."""
    pretrained: str = ""
    """"" = random weights, "timm:TAG" = timm's own, "sha256:…" or "sha256:…, PROVENANCE" = the file with this hash."""
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
    """CPU threads of a run. They change the order of sums, so they belong to the key; ``--jobs`` does not."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["float32", "bf16"] = "float32"
    """Of the networks' forward passes: bf16 is autocast, with parameters, losses and metrics in float32."""
    compile: bool = False
    """Whether torch.compile makes the networks' forward passes; it rounds differently."""

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


LATER: dict[str, Any] = {"precision": "float32", "compile": False}
"""Settings of the recipe that runs did not always have, with what was so before. At this value they are in no key, so
that runs keep theirs, and not in what a run stores."""

EMPTY = ("unlabelled", "landmarks")
"""Likewise for a spec, while they are empty."""


def weights_name(pretrained: str) -> str:
    """``Recipe.pretrained`` for a caption: what the weights are, and as much of their hash as tells files apart."""
    if not pretrained:
        return "random initial weights"
    if pretrained.startswith("timm"):
        return f"timm's pre-trained weights {pretrained.removeprefix('timm').removeprefix(':')}".rstrip()
    digest, _, provenance = pretrained.partition(", ")
    return f"weights {provenance or 'of unknown provenance'} ({digest[:19]})"


@dataclass(frozen=True)
class Noise:
    """Label noise on the training set; ``fer_bench.data.noise.apply`` has the formulas."""

    kind: str = "symmetric"
    rate: float = 0.0
    mode: Literal["exact", "bernoulli"] = "exact"
    file: str = ""
    """sha256 of the file that the kind reads (a label list, a confusion matrix), or ""."""

    @property
    def label(self) -> str:
        """Short name for tables: "clean", "symmetric 0.2", "human"."""
        if self.kind == "none":
            return "clean"
        return f"{self.kind} {self.rate:g}" if self.rate else self.kind


@dataclass(frozen=True)
class Imbalance:
    """Class imbalance, made on clean labels before any noise; factor 1 leaves the data set as it is."""

    kind: Literal["exp", "step"] = "exp"
    factor: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.factor < math.inf, f"imbalance factor = {self.factor} is out of range: 1 (as it is) or more")


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
    """sha256 of the folder of unlabelled images that the method learns from besides; "" = the training images."""
    landmarks: str = ""
    """sha256 of the landmarks beside the images, where the method learns from them; "" = the data set's own or none."""

    @cached_property
    def canonical(self) -> str:
        """The spec as JSON with sorted keys and shortest-round-trip floats: equal for equal specs only."""
        values = dataclasses.asdict(self)
        for name in EMPTY:
            if not values[name]:
                del values[name]
        for name, before in LATER.items():
            if values["recipe"][name] == before:
                del values["recipe"][name]
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON, first 16 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """One line for a person: method, noise, imbalance, seed."""
        parts = [self.method, self.noise.label]
        if self.imbalance.factor != 1:
            parts.append(f"{self.imbalance.kind} imbalance {self.imbalance.factor:g}")
        return ", ".join([*parts, f"seed {self.seed}"])


def restore(values: Any, where: str) -> RunSpec:
    """The spec that a run folder holds. SpecError where it is of another protocol or not of this version."""
    require(isinstance(values, Mapping), f"{where} is no object")
    stored = values.get("protocol")
    require(
        stored == PROTOCOL_VERSION,
        f"{where} is of protocol {stored}, and this fer-bench measures by protocol {PROTOCOL_VERSION}: their "
        "numbers do not compare",
    )
    spec = build(RunSpec, values, where)
    _require_all(RunSpec, values, where)
    return spec


def _require_all(cls: type, values: Mapping[str, Any], where: str) -> None:
    """A spec is stored whole: SpecError for a name without its value, even where a new run would take a default."""
    for name, hint in sorted(_hints(cls).items()):
        require(name in values or name in EMPTY or name in LATER, f"{where}: {name!r} is missing")
        if _taken_apart(hint)[2]:
            _require_all(hint, values[name], f"{where}.{name}")
