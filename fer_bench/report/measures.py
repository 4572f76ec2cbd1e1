"""What can be measured of a run, and what a reader chose to see of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_bench.core.errors import nearest, require
from fer_bench.report.statistics import INTERVALS, TESTS, UNITS
from fer_bench.store.model_selection import LAST, MEASURES, PROTOCOLS, select

EPOCHS = {
    "last": "last epoch",
    "mean_last_5": f"mean of the last {LAST} epochs",
    "best_val": "best epoch by validation",
    "best_test": "best epoch on the test set (oracle)",
}
"""Protocols as they are named wherever their numbers stand."""

SPREADS = ("sd", "interval")


@dataclass(frozen=True)
class Metric:
    """A measured quantity of the runs; ``scale`` turns it into ``unit``.

    title    of its block; metrics without one stand in the block of costs or only in the csv
    by_epoch whether it depends on the protocol
    better   +1 higher is better, -1 lower is better, 0 neither: not compared and never bold
    """

    name: str
    unit: str = "%"
    scale: float = 100
    title: str = ""
    by_epoch: bool = False
    better: int = 0

    def column(self, protocol: str) -> str:
        """The column of the runs that holds it."""
        if not self.by_epoch:
            return self.name
        return f"{'test' if protocol == 'last' else protocol}_{self.name}"

    def heading(self, protocol: str) -> str:
        when = f", {EPOCHS[protocol]}" if self.by_epoch else ""
        return f"{self.title}{when}, {self.unit}"


METRICS = (
    Metric("overall", title="Overall accuracy", by_epoch=True, better=1),
    Metric("mean", title="Mean accuracy (over classes)", by_epoch=True, better=1),
    Metric("gap", "points of overall accuracy", title="Gap from the last to the best test epoch (oracle)"),
    Metric("memorised", title="Wrong training labels memorised"),
    Metric("macro_f1", title="Macro-F1", by_epoch=True, better=1),
    Metric("worst", title="Accuracy on the worst class", by_epoch=True, better=1),
    Metric("head", title="Accuracy on head classes", by_epoch=True, better=1),
    Metric("tail", title="Accuracy on tail classes", by_epoch=True, better=1),
    Metric("ece", title="Expected calibration error", by_epoch=True, better=-1),
    Metric("nll", "nats", 1, title="Negative log-likelihood", by_epoch=True, better=-1),
    Metric("detection_auroc", title="Detection of wrong labels, area under the ROC curve", better=1),
    Metric("detection_ap", title="Detection of wrong labels, average precision", better=1),
    Metric("fit_noisy", title="Training images predicted as labelled"),
    Metric("fit_clean", title="Training images predicted as they are"),
    *(Metric(name, "count", 1) for name in ("parameters", "images_forward", "images_backward", "skipped_steps")),
    Metric("seconds", "seconds", 1),
    Metric("peak_memory_bytes", "bytes", 1),
)

SHOWN = tuple(metric.name for metric in METRICS if metric.title)

DEFAULT = ("overall", "mean", "gap", "memorised")


@dataclass(frozen=True)
class View:
    """What of the runs is shown, and how it is tested. SpecError for an unknown name, with the nearest one.

    protocols  which epochs are reported; tests are on the first
    metrics    names of SHOWN, or "all"
    baseline   method key (or row) that the others are tested against; "" = each against the best
    test, interval, unit   see ``statistics``
    spread     behind a mean: its standard deviation, or the 95 % interval
    """

    protocols: tuple[str, ...] = ("last",)
    metrics: tuple[str, ...] = DEFAULT
    baseline: str = ""
    test: str = "sign-flip"
    interval: str = "t"
    unit: str = "seed"
    spread: str = "sd"

    def __post_init__(self) -> None:
        known: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
            ("protocol", self.protocols, PROTOCOLS),
            ("metric", self.metrics, (*SHOWN, "all")),
            ("test", [self.test], TESTS),
            ("interval", [self.interval], INTERVALS),
            ("unit", [self.unit], UNITS),
            ("spread", [self.spread], SPREADS),
        )
        for what, values, names in known:
            for value in values:
                require(value in names, f"unknown {what} {value!r}{nearest(value, names)}")
        require(bool(self.protocols), "no protocol is named; there are: " + ", ".join(PROTOCOLS))
        require(bool(self.metrics), "no metric is named; there are: " + ", ".join(SHOWN))

    @property
    def chosen(self) -> list[Metric]:
        """The metrics to show, in the order of METRICS."""
        return [metric for metric in METRICS if metric.title and ("all" in self.metrics or metric.name in self.metrics)]

    def variants(self, metric: Metric) -> list[str]:
        """The protocols under which a metric is shown: one where it does not depend on them."""
        return list(dict.fromkeys(self.protocols)) if metric.by_epoch else [self.protocols[0]]


@dataclass(frozen=True)
class Protocol:
    key: str
    title: str
    about: str


SELECTIONS = (
    Protocol("last", "last epoch", "Every run reports its last epoch; nothing is chosen."),
    Protocol("mean_last_5", f"mean of last {LAST}", f"The mean of the last {LAST} epochs; nothing is chosen."),
    Protocol("best_val", "best on validation", "The epoch with the best accuracy on the validation images."),
    Protocol(
        "best_test",
        "best on test (oracle)",
        "ORACLE: the epoch with the best accuracy on the test images themselves. Nobody can choose it without the test "
        "labels; it is here to show what choosing it adds.",
    ),
)


def report(epochs: list[dict[str, Any]], protocol: str) -> dict[str, Any] | None:
    """MEASURES, ``recall`` [C] and ``confusion`` [C][C] of the test images, and the ``epoch``s they are from.

    ``epochs`` are the records of one run. None where the protocol cannot be followed (no validation images). A mean
    over epochs sums their confusion matrices; the recall of a class without test images is None.
    """
    found = select(epochs, protocol)
    if found is None:
        return None
    chosen = epochs[-LAST:] if protocol == "mean_last_5" else [found]
    tests = [record["test"] for record in chosen]
    recalls = np.array([test["recall"] for test in tests], dtype=float).mean(0)
    return {
        **{name: float(np.mean([test[name] for test in tests])) for name in MEASURES},
        "recall": [None if np.isnan(value) else float(value) for value in recalls],
        "confusion": np.sum([test["confusion"] for test in tests], axis=0).tolist(),
        "epoch": [record["epoch"] for record in chosen],
    }
