"""Published numbers that were seen in a source. Each has its source, and what is doubtful about it."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.schema import build

PACKAGE = "fer_bench_benchmarks"

METRICS = {"overall": "overall_acc", "mean": "mean_acc"}
"""Metric of a table: the field of a published number. Overall accuracy, and the mean over classes, in %."""


@dataclass(frozen=True)
class Number:
    """One row of ``published/results.csv``. Accuracies are in %; "" and None mean that a value was not seen."""

    method: str
    dataset: str
    paper: str = ""
    table: str = ""
    num_classes: int | None = None
    noise_type: str = "none"
    noise_rate: float = 0.0
    imbalance_factor: float | None = None
    backbone: str = ""
    pretrain: str = ""
    overall_acc: float | None = None
    mean_acc: float | None = None
    std: float | None = None
    """Standard deviation of the overall accuracy; over how many runs is in ``runs``."""
    source_url: str = ""
    selection: str = ""
    """Which epoch is reported: last, best_val or best_test."""
    runs: int | None = None
    doubt: str = ""

    def value(self, metric: str) -> float | None:
        """Its accuracy by a metric of the table; None for a metric that published numbers have not."""
        return getattr(self, METRICS[metric]) if metric in METRICS else None

    def sd(self, metric: str) -> float | None:
        """The standard deviation of its accuracy by a metric of the table."""
        return self.std if metric == "overall" else None


FIELDS = {field.name: field for field in dataclasses.fields(Number)}


def benchmarks() -> Path:
    """The folder of definitions and published numbers, in the installed package or in the source tree."""
    found = importlib.util.find_spec(PACKAGE)
    places = list(found.submodule_search_locations or []) if found else []
    return Path(places[0]) if places else Path(__file__).parents[2] / "benchmarks"


@cache
def shipped() -> tuple[Number, ...]:
    """The numbers that fer-bench has."""
    return read(benchmarks() / "published" / "results.csv")


def read(path: Path) -> tuple[Number, ...]:
    """Reads a CSV with the fields of :class:`Number` as header.

    Raises:
        SpecError: A line is wrong; the message has its number.
    """
    numeric = {"num_classes": int, "runs": int, **dict.fromkeys(
        ("noise_rate", "imbalance_factor", "overall_acc", "mean_acc", "std"), float)}  # fmt: skip
    numbers = []
    with path.open(newline="", encoding="utf-8") as handle:
        for line, entry in enumerate(csv.DictReader(handle), start=2):
            given = {name: text for name, text in entry.items() if text}
            try:
                values = {name: numeric.get(name, str)(text) for name, text in given.items()}
            except ValueError as error:
                raise SpecError(f"{path}, line {line}: {error}") from None
            numbers.append(build(Number, values, f"{path}, line {line}"))
    return tuple(numbers)


def check(wanted: Mapping[str, Any], numbers: Iterable[Number], where: str) -> None:
    """Checks the fields and values by which numbers are chosen.

    Raises:
        SpecError: There is no such field, or no number has the value in that field.
    """
    for name, value in wanted.items():
        require(name in FIELDS, f"{where}: {name!r} is no field of a published number{nearest(name, FIELDS)}")
        values = {getattr(number, name) for number in numbers}
        require(
            value in values,
            f"{where}.{name} = {value!r}: no published number has it{nearest(str(value), {str(v) for v in values})}",
        )


def find(wanted: Mapping[str, Any], numbers: Iterable[Number], where: str) -> Number | None:
    """The one number with these values; None if there is none.

    Raises:
        SpecError: There are several.
    """
    found = [n for n in numbers if all(getattr(n, name) == value for name, value in wanted.items())]
    require(
        len(found) < 2,
        f"{where}: {len(found)} published numbers fit {dict(wanted)}; they differ in "
        + ", ".join(name for name in FIELDS if len({getattr(n, name) for n in found}) > 1),
    )
    return found[0] if found else None
