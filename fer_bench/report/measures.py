"""The one list of metrics, and what a reader chooses to see of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fer_bench.core.errors import nearest, require
from fer_bench.report.statistics import INTERVALS, TESTS, UNITS
from fer_bench.report.wording import sentence_case
from fer_bench.store.label_scores import ALWAYS, SCORES
from fer_bench.store.model_selection import SELECTIONS

SPREADS = ("sd", "interval")


@dataclass(frozen=True)
class Metric:
    """One measured quantity of a run.

    Attributes:
        name: Name in options and in the CSV.
        title: Name in headings; ``{wrong}`` stands for :func:`fer_bench.report.wording.wrong_labels`.
        unit: Unit of the shown values.
        scale: Factor from the stored value to ``unit``.
        digits: Decimals that are shown.
        by_epoch: Whether it depends on the selected epoch.
        better: 1 if higher is better, -1 if lower is better, 0 if neither.
        compared: Whether methods are tested on it and the best one is bold.
        cost: Whether it is a cost of training, with a block of its own.
    """

    name: str
    title: str
    unit: str = "%"
    scale: float = 100
    digits: int = 2
    by_epoch: bool = False
    better: int = 0
    compared: bool = False
    cost: bool = False

    def column(self, selection: str) -> str:
        """The column of the runs that holds it."""
        return SELECTIONS[selection].column(self.name) if self.by_epoch else self.name

    def label(self, wrong: str) -> str:
        """Title and unit; ``wrong`` names the wrong labels."""
        return f"{sentence_case(self.title.format(wrong=wrong))} ({self.unit})"

    def heading(self, selection: str, wrong: str) -> str:
        """Title, unit, and the selected epoch where that matters."""
        return self.label(wrong) + (f", {SELECTIONS[selection].title}" if self.by_epoch else "")


def _test_metric(name: str, title: str, better: int, unit: str = "%", scale: float = 100, digits: int = 2) -> Metric:
    """A metric of the test set on which methods are compared."""
    return Metric(name, title, unit, scale, digits, by_epoch=True, better=better, compared=True)


def _cost(name: str, title: str, unit: str, scale: float = 1, better: int = -1) -> Metric:
    return Metric(name, title, unit, scale, digits=0, better=better, cost=True)


def _detection(by: str = "") -> tuple[Metric, ...]:
    """How well a score of labels finds the wrong ones: the score that the method itself gives, or the one named."""
    name, title = (f"_{by}", f" by {SCORES[by]}") if by else ("", "")
    return (
        Metric(f"detection_auroc{name}", f"Detection of {{wrong}}{title}, AUROC", better=1, compared=True),
        Metric(f"detection_ap{name}", f"Detection of {{wrong}}{title}, average precision", better=1, compared=True),
        Metric(f"detection_missed{name}", f"Missed {{wrong}}{title}", better=-1, compared=True),
    )


METRICS = (
    _test_metric("overall", "Overall accuracy", 1),
    _test_metric("mean", "Mean accuracy over classes", 1),
    Metric("gap", "Gap to the oracle epoch", "points", by_epoch=True, better=-1),
    Metric("memorised", "Memorised {wrong}", better=-1),
    _test_metric("macro_f1", "Macro F1", 1),
    _test_metric("worst", "Worst-class accuracy", 1),
    _test_metric("head", "Head-class accuracy", 1),
    _test_metric("tail", "Tail-class accuracy", 1),
    _test_metric("ece", "Expected calibration error", -1),
    _test_metric("nll", "Negative log-likelihood", -1, "nats", 1, 3),
    *_detection(),
    *(metric for by in ALWAYS for metric in _detection(by)),
    Metric("fit_noisy", "Training accuracy on the noisy labels"),
    Metric("fit_clean", "Training accuracy on the clean labels"),
    _cost("parameters", "Parameters", "parameters"),
    _cost("images_forward", "Images, forward", "images"),
    _cost("images_backward", "Images, backward", "images"),
    _cost("seconds", "Time", "s"),
    _cost("peak_memory_bytes", "Peak memory", "MB", 1e-6),
    _cost("skipped_steps", "Skipped steps", "steps", better=0),
)
"""All metrics, in the order in which tables show them."""

BY_NAME = {metric.name: metric for metric in METRICS}

SHOWN = tuple(metric.name for metric in METRICS if not metric.cost)
"""Names that a reader can choose; costs always have their own block."""

DEFAULT = ("overall", "mean", "gap", "memorised")


@dataclass(frozen=True)
class View:
    """What is shown of the runs, and how methods are compared.

    Attributes:
        selections: Keys of ``SELECTIONS``: which epochs are reported. Tests are on the first.
        metrics: Names of ``SHOWN``, or "all".
        baseline: Method key or row that the others are tested against; "" tests each against the best.
        test: See ``statistics.TESTS``.
        interval: See ``statistics.INTERVALS``.
        unit: See ``statistics.UNITS``.
        spread: What follows a mean: "sd" for its standard deviation, or "interval" for the 95 % interval.

    Raises:
        SpecError: A name is unknown; the message has the nearest one.
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
        return [BY_NAME[name] for name in SHOWN if "all" in self.metrics or name in self.metrics]

    def variants(self, metric: Metric) -> list[str]:
        """The selections for which a metric is shown: the first only if it does not depend on the selected epoch."""
        if not metric.by_epoch:
            return [self.selections[0]]
        # the gap of the best test epoch to itself is 0
        return [key for key in dict.fromkeys(self.selections) if (metric.name, key) != ("gap", "best_test")]
