"""The draws of the training data that a plan needs: each is made once, before the first run is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import DataError
from fer_bench.core.spec import RunSpec

if TYPE_CHECKING:
    from fer_bench.data.dataset import Dataset
    from fer_bench.data.splits import Splits


@dataclass(frozen=True)
class Draw:
    """One draw of the training data.

    Attributes:
        spec: A run that is trained on it.
        sizes: As ``fer_bench.data.splits.Splits.sizes`` gives them.
        digest: Equal for draws with the same images and labels only.
    """

    spec: RunSpec
    sizes: Mapping[str, Any]
    digest: str


class Draws:
    """The draws of some runs: one for each noise, imbalance and data seed.

    Raises:
        DataError: The data set does not give what a run asks for. It is raised now and not in every run.
    """

    def __init__(self, specs: Iterable[RunSpec], dataset: Dataset, noise_file: Path | None) -> None:
        self._draws: dict[Any, Draw] = {}
        for spec in specs:
            if _key(spec) not in self._draws:
                self._draws[_key(spec)] = _draw(spec, dataset, noise_file)

    @property
    def sentence(self) -> str:
        """How many images are trained on, held out and tested on."""
        from fer_bench.data.splits import describe_sizes

        return describe_sizes([draw.sizes for draw in self._draws.values()])

    def repeated(self, spec: RunSpec) -> RunSpec | None:
        """A run of an earlier data seed whose draw has the same images and labels as that of ``spec``; None without.

        Clean labels on official splits are one draw, whatever the seed. To count its runs again would pretend to more
        runs than there are.
        """
        mine = self._draws[_key(spec)]
        for other in self._draws.values():
            if other is mine:
                return None
            if other.digest == mine.digest and (other.spec.noise, other.spec.imbalance) == (spec.noise, spec.imbalance):
                return other.spec
        return None


def _key(spec: RunSpec) -> tuple[Any, ...]:
    return spec.noise, spec.imbalance, spec.data_seed


def _draw(spec: RunSpec, dataset: Dataset, noise_file: Path | None) -> Draw:
    from fer_bench.data.splits import make_splits

    try:
        splits = make_splits(dataset, spec, noise_file)
    except ValueError as error:
        raise DataError(f"{dataset.name}: {error}") from None
    return Draw(spec, splits.sizes, _digest(splits))


def _digest(splits: Splits) -> str:
    arrays = (splits.train, splits.noisy_label, splits.val, splits.val_label)
    return hashlib.sha256(b"".join(hashlib.sha256(array.tobytes()).digest() for array in arrays)).hexdigest()
