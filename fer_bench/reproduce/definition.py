"""The definition of a paper's table: one TOML file, read strictly.

``benchmarks/`` has the definitions of papers; users write their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fer_bench.core.errors import PluginError, SpecError, nearest, require
from fer_bench.core.presets import load_preset, read_toml
from fer_bench.core.schema import build
from fer_bench.core.spec import Imbalance, Noise, Recipe
from fer_bench.data.catalog import DATASETS
from fer_bench.data.noise.kinds import KINDS, find_kind
from fer_bench.data.noise.kinds import check as check_noise
from fer_bench.plugins.registry import Plugin, unknown_method
from fer_bench.report.measures import BY_NAME, SHOWN, Metric
from fer_bench.reproduce import published
from fer_bench.reproduce.published import Number
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.sweep.variants import variant_from

NO_WEIGHTS = "none"
"""Name of random initial weights."""


@dataclass(frozen=True)
class Row:
    """``[[rows]]``: a method with its settings.

    Attributes:
        name: Name of the row.
        method: Key of the method; "" for a method of the paper that fer-bench does not have.
        settings: Hyper-parameters that differ from the method's defaults.
        backbone: Network, if it is not the column's.
        baseline: Name of the row that gains are over, if it is not the table's.
        published: Fields of the published numbers of this row. ``method`` is the row's name by default.
    """

    name: str
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = ""
    baseline: str = ""
    published: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """One condition: a data set with noise and imbalance, and the network if the table names one."""

    data: str
    label: str
    noise: Noise
    noise_file: Path | None
    imbalance: Imbalance
    backbone: str
    image_size: int | None
    weights: str
    published: Mapping[str, Any]

    @property
    def imbalance_text(self) -> str:
        """Its imbalance in words, "" for none."""
        return "" if self.imbalance.factor == 1 else f"{self.imbalance.kind} imbalance {self.imbalance.factor:g}"

    @property
    def details(self) -> tuple[str, str]:
        """What tells columns apart that are otherwise the same: the size of the images, and the file of the noise."""
        return f"{self.image_size} px" if self.image_size else "", str(self.noise_file or "")


@dataclass(frozen=True)
class Columns:
    """``[[columns]]``: conditions that differ in noise rate and imbalance only.

    Attributes:
        data: Data set.
        label: The paper's name of the data set; by default the ``dataset`` of its published numbers, or ``data``.
        noise: Kind of label noise; names that papers use are understood.
        rates: Noise rates.
        noise_file: File that the kind of noise reads.
        imbalance: Imbalance factors.
        imbalance_type: Kind of imbalance.
        backbone: Network.
        image_size: Side of the images in pixels.
        weights: Name of the paper's initial weights; "none" for random ones; the table's by default.
        published: Fields of the published numbers of these columns.
    """

    data: str
    label: str = ""
    noise: str = "none"
    rates: tuple[float, ...] = ()
    noise_file: str = ""
    imbalance: tuple[float, ...] = (1.0,)
    imbalance_type: Literal["exp", "step"] = "exp"
    backbone: str = ""
    image_size: int | None = None
    weights: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """The top of the file.

    Attributes:
        title: Title of the table.
        paper: The paper and the place in it; "" for a table that is of no paper.
        metrics: Names of metrics, see ``fer_bench.report.measures.SHOWN``, or "all".
        layout: "columns" shows the columns beside each other, "lines" the conditions below each other.
        selection: Key of the reported epoch, see ``fer_bench.store.model_selection``.
        seeds: Training seeds.
        noise_mode: How noise is drawn.
        weights: Name of the paper's initial weights; "" if it is not known, "none" for random ones.
        baseline: Name of the row that gains are over.
        note: What a reader should know of the table.
        recipe: ``preset``, and the settings of it that differ.
        published: Fields that all published numbers of the table share, such as paper and table.
    """

    title: str
    paper: str = ""
    metrics: tuple[str, ...] = ("overall",)
    layout: Literal["columns", "lines"] = "columns"
    selection: str = "last"
    seeds: tuple[int, ...] = (0, 1, 2)
    noise_mode: Literal["exact", "bernoulli"] = "exact"
    weights: str = ""
    baseline: str = ""
    note: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """A table with its rows, its columns and the published numbers that may belong to it."""

    id: str
    path: Path
    content: Content
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    numbers: tuple[Number, ...]

    def number(self, row: Row, column: Column) -> Number | None:
        """The published number of a cell, if one was seen."""
        wanted = self._wanted(row, column)
        return published.find(wanted, self.numbers, f"{self.path}: {row.name}, {column.label}") if wanted else None

    def _wanted(self, row: Row, column: Column) -> dict[str, Any]:
        if not self.content.published and not column.published:
            return {}
        kind, factor = column.noise.kind, column.imbalance.factor
        return {
            "noise_type": kind,
            "noise_rate": column.noise.rate,
            "imbalance_factor": None if factor == 1 else factor,
            "method": row.name,
            "dataset": Path(column.data).name,
            **self.content.published,
            **column.published,
            **row.published,
        }

    @property
    def metrics(self) -> list[Metric]:
        """What is measured, in the order of the file."""
        names = SHOWN if "all" in self.content.metrics else dict.fromkeys(self.content.metrics)
        return [BY_NAME[name] for name in names]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """A name for each column: the parts in which columns differ."""
        parts = [_parts(column) for column in self.columns]
        for count in (len(parts[0]) - 2, len(parts[0])):  # size and file of the noise only where they are needed
            shown = [place for place in range(count) if len({each[place] for each in parts}) > 1]
            names = [", ".join(each[place] for place in shown if each[place]) for each in parts]
            if len(set(names)) == len(names):
                break
        return tuple(name or column.noise.label for name, column in zip(names, self.columns, strict=True))

    def baseline(self, row: Row) -> Row | None:
        """The row that gains of ``row`` are over, if there is one."""
        name = row.baseline or self.content.baseline
        return next((r for r in self.rows if r.name == name), None)

    @property
    def preset(self) -> str:
        """Name of the table's preset."""
        return self.content.recipe.get("preset", "paper")

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings of the preset that the table changes."""
        return {name: value for name, value in self.content.recipe.items() if name != "preset"}


def _parts(column: Column) -> tuple[str, ...]:
    weights = {NO_WEIGHTS: "no pre-training"}.get(column.weights, column.weights)
    condition = (column.noise.label, column.imbalance_text)
    return (column.label, weights, column.backbone, *condition, *column.details)


def available() -> dict[str, Path]:
    """The definitions that fer-bench has, by id."""
    return {path.stem: path for path in sorted(published.benchmarks().glob("*.toml"))}


def load(name: str, plugins: Mapping[str, Plugin]) -> Definition:
    """Loads a table.

    Args:
        name: Its id, or the path of a TOML file.
        plugins: Methods by key.

    Raises:
        SpecError: The definition is wrong; the message names the file, the value and the nearest valid one.
    """
    if not name.endswith(".toml"):
        known = available()
        require(name in known, f"unknown table {name!r}{nearest(name, known)}; or give a .toml file")
    path = Path(name) if name.endswith(".toml") else available()[name]
    values = dict(read_toml(path))
    parts = {part: _tables(values.pop(part, []), f"{path}: [[{part}]]") for part in ("rows", "columns", "numbers")}
    require("title" in values, f"{path}: title is missing")
    for part in ("rows", "columns"):
        require(bool(parts[part]), f"{path}: [[{part}]] is missing")
    content = build(Content, values, str(path))
    where = f"{path}: [[rows]]"
    rows = tuple(build(Row, _named(entry, "name", f"{where} {i}"), f"{where} {i}")
                 for i, entry in enumerate(parts["rows"], 1))  # fmt: skip
    numbers = tuple(
        _number({**content.published, **entry}, f"{path}: [[numbers]] {i}")
        for i, entry in enumerate(parts["numbers"], 1)
    )
    columns: list[Column] = []
    for i, entry in enumerate(parts["columns"], 1):
        place = f"{path}: [[columns]] {i}"
        columns += _expand(build(Columns, _named(entry, "data", place), place), content, place)
    table = Definition(path.stem, path, content, rows, _labelled(columns), numbers + published.shipped())
    _check(table, plugins)
    return table


def _number(values: dict[str, Any], where: str) -> Number:
    """A published number of the file, with the kind of noise under the name that it has here."""
    number = build(Number, values, where)
    return replace(number, noise_type=_kind(number.noise_type, f"{where}.noise_type"))


def _kind(name: str, where: str) -> str:
    try:
        return find_kind(name)
    except ValueError as error:
        raise SpecError(f"{where} = {name!r}: {error}") from None


def _labelled(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns; data sets that share a label have as much of their paths in it as tells them apart."""
    found = []
    for column in columns:
        others = [Path(c.data).parts for c in columns if c.label == column.label and c.data != column.data]
        own, size = Path(column.data).parts, 1
        while any(other[-size:] == own[-size:] for other in others) and size < len(own):
            size += 1
        found.append(replace(column, label=f"{column.label} ({'/'.join(own[-size:])})") if others else column)
    return tuple(found)


