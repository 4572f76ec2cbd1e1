"""The definition of a paper's table: one TOML file, read strictly.

``benchmarks/`` has the definitions of papers; users write their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fer_bench.core.errors import PluginError, SpecError, nearest, require
from fer_bench.core.presets import load_preset, read_toml
from fer_bench.core.schema import build
from fer_bench.core.spec import Imbalance, Noise, Recipe
from fer_bench.data.catalog import DATASETS
from fer_bench.data.noise.kinds import KINDS
from fer_bench.data.noise.kinds import check as check_noise
from fer_bench.plugins.registry import Plugin, unknown_method
from fer_bench.reproduce import published
from fer_bench.reproduce.published import Number
from fer_bench.store.model_selection import SELECTIONS

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


@dataclass(frozen=True)
class Columns:
    """``[[columns]]``: conditions that differ in noise rate and imbalance only.

    Attributes:
        data: Data set.
        label: The paper's name of the data set; by default the ``dataset`` of its published numbers, or ``data``.
        noise: Kind of label noise.
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
        paper: The paper and the place in it.
        metrics: What is measured.
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
    paper: str
    metrics: tuple[Literal["overall", "mean"], ...] = ("overall",)
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
    for needed in ("title", "paper"):
        require(needed in values, f"{path}: {needed} is missing")
    for part in ("rows", "columns"):
        require(bool(parts[part]), f"{path}: [[{part}]] is missing")
    content = build(Content, values, str(path))
    where = f"{path}: [[rows]]"
    rows = tuple(build(Row, _named(entry, "name", f"{where} {i}"), f"{where} {i}")
                 for i, entry in enumerate(parts["rows"], 1))  # fmt: skip
    numbers = tuple(
        build(Number, {**content.published, **entry}, f"{path}: [[numbers]] {i}")
        for i, entry in enumerate(parts["numbers"], 1)
    )
    columns: list[Column] = []
    for i, entry in enumerate(parts["columns"], 1):
        place = f"{path}: [[columns]] {i}"
        columns += _expand(build(Columns, _named(entry, "data", place), place), content, place)
    table = Definition(path.stem, path, content, rows, tuple(columns), numbers + published.shipped())
    _check(table, plugins)
    return table


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
    require(entry.noise in KINDS, f"{where}.noise = {entry.noise!r}: unknown noise{nearest(entry.noise, KINDS)}")
    kind = KINDS[entry.noise]
    what = "needs rates = [...]" if kind.rate else "has its own rate: leave rates out"
    require(kind.rate == bool(entry.rates), f"{where}: noise {entry.noise!r} {what}")
    require(kind.needs != "file" or bool(entry.noise_file), f"{where}: noise {entry.noise!r} needs noise_file")
    noises = []
    for rate in entry.rates or (0.0,):
        try:
            check_noise(entry.noise, rate, mode)
        except ValueError as error:
            raise SpecError(f"{where}.rates: {error}") from None
        noises.append(Noise(entry.noise, rate, mode) if rate or not kind.rate else Noise("none"))
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
        _at(where, plugins[row.method].configure, "", "", row.settings)


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
