"""Measured and published numbers of each cell of a paper's table, and what differs between the two."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import Any

from fer_bench.core.spec import weights_name
from fer_bench.report.measures import Metric
from fer_bench.report.rendering import MISSING
from fer_bench.reproduce.definition import Column, Row
from fer_bench.reproduce.plan import Grid, Slot
from fer_bench.reproduce.published import Number
from fer_bench.store.model_selection import SELECTIONS

Place = tuple[str, int]
"""A cell: the name of its row and the index of its column."""


@dataclass(frozen=True)
class Measured:
    """Measured values of one cell in the unit of their metric, one for each run, and how many decimals are shown."""

    values: tuple[float, ...] = ()
    digits: int = 2

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Standard deviation with divisor n - 1; None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, sign: str = "", usual: int = 0) -> str:
        """Mean, standard deviation and number of runs.

        Args:
            sign: "+" writes the sign of positive values.
            usual: The number of runs that is not written.
        """
        if not self.values:
            return MISSING
        spread = "" if self.sd is None else f" ± {self.sd:.{self.digits}f}"
        runs = "" if len(self.values) == usual else f" (n={len(self.values)})"
        return f"{self.mean:{sign}.{self.digits}f}{spread}{runs}"


@dataclass(frozen=True)
class Entry:
    """One cell of the table under one metric.

    Attributes:
        slot: The cell with its row, column and recipe.
        place: The name of its row and the index of its column.
        metric: What is measured.
        measured: Measured values.
        gain: Measured less the baseline, paired by seed.
        number: Published number, if one was seen.
        published_gain: Published gain over the baseline of the same published table.
        remarks: What differs between the measured and the published number, or is doubtful.
        mark: Letters of the remarks, as a cell shows them.
    """

    slot: Slot
    place: Place
    metric: Metric
    measured: Measured
    gain: Measured
    number: Number | None
    published_gain: float | None
    remarks: tuple[str, ...]
    mark: str

    @property
    def row(self) -> Row:
        """Its row."""
        return self.slot.row

    @property
    def column(self) -> Column:
        """Its column."""
        return self.slot.column

    @property
    def published(self) -> float | None:
        """Published accuracy in %."""
        return self.number.value(self.metric.name) if self.number else None

    @property
    def difference(self) -> float | None:
        """Measured minus published; None unless both are of one data set."""
        if self.published is None or not self.measured.values or self.slot.dataset != self.column.data:
            return None
        return self.measured.mean - self.published


class Letters:
    """Letters for remarks; equal remarks share a letter."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def __call__(self, texts: Sequence[str]) -> str:
        """The letters of some remarks as a cell shows them, `` [ab]``; "" without a remark."""
        for text in texts:
            place = len(self.texts)
            letter = ascii_letters[place] if place < len(ascii_letters) else f"({place})"
            self.texts.setdefault(text, letter)
        return f" [{''.join(sorted(self.texts[text] for text in texts))}]" if texts else ""

    def legend(self) -> tuple[str, ...]:
        """One sentence for each letter."""
        return tuple(f"[{letter}] {text}." for text, letter in self.texts.items())


def compare(grid: Grid, runs: Mapping[Place, Sequence[Mapping[str, Any]]]) -> tuple[list[Entry], tuple[str, ...]]:
    """Every cell under every metric, and the legend of their letters.

    Args:
        grid: The planned table.
        runs: Rows of the finished runs of each cell, as ``fer_bench.store.row.to_row`` makes them.
    """
    table, letters = grid.table, Letters()
    entries = [
        _entry(grid, runs, (row.name, place), metric, letters)
        for metric in table.metrics
        for place in range(len(table.columns))
        for row in table.rows
    ]
    return entries, letters.legend()


def _entry(
    grid: Grid, runs: Mapping[Place, Sequence[Mapping[str, Any]]], place: Place, metric: Metric, letters: Letters
) -> Entry:
    table, slot = grid.table, grid.by_place[place]
    row, column = slot.row, slot.column
    measured = _by_seed(runs[place], metric, grid.selection)
    number, base = table.number(row, column), table.baseline(row)
    gain, published_gain = Measured(digits=metric.digits), None
    if base is not None and base is not row:
        base_place = (base.name, place[1])
        if grid.by_place[base_place].recipe == slot.recipe:
            over = _by_seed(runs[base_place], metric, grid.selection)
            paired = tuple(value - over[seed] for seed, value in measured.items() if seed in over)
            gain = Measured(paired, metric.digits)
        published_gain = _published_gain(number, table.number(base, column), metric.name)
    seen = number is not None and number.value(metric.name) is not None
    remarks = _remarks(slot, number, bool(measured), grid.selection) if number and seen else []
    values = Measured(tuple(measured.values()), metric.digits)
    return Entry(slot, place, metric, values, gain, number, published_gain, tuple(remarks), letters(remarks))


def _by_seed(rows: Sequence[Mapping[str, Any]], metric: Metric, selection: str) -> dict[tuple[int, int], float]:
    """What each (data seed, seed) measured, in the unit of the metric."""
    name = metric.column(selection)
    return {(run["data_seed"], run["seed"]): metric.scale * run[name] for run in rows if run[name] is not None}


def _published_gain(number: Number | None, base: Number | None, metric: str) -> float | None:
    """Gain over the paper's own baseline; None if the two are known to be of different networks."""
    value, over = (n.value(metric) if n else None for n in (number, base))
    if value is None or over is None or number is None or base is None:
        return None
    if number.backbone and base.backbone and number.backbone != base.backbone:
        return None
    return value - over


def _remarks(slot: Slot, number: Number, measured: bool, selection: str) -> list[str]:
    """Where the published number and the measured one are, or may be, of different things."""
    parts = []
    if measured:
        recipe = slot.recipe
        if slot.dataset != slot.column.data:
            parts.append(f"measured on {Path(slot.dataset).name}, published on {number.dataset}")
        if number.num_classes is None:
            parts.append(f"{slot.classes} classes here, number of classes of the paper unknown")
        elif number.num_classes != slot.classes:
            parts.append(f"{slot.classes} classes here, {number.num_classes} in the paper")
        if _letters_only(number.backbone) != _letters_only(recipe.backbone):
            parts.append(_both(f"network {recipe.backbone}", number.backbone, "network"))
        parts.append(_both(weights_name(recipe.pretrained), number.pretrain, "weights"))
        if number.selection != selection:
            theirs = SELECTIONS[number.selection].title if number.selection else ""
            parts.append(_both(SELECTIONS[selection].title, theirs, "choice of epoch"))
    return parts + ([f"published number: {number.doubt}"] if number.doubt else [])


def _both(here: str, there: str, what: str) -> str:
    return f"{here} here, {there} in the paper" if there else f"{here} here, {what} of the paper unknown"


def _letters_only(backbone: str) -> str:
    return "".join(c for c in backbone.lower() if c.isalnum())
