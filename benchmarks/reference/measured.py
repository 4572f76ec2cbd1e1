"""What docs/results.md takes from the records: tables of sweeps, of a tuning, and of a paper's table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reference.columns import Column, of_values
from fer_bench.core.errors import SpecError, require
from fer_bench.plugins.registry import Plugin
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.footnotes import footnotes
from fer_bench.report.joining import join
from fer_bench.report.measures import BY_NAME, DEFAULT, View
from fer_bench.report.rendering import Cell, Table
from fer_bench.report.shown import Shown
from fer_bench.report.tables import comparison
from fer_bench.report.training_data import draws
from fer_bench.report.trials import COLUMNS, MEASURES, outcome, trial_table
from fer_bench.reproduce.definition import Definition
from fer_bench.sweep.record import Sweep, find_sweep
from fer_bench.sweep.trials import Trials, trials_of, values_of

VIEW = View(metrics=(*DEFAULT, "detection_auroc"))
"""The committed tables, and how well wrong labels are found."""


@dataclass(frozen=True)
class Measured:
    """The finished runs of one sweep, or of several together.

    Attributes:
        sweeps: The sweeps; none if one of them has not been trained.
        plugins: Methods by key.
    """

    sweeps: tuple[Sweep, ...]
    plugins: Mapping[str, Plugin]

    @property
    def trained(self) -> bool:
        """Whether there are runs."""
        return bool(self.sweeps)

    @cached_property
    def runs(self) -> Runs:
        """The arranged runs."""
        together = join(self.sweeps)
        return Shown().arrange(together.records, together.classes, self.plugins, VIEW)

    @cached_property
    def table(self) -> Table:
        """The table that ``fer-bench table`` makes."""
        return comparison(self.runs, VIEW)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Keys of the methods."""
        return self.runs.rows if self.trained else ()

    @property
    def names(self) -> list[str]:
        """Names of the sweeps."""
        return [sweep.name for sweep in self.sweeps]

    def column(self, metric: str, condition: str) -> Column:
        """A metric at the last epoch under one condition; empty if no run has it."""
        about = BY_NAME[metric]
        cells = self._cells(about.heading("last", self.runs.wrong), condition)
        values = self._means(about.column("last"), condition)
        return Column(cells, values, self._names, about.better, about.digits)

    def cost(self, metric: str, condition: str) -> Column:
        """A cost of one run under one condition."""
        about = BY_NAME[metric]
        return of_values(self._means(metric, condition), self._names, about.better, f".{about.digits}f")

    def mean_of(self, column: str, condition: str) -> dict[str, float]:
        """Means of a column of ``runs.csv`` that holds fractions, by row, in %."""
        frame = self.runs.frame[self.runs.frame["condition"] == condition]
        means = 100 * pd.to_numeric(frame[column]).groupby(frame["row"]).mean()
        return {str(row): float(mean) for row, mean in means.items()}

    def texts(self, method: str, shown: Iterable[tuple[str, str]]) -> list[str]:
        """Cells of a method: metrics and conditions."""
        return [self.column(metric, condition).cells[method].text for metric, condition in shown]

    def purity(self, condition: str, label: str) -> float:
        """Share of correct labels among those of a class in %."""
        numbers = self.table.numbers
        found = numbers[(numbers["metric"] == "purity") & (numbers["condition"] == condition)]
        return float(found.set_index("class")["mean"][label])

    def wrong(self, condition: str) -> float:
        """Share of wrong labels in %."""
        frame = self.runs.frame
        return 100 * float(frame.loc[frame["condition"] == condition, "realised_rate"].iloc[0])

    def most_confused(self, condition: str, label: str) -> tuple[str, float]:
        """The class that images of a class are most often mislabelled as, and its share of their wrong labels in %."""
        draw = next(each for each in draws(self.runs) if each.condition == condition)
        place = list(draw.classes).index(label)
        require(draw.confusion is not None, f"{condition}: the labels are not stored")
        counts = {name: count for name, count in zip(draw.classes, draw.confusion[place], strict=True) if name != label}
        name = max(counts, key=lambda each: counts[each])
        return name, 100 * counts[name] / sum(counts.values())

    def setting(self, method: str, name: str) -> Any:
        """A setting of a method, in its first run."""
        frame = self.runs.frame
        return json.loads(frame.loc[frame["row"] == method, "config"].iloc[0])[name]

    @cached_property
    def _names(self) -> dict[str, str]:
        signs = footnotes(self.runs)
        return {row: signs.name(row) for row in self.runs.rows}

    def _cells(self, title: str, heading: str) -> dict[str, Cell]:
        """The cells of a column, by row."""
        for block in self.table.blocks:
            if block.title == title and heading in block.columns:
                place = block.columns.index(heading)
                return {row: cells[place] for row, (_, cells) in zip(self.runs.rows, block.rows, strict=True)}
        return {}

    def _means(self, metric: str, condition: str) -> dict[str, float]:
        """Means behind the cells, by row."""
        numbers = self.table.numbers
        mine = numbers[(numbers["metric"] == metric) & (numbers["condition"] == condition)]
        return {str(row): float(mean) for row, mean in zip(mine["row"], mine["mean"], strict=True)}


