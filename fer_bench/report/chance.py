"""Runs that did not learn: their accuracy on the test set is that of guessing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fer_bench.core.text import counted
from fer_bench.store.model_selection import select

if TYPE_CHECKING:
    from fer_bench.report.arrange import Runs
    from fer_bench.store.records import Record

SIGN = "↓"

ERRORS = 2
"""Standard errors of guessing above chance up to which a run counts as at chance."""

LEGEND = (
    f"{SIGN} at chance, not learning: a run of the cell has a mean accuracy over classes of at most one over the "
    "number of classes, plus two standard errors of guessing."
)


class Count(NamedTuple):
    """How many of the runs of a cell are at chance."""

    number: int
    total: int

    @property
    def all(self) -> bool:
        """Whether every run is."""
        return self.number == self.total


def count(records: Collection[Record], selection: str) -> Count:
    """How many of some runs are at chance."""
    return Count(sum(at_chance(record, selection) for record in records), len(records))


def at_chance(record: Record, selection: str) -> bool:
    """Whether a run's mean accuracy over classes on the test set cannot be told from guessing, or is below that.

    A run that always predicts one class has exactly 1/C. One that guesses each of n_c images of class c has 1/C in the
    mean, with a standard error of sqrt(1/C (1 - 1/C) sum_c 1/n_c) / C. The limit is 1/C plus ``ERRORS`` of these. A run
    that guesses exceeds it once in about forty times, and a run below it may have learned something too small to see
    on this test set. Without the numbers of images by class the limit is 1/C.

    Args:
        record: A finished run.
        selection: Key of ``SELECTIONS``.
    """
    selected = select(record.epochs, selection)
    mean = selected.test.get("mean") if selected else None
    classes = _classes(record)
    if mean is None or classes < 2:
        return False
    return bool(mean <= limit(classes, _images(record)) + 1e-9)


def limit(classes: int, images: Sequence[float]) -> float:
    """The highest accuracy that counts as chance, a fraction.

    Args:
        classes: Number C of classes that have test images.
        images: Test images of each of these classes; empty if they are not known.
    """
    chance = 1 / classes
    error = math.sqrt(chance * (1 - chance) * sum(1 / count for count in images)) / classes
    return chance + ERRORS * error


def marks(runs: Runs, selection: str) -> dict[tuple[str, str], Count]:
    """The count of each (row, condition) that has a run at chance."""
    groups = runs.frame.groupby(["row", "condition"], sort=False)["record"]
    found = {(str(row), str(condition)): count(list(records), selection) for (row, condition), records in groups}
    return {place: each for place, each in found.items() if each.number}


def note(runs: Runs, marked: Mapping[tuple[str, str], Count]) -> list[str]:
    """Which rows are at chance, and where; nothing if none is."""
    places: dict[str, list[str]] = {}
    for (row, condition), each in marked.items():
        share = "" if each.all else f" ({each.number} of {counted(each.total, 'run')})"
        places.setdefault(row, []).append(f"{condition}{share}")
    texts = [f"{runs.name(row)}: {', '.join(places[row])}" for row in runs.rows if row in places]
    return [f"At chance, not learning: {'; '.join(texts)}."] if texts else []


def _test(record: Record) -> dict[str, object]:
    test: dict[str, object] = record.epochs[-1]["test"]
    return test


def _images(record: Record) -> list[float]:
    """Test images of each class that has some; empty where they are not known."""
    confusion = _test(record).get("confusion")
    return [count for row in confusion if (count := sum(row))] if isinstance(confusion, list) else []


def _classes(record: Record) -> int:
    """Number of classes that have test images; 0 if it is not known."""
    recall = _test(record).get("recall")
    known = sum(value is not None for value in recall) if isinstance(recall, list) else 0
    return len(_images(record)) or known
