"""A request for a sweep: the options of ``fer-bench run``, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, require
from fer_bench.core.files import file_checksum
from fer_bench.core.spec import Noise


@dataclass(frozen=True)
class Request:
    """What a person asks for; the fields are the options of ``fer-bench run``."""

    methods: Sequence[str]
    dataset: str = "synthetic"
    data_root: Path | None = None
    dedup: bool = False
    noise: Sequence[float] | None = None
    noise_types: Sequence[str] = ("symmetric",)
    noise_mode: str = "exact"
    noise_file: Path | None = None
    imbalance: Sequence[float] = (1.0,)
    imbalance_type: str = "exp"
    seeds: Sequence[int] = (0,)
    data_seed: int = 0
    train_size: int | None = None
    preset: str = "quick"
    overrides: dict[str, Any] = field(default_factory=dict)
    """Settings of the recipe that replace the preset's: epochs, batch_size, lr, backbone, image_size, precision,
    compile."""
    pretrained: str = ""
    settings: Sequence[str] = ()
    """``key.field=value`` strings."""
    plugins: Sequence[str] = ()
    unlabelled: Path | None = None
    """A folder of images for methods that learn from unlabelled ones; None = the training images, labels hidden."""


def expand_noise(request: Request) -> list[Noise]:
    """Every noise setting asked for, once; rate 0 of any kind is the same clean setting. SpecError for bad rates."""
    from fer_bench.data.noise.kinds import KINDS, check, find_kind

    file = ""
    if request.noise_file is not None:
        require(request.noise_file.is_file(), f"--noise-file {request.noise_file}: no such file")
        file = f"sha256:{file_checksum(request.noise_file)}"
    named = distinct(request.noise_types, "--noise-type")
    try:
        kinds = list(dict.fromkeys(map(find_kind, named)))
    except ValueError as error:
        raise SpecError(f"--noise-type: {error}") from None
    asked = ", ".join(kinds)
    reads = any(KINDS[kind].needs == "file" for kind in kinds)
    require(reads or not file, f"--noise-file {request.noise_file}: none of {asked} reads it")
    rated = any(KINDS[kind].rate for kind in kinds)
    require(request.noise is None or rated, f"--noise gives rates, but {asked} has its own")
    settings = []
    for kind in kinds:
        mine = file if KINDS[kind].needs == "file" else ""
        if not KINDS[kind].rate:
            settings.append(Noise(kind, file=mine))
            continue
        for rate in distinct(request.noise if request.noise is not None else (0.0,), "--noise"):
            try:
                check(kind, rate, request.noise_mode)
            except ValueError as error:
                raise SpecError(f"--noise {rate}: {error}") from None
            settings.append(Noise(kind, float(rate), request.noise_mode, mine) if rate else Noise("none"))  # type: ignore[arg-type]
    return list(dict.fromkeys(settings))


def distinct(values: Iterable[Any], option: str) -> list[Any]:
    values = list(values)
    require(bool(values), f"{option} is empty")
    return list(dict.fromkeys(values))


def make_request(**options: Any) -> Request:
    """A Request from its fields and from settings of the recipe, by name. TypeError for a name that is neither."""
    recipe = ("epochs", "batch_size", "lr", "backbone", "image_size", "precision", "compile")
    overrides = {key: options.pop(key) for key in recipe if options.get(key) is not None}
    return Request(**{key: value for key, value in options.items() if key not in recipe}, overrides=overrides)
