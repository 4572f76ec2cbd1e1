"""Which epoch of a run a reported number comes from: the one list of rules, and how each is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

LAST = 5
"""Epochs that ``mean_last_5`` averages."""

MEASURES = ("overall", "mean", "macro_f1", "worst", "nll", "ece")
"""Test measures that every epoch has; each is one number."""


@dataclass(frozen=True)
class Selection:
    """A rule that selects the reported epoch.

    Attributes:
        key: Name in options, files and column names.
        label: Short name, for menus and notes.
        title: Name in headings.
        description: One sentence for captions.
    """

    key: str
    label: str
    title: str
    description: str

    def column(self, measure: str) -> str:
        """The column of the runs that holds ``measure`` of the selected epoch."""
        return f"{'test' if self.key == 'last' else self.key}_{measure}"


SELECTIONS = {
    selection.key: selection
    for selection in (
        Selection(
            "last",
            "last epoch",
            "last epoch",
            "Every run reports its last epoch, so no epoch is selected by its accuracy.",
        ),
        Selection(
            "mean_last_5",
            f"mean of last {LAST}",
            f"mean of the last {LAST} epochs",
            f"Every run reports the mean of its last {LAST} epochs, so no epoch is selected by its accuracy.",
        ),
        Selection(
            "best_val",
            "best on validation",
            "best epoch on the validation set",
            "Every run reports the epoch with the best overall accuracy on the validation set.",
        ),
        Selection(
            "best_test",
            "best on test (oracle)",
            "best epoch on the test set (oracle)",
            "Every run reports the epoch with the best overall accuracy on the test set itself. This is an oracle: it "
            "needs the test labels, so it is an upper bound and not an estimate of performance.",
        ),
    )
}
"""The rules by key. All are queries over the stored epochs of a run; nothing is trained again to apply another one."""


@dataclass(frozen=True)
class Selected:
    """What a rule selected from a run.

    Attributes:
        epochs: Numbers of the epochs, from 1; several for a mean.
        test: Test measures, ``recall`` [C] and ``confusion`` [C, C] (counts; summed for a mean).
    """

    epochs: tuple[int, ...]
    test: dict[str, Any]


def select(epochs: list[dict[str, Any]], key: str) -> Selected | None:
    """Applies a rule to the epochs of one run.

    Args:
        epochs: Records of the epochs in order, at least one.
        key: A key of ``SELECTIONS``.

    Returns:
        What the rule selects, the earliest among equals. None where the run cannot have it: no validation set, or fewer
        than five epochs to average.
    """
    if key == "last":
        return _one(epochs[-1])
    if key == "mean_last_5":
        return _mean(epochs[-LAST:]) if len(epochs) >= LAST else None
    split = key.removeprefix("best_")
    if epochs[-1].get(split) is None:
        return None
    return _one(max(epochs, key=lambda record: (record[split]["overall"], -record["epoch"])))


def shown_epochs(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tables, plots and pages show of the epochs of a run.

    Of every epoch these are the test accuracies, the fit of the training images, and what validation selects by. All
    test measures, recalls and confusions stay of the epochs that a rule of :data:`SELECTIONS` selects, and the
    validation measures of the last epoch. A measure that is left out is None.
    """
    selected = {number for key in SELECTIONS if (one := select(epochs, key)) for number in one.epochs}
    shown: list[dict[str, Any]] = []
    unknown: dict[str, Any] = dict.fromkeys(MEASURES)
    for each in epochs:
        test, val, last = each["test"], each.get("val"), each is epochs[-1]
        if each["epoch"] not in selected:
            test = {**unknown, "overall": test["overall"], "mean": test["mean"]}
        if val is not None:
            val = {name: val[name] for name in MEASURES} if last else {**unknown, "overall": val["overall"]}
        kept: dict[str, Any] = {name: each[name] for name in ("epoch", "train_fit") if name in each}
        shown.append({**kept, "test": test, "val": val})
    return shown


def _one(record: dict[str, Any]) -> Selected:
    return Selected((record["epoch"],), record["test"])


def _mean(records: list[dict[str, Any]]) -> Selected:
    """Means of measures and recalls; None where an epoch has none, as for the recall of a class without test images."""
    tests = [record["test"] for record in records]
    test: dict[str, Any] = {name: _mean_or_none([t[name] for t in tests]) for name in MEASURES}
    if all("recall" in t for t in tests):
        test["recall"] = [_mean_or_none(column) for column in zip(*(t["recall"] for t in tests), strict=True)]
    if all("confusion" in t for t in tests):
        rows = zip(*(t["confusion"] for t in tests), strict=True)
        test["confusion"] = [[sum(counts) for counts in zip(*row, strict=True)] for row in rows]
    return Selected(tuple(record["epoch"] for record in records), test)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
