"""What can be measured of a run, and what a reader chose to see of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fer_bench.core.errors import nearest, require
from fer_bench.report.statistics import INTERVALS, TESTS, UNITS
from fer_bench.store.model_selection import SELECTIONS

SPREADS = ("sd", "interval")


@dataclass(frozen=True)
class Metric:
    """A measured quantity of the runs; ``scale`` turns it into ``unit``.

    title    of its block; metrics without one stand in the block of costs or only in the csv
    by_epoch whether it depends on which epoch is selected
    better   +1 higher is better, -1 lower is better, 0 neither: not compared and never bold
    """

    name: str
    unit: str = "%"
    scale: float = 100
    title: str = ""
    by_epoch: bool = False
    better: int = 0

    def column(self, selection: str) -> str:
        """The column of the runs that holds it."""
        return SELECTIONS[selection].column(self.name) if self.by_epoch else self.name

    def heading(self, selection: str) -> str:
        when = f", {SELECTIONS[selection].title}" if self.by_epoch else ""
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

    selections which epochs are reported, keys of SELECTIONS; tests are on the first
    metrics    names of SHOWN, or "all"
    baseline   method key (or row) that the others are tested against; "" = each against the best
    test, interval, unit   see ``statistics``
    spread     behind a mean: its standard deviation, or the 95 % interval
    """

    selections: tuple[str, ...] = ("last",)
    metrics: tuple[str, ...] = DEFAULT
    baseline: str = ""
    test: str = "sign-flip"
    interval: str = "t"
    unit: str = "seed"
    spread: str = "sd"

    def __post_init__(self) -> None:
        known: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
            ("selection", self.selections, SELECTIONS),
            ("metric", self.metrics, (*SHOWN, "all")),
            ("test", [self.test], TESTS),
            ("interval", [self.interval], INTERVALS),
            ("unit", [self.unit], UNITS),
            ("spread", [self.spread], SPREADS),
        )
        for what, values, names in known:
            for value in values:
                require(value in names, f"unknown {what} {value!r}{nearest(value, names)}")
        require(bool(self.selections), "no selection is named; there are: " + ", ".join(SELECTIONS))
        require(bool(self.metrics), "no metric is named; there are: " + ", ".join(SHOWN))

    @property
    def chosen(self) -> list[Metric]:
        """The metrics to show, in the order of METRICS."""
        return [metric for metric in METRICS if metric.title and ("all" in self.metrics or metric.name in self.metrics)]

    def variants(self, metric: Metric) -> list[str]:
        """The selections under which a metric is shown: one where it does not depend on them."""
        return list(dict.fromkeys(self.selections)) if metric.by_epoch else [self.selections[0]]