def _tables(value: Any, where: str) -> list[dict[str, Any]]:
    require(isinstance(value, list) and all(isinstance(v, dict) for v in value), f"{where} must be an array of tables")
    return value


def _named(entry: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    require(name in entry, f"{where}: {name} is missing")
    return entry


def _expand(entry: Columns, content: Content, where: str) -> list[Column]:
    """One column for each rate and imbalance factor."""
    known = entry.data in DATASETS or Path(entry.data).exists()
    require(known, f"{where}.data = {entry.data!r} is neither a data set nor a path{nearest(entry.data, DATASETS)}")
    noises = _noises(entry, content.noise_mode, where)
    try:
        imbalances = [Imbalance(entry.imbalance_type, factor) for factor in entry.imbalance]
    except SpecError as error:
        raise SpecError(f"{where}.imbalance: {error}") from None
    theirs = {**content.published, **entry.published}.get("dataset")
    return [
        Column(
            data=entry.data,
            label=entry.label or theirs or Path(entry.data).name,
            noise=noise,
            noise_file=Path(entry.noise_file) if entry.noise_file else None,
            imbalance=imbalance,
            backbone=entry.backbone,
            image_size=entry.image_size,
            weights=content.weights if entry.weights is None else entry.weights,
            published=entry.published,
        )
        for noise in noises
        for imbalance in imbalances
    ]


def _noises(entry: Columns, mode: Literal["exact", "bernoulli"], where: str) -> list[Noise]:
    """The noise of each rate; rate 0 is clean."""
    name = _kind(entry.noise, f"{where}.noise")
    kind = KINDS[name]
    what = "needs rates = [...]" if kind.rate else "has its own rate: leave rates out"
    require(kind.rate == bool(entry.rates), f"{where}: noise {entry.noise!r} {what}")
    require(kind.needs != "file" or bool(entry.noise_file), f"{where}: noise {entry.noise!r} needs noise_file")
    noises = []
    for rate in entry.rates or (0.0,):
        try:
            check_noise(name, rate, mode)
        except ValueError as error:
            raise SpecError(f"{where}.rates: {error}") from None
        noises.append(Noise(name, rate, mode) if rate or not kind.rate else Noise("none"))
    return noises


def _check(table: Definition, plugins: Mapping[str, Plugin]) -> None:
    """Checks what one part of the file says of another, or of fer-bench.

    Raises:
        SpecError: A name or value is unknown, or two published numbers fit one cell.
    """
    from fer_bench.models.networks import check_backbone

    path, content = table.path, table.content
    names = [row.name for row in table.rows]
    require(len(set(names)) == len(names), f"{path}: two [[rows]] have one name")
    chosen, base = content.selection, content.baseline
    require(chosen in SELECTIONS, f"{path}: selection = {chosen!r}{nearest(chosen, SELECTIONS)}")
    require(bool(content.seeds), f"{path}: seeds is empty")
    require(bool(content.metrics), f"{path}: metrics is empty")
    for metric in content.metrics:
        known = (*SHOWN, "all")
        require(metric in known, f"{path}: metrics: unknown metric {metric!r}{nearest(metric, known)}")
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    require(not twice, f"{path}: two [[columns]] are the same: {', '.join(twice)}")
    require(isinstance(table.preset, str), f"{path}: [recipe].preset = {table.preset!r} is not of type str")
    _at(f"{path}: [recipe]", load_preset, table.preset, **table.overrides)
    require(base in ("", *names), f"{path}: baseline = {base!r}{nearest(base, names)}")
    published.check(content.published, table.numbers, f"{path}: [published]")
    for i, row in enumerate(table.rows, 1):
        _check_row(table, row, plugins, f"{path}: [[rows]] {i}")
    for column in table.columns:
        published.check(column.published, table.numbers, f"{path}: [[columns]].published")
        if column.backbone:
            _at(f"{path}: [[columns]]", check_backbone, column.backbone)
        for row in table.rows:
            table.number(row, column)  # raises for two that fit one cell


def _check_row(table: Definition, row: Row, plugins: Mapping[str, Plugin], where: str) -> None:
    from fer_bench.models.networks import check_backbone

    names = [each.name for each in table.rows]
    require(row.baseline in ("", *names), f"{where}.baseline = {row.baseline!r}{nearest(row.baseline, names)}")
    published.check(row.published, table.numbers, f"{where}.published")
    if row.backbone:
        _at(where, check_backbone, row.backbone)
    if not row.method:
        require(not row.settings, f"{where}: settings without a method")
        return
    require(row.method in plugins, f"{where}.method: {unknown_method(row.method, plugins)}")
    with suppress(PluginError):  # the row of a broken method says that it was not measured
        plugin = plugins[row.method]
        variant = variant_from(row.settings, f"{where}.settings", plugin.load().Config)
        _at(where, plugin.configure, "", "", variant.settings)


def _at(where: str, check: Callable[..., object], *arguments: Any, **named: Any) -> None:
    """Calls ``check``; its SpecError names the place in the file."""
    try:
        check(*arguments, **named)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def own_recipe(table: Definition, row: Row, column: Column) -> Recipe:
    """The recipe of a cell as the table has it, without weights."""
    network = {"backbone": row.backbone or column.backbone or None, "image_size": column.image_size}
    return load_preset(table.preset, **{**table.overrides, **{k: v for k, v in network.items() if v is not None}})
