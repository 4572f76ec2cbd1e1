"""Which methods tables, figures and pages show, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.text import counted, natural_key
from fer_bench.plugins.registry import Plugin, choose
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.measures import BY_NAME, Metric, View
from fer_bench.report.significance import find_row
from fer_bench.sweep.trials import best

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fer_bench.store.records import Record
    from fer_bench.sweep.trials import Trials

BY_KEY = "name"
"""The order of the names of methods, in place of a column."""


@dataclass(frozen=True)
class Shown:
    """What a reader chooses of the methods of a sweep.

    Attributes:
        only: Keys of methods, globs and ``family:NAME``; None for all. The others are as if they had not been run:
            they are in no test.
        sort: Name of a condition or of a metric by which rows are sorted, best first, or "name". "" for the first
            column of the first metric.
        top: How many rows are shown; None for all. Baselines stay. The rows that are left out are still in the tests:
            the best of many are not compared as if they had been the only ones.
    """

    only: tuple[str, ...] | None = None
    sort: str = ""
    top: int | None = None

    def __post_init__(self) -> None:
        require(self.top is None or self.top > 0, f"--top {self.top}: at least 1 is needed")

    def arrange(
        self,
        records: Iterable[Record],
        classes: Mapping[str, Sequence[str]],
        plugins: Mapping[str, Plugin],
        view: View,
    ) -> Runs:
        """The runs of the methods that are asked for, arranged and sorted.

        Args:
            records: Finished runs.
            classes: Class names by data set.
            plugins: Methods by key. A method that is not among them has no other name than its key.
            view: Names the first metric and the baseline.

        Raises:
            SpecError: A method, condition or metric is unknown; the message has the nearest.
        """
        chosen = self._chosen(list(records), plugins)
        keys = {record.spec["method"] for record in chosen}
        described = {key: plugins[key].described for key in keys if key in plugins}
        return self.order(arrange(chosen, classes, described), view)

    def trials(
        self, trials: Trials, classes: Mapping[str, Sequence[str]], plugins: Mapping[str, Plugin]
    ) -> tuple[Trials, str]:
        """The trials of the methods that are asked for, sorted by their tuned ones, and a sentence on the order.

        Methods without a complete trial come last, and ``top`` leaves them out. Arguments and errors are those of
        :meth:`arrange`.
        """
        wanted = self.methods(trials, plugins)
        tuned = {method: best(trials[method], "val") for method in wanted}
        records = [record for trial in tuned.values() if trial is not None for record in trial.records]
        if not records:
            return {method: trials[method] for method in wanted}, ""
        runs = replace(self, only=None, top=None).arrange(records, classes, plugins, View())
        top = len(trials) if self.top is None else self.top
        methods = dict(zip(runs.frame["row"], runs.frame["method"], strict=True))
        kept = [methods[row] for place, row in enumerate(runs.rows) if place < top or row in runs.baselines]
        kept += [method for method, trial in tuned.items() if trial is None and self.top is None]
        order = runs.order if self.sort == BY_KEY else runs.order.replace("Sorted by", "Sorted by the tuned settings:")
        if len(kept) < len(trials):
            order = f"{order} {counted(len(kept), 'method')} of {len(trials)} are shown."
        return {method: trials[method] for method in kept}, order

    def methods(self, keys: Iterable[str], plugins: Mapping[str, Plugin]) -> list[str]:
        """Those of the methods ``keys`` that ``only`` asks for, sorted.

        Raises:
            SpecError: A pattern of ``only`` matches none of them.
        """
        if self.only is None:
            return sorted(keys)
        known = {
            key: replace(plugins[key], error="") if key in plugins else Plugin(key, Path(), "") for key in sorted(keys)
        }
        try:
            return choose(self.only, known)
        except SpecError as error:
            raise SpecError(f"--only: {error}") from None

    def _chosen(self, records: list[Record], plugins: Mapping[str, Plugin]) -> list[Record]:
        wanted = self.methods({record.spec["method"] for record in records}, plugins)
        return [record for record in records if record.spec["method"] in wanted]

    def order(self, runs: Runs, view: View) -> Runs:
        """The rows that are asked for, sorted. Arguments and errors as for :meth:`arrange`."""
        rows, order = self._sorted(runs, view)
        baselines = runs.baselines | ({find_row(runs.frame, view.baseline)} if view.baseline else set())
        top = len(rows) if self.top is None else self.top
        kept = [row for place, row in enumerate(rows) if place < top or row in baselines]
        if len(kept) < len(rows):
            order = (
                f"{order} {counted(len(kept), 'row')} of {len(rows)} are shown; bold cells and tests take all of them "
                "into account."
            ).lstrip()
        return runs.show(kept, order)

    def _sorted(self, runs: Runs, view: View) -> tuple[Sequence[str], str]:
        """All rows in order, and a sentence on the order."""
        if self.sort == BY_KEY:
            return sorted(runs.rows, key=lambda row: natural_key(runs.name(row).casefold())), "Sorted by name."
        found = self._column(runs, view)
        if found is None:
            return runs.rows, ""
        metric, condition, values = found
        sign = metric.better or 1
        places = {row: -sign * value for row, value in values.items()}
        rows = sorted(runs.rows, key=lambda row: (row not in places, places.get(row, 0.0)))
        what = metric.title.format(wrong=runs.wrong)
        where = f" ({condition})" if condition else ""
        first = "best first" if metric.better else "highest first"
        return rows, f"Sorted by {what[0].lower()}{what[1:]}{where}, {first}."

    def _column(self, runs: Runs, view: View) -> tuple[Metric, str, dict[str, float]] | None:
        """The metric, the condition and the values by which rows are sorted; None if nothing was asked or measured."""
        metrics = [BY_NAME[self.sort]] if self.sort in BY_NAME else view.chosen
        conditions = [self.sort] if self.sort in runs.conditions else list(runs.conditions)
        names = [*runs.conditions, *BY_NAME, BY_KEY]
        known = not self.sort or self.sort in names
        require(known, f"--sort {self.sort!r}: neither a column nor a metric{nearest(self.sort, names)}")
        for metric in metrics:
            for condition in [""] if metric.cost else conditions:
                part = runs.frame[runs.frame["condition"] == condition] if condition else runs.frame
                values = _means(part, metric.column(view.selections[0]))
                if values:
                    return metric, condition, values
        require(not self.sort, f"--sort {self.sort}: no run has a value")
        return None


ALL = Shown()


def _means(part: pd.DataFrame, column: str) -> dict[str, float]:
    """The mean of a column for each row that has one."""
    import pandas as pd

    means = pd.to_numeric(part[column]).astype(float).groupby(part["row"]).mean().dropna()
    return {str(row): float(value) for row, value in means.items()}