@dataclass(frozen=True)
class Tuned:
    """The trials of a tuning."""

    sweep: Sweep
    plugins: Mapping[str, Plugin]

    @cached_property
    def trials(self) -> Trials:
        """Trials by method, of the methods whose default is trained."""
        return {key: each for key, each in trials_of(self.sweep).items() if outcome(each).default is not None}

    @cached_property
    def table(self) -> Table:
        """The table that ``fer-bench table`` makes."""
        return trial_table(self.trials, self.sweep.tuning)

    def column(self, measure: str, condition: str, which: str) -> Column:
        """Test accuracy of the trials "default", "tuned" or "oracle" under one condition."""
        title = f"{MEASURES[measure]} on test, last epoch (%): {condition}"
        block = next(block for block in self.table.blocks if block.title == title)
        place = next(place for place, name in enumerate(COLUMNS) if name.startswith(which))
        numbers = self.table.numbers
        mine = numbers[(numbers["column"] == which) & (numbers["condition"] == condition)]
        values = {str(key): float(mean) for key, mean in mine.groupby("method")[f"test_{measure}"].mean().items()}
        cells = {key: row[place] for key, (_, row) in zip(self.trials, block.rows, strict=True)}
        return Column(cells, values, self._names)

    def columns(self, measure: str, condition: str) -> list[Column]:
        """The columns of the three trials."""
        return [self.column(measure, condition, which) for which in ("default", "tuned", "oracle")]

    @cached_property
    def searched(self) -> list[str]:
        """Keys of the methods for which the budget allowed more than the default trial."""
        return [key for key, trials in self.trials.items() if len(trials) > 1]

    @cached_property
    def unsearched(self) -> list[str]:
        """Keys of the other methods."""
        return [key for key in self.trials if key not in self.searched]

    def chosen(self, method: str) -> dict[str, Any]:
        """The values of the tuned trial."""
        trial = outcome(self.trials[method]).tuned
        return {} if trial is None else values_of(trial)

    def spent(self, method: str) -> float:
        """The measured cost of all trials of a study, in cross-entropy runs."""
        return sum(trial.cost for trial in self.trials[method])

    def default(self, method: str) -> dict[str, Any]:
        """The method's values in the default trial."""
        return dict(self.trials[method][0].records[0].spec["config"])

    @cached_property
    def _names(self) -> dict[str, str]:
        """Names with marks: those of the trials with default settings."""
        records = [record for trials in self.trials.values() for record in trials[0].records]
        runs = arrange(records, methods={key: self.plugins[key].described for key in self.trials})
        signs = footnotes(runs)
        return {row: signs.name(row) for row in runs.rows}


def between_devices(one: Measured, other: Measured) -> tuple[float, float]:
    """How far the same runs differ between types of processor, in points of overall accuracy.

    Returns:
        The largest difference of a run that both have, and of the means of a row in a condition.
    """
    columns = ["key", "row", "condition", "device", "test_overall"]
    both = one.runs.frame[columns].merge(other.runs.frame[columns], on=["key", "row", "condition"])
    both = both[both["device_x"] != both["device_y"]]
    gaps = 100 * (both["test_overall_x"] - both["test_overall_y"]).astype(float)
    return float(gaps.abs().max()), float(gaps.groupby([both["row"], both["condition"]]).mean().abs().max())


def gains(definition: Definition, runs: Path, data: str) -> dict[float, tuple[Column, Column]]:
    """Measured and published points over the baseline by noise rate, of a table of a paper.

    Args:
        definition: The table.
        runs: The ``runs.csv`` of its measured runs.
        data: The data set of the published columns.
    """
    frame = pd.read_csv(runs)
    overall = 100 * frame.groupby(["method", "noise_rate"])["test_overall"].mean()
    found = {}
    for column in definition.columns:
        if column.data == data:
            rate = column.noise.rate
            measured, published = {}, {}
            for row in definition.rows:
                number = definition.number(row, column)
                if (row.method, rate) in overall and number is not None and number.overall_acc is not None:
                    measured[row.name], published[row.name] = float(overall[row.method, rate]), number.overall_acc
            found[rate] = _over(definition.content.baseline, measured), _over(definition.content.baseline, published)
    return found


def _over(baseline: str, values: Mapping[str, float]) -> Column:
    over = {name: value - values[baseline] for name, value in values.items()}
    return of_values(over, {name: name for name in over}, form="+.2f")


@cache
def trained(out: Path, name: str) -> Sweep | None:
    """A sweep; None if it has no finished run."""
    try:
        found = find_sweep(out, name)
    except SpecError:
        return None
    return found if found.records() else None
