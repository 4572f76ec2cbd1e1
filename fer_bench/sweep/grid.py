"""The values that a sweep combines: noise settings, and lists without repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from fer_bench.core.errors import SpecError, require
from fer_bench.core.spec import Imbalance, Noise
from fer_bench.sweep.request import Request

T = TypeVar("T")


def conditions(request: Request) -> list[tuple[Noise, Imbalance]]:
    """Every noise with every imbalance of a request, or each of them alone if the request keeps them separate.

    Raises:
        SpecError: As for :func:`expand_noise`; or there is no imbalance factor, or one is out of range.
    """
    noises, kind = expand_noise(request), request.imbalance_type
    imbalances = [Imbalance(kind, factor) for factor in distinct(request.imbalance, "--imbalance")]  # type: ignore[arg-type]
    if not request.separate:
        return [(noise, imbalance) for noise in noises for imbalance in imbalances]
    alone = [*((noise, Imbalance()) for noise in noises), *((Noise("none"), imbalance) for imbalance in imbalances)]
    return list(dict.fromkeys(alone))


def expand_noise(request: Request) -> list[Noise]:
    """Every noise setting of a request, once. Rate 0 of any kind is the same clean setting.

    Raises:
        SpecError: A kind is unknown, a rate is out of range, or the file is missing or not used.
    """
    from fer_bench.data.noise.kinds import KINDS, find_kind

    try:
        kinds = distinct(map(find_kind, request.noise_types), "--noise-type")
    except ValueError as error:
        raise SpecError(f"--noise-type: {error}") from None
    rated = any(KINDS[kind].rate for kind in kinds)
    require(request.noise is None or rated, f"--noise gives rates, but {', '.join(kinds)} has its own")
    file = _noise_file(request, kinds)
    settings: list[Noise] = []
    for kind in kinds:
        own_file = file if KINDS[kind].needs == "file" else ""
        if KINDS[kind].rate:
            settings += _with_rates(kind, request, own_file)
        else:
            settings.append(Noise(kind, file=own_file))
    return list(dict.fromkeys(settings))


def distinct(values: Iterable[T], option: str) -> list[T]:
    """The values without repetitions, in order. SpecError where there are none."""
    values = list(values)
    require(bool(values), f"{option} is empty")
    return list(dict.fromkeys(values))


def distinct_seeds(seeds: Iterable[int], option: str) -> list[int]:
    """Seeds without repetitions, in order. SpecError where there are none, or for a negative one."""
    found = distinct(seeds, option)
    negative = next((seed for seed in found if seed < 0), None)
    require(negative is None, f"{option} {negative}: a seed is 0 or more")
    return found


def _noise_file(request: Request, kinds: Sequence[str]) -> str:
    """The name of the noise file in keys, or nothing without one."""
    from fer_bench.data.noise.kinds import KINDS, file_digest

    path = request.noise_file
    if path is None:
        return ""
    require(path.is_file(), f"--noise-file {path}: no such file")
    used = any(KINDS[kind].needs == "file" for kind in kinds)
    require(used, f"--noise-file {path}: none of {', '.join(kinds)} reads it")
    return file_digest(path.read_bytes())


def _with_rates(kind: str, request: Request, file: str) -> list[Noise]:
    """The settings of a kind of noise that has rates."""
    from fer_bench.data.noise.kinds import check

    settings = []
    for rate in distinct(request.noise if request.noise is not None else (0.0,), "--noise"):
        try:
            check(kind, rate, request.noise_mode)
        except ValueError as error:
            raise SpecError(f"--noise {rate}: {error}") from None
        settings.append(Noise(kind, rate, request.noise_mode, file) if rate else Noise("none"))  # type: ignore[arg-type]
    return settings
