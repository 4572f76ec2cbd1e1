"""From a table and a budget to runs: which are wanted, what cannot be measured and why, and what was reduced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fer_bench.core.errors import DataError, SpecError, nearest, require
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.data.catalog import DATASETS
from fer_bench.data.noise.kinds import KINDS
from fer_bench.data.open import open_dataset
from fer_bench.reproduce.definition import NO_WEIGHTS, Column, Definition, Row, own_recipe
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import to_row
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.store.records import read_record
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.recipe import resolve_recipe
from fer_bench.sweep.request import Request

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Budget:
    """What a person changes of a table: the options of ``fer-bench reproduce``. None leaves it as the table has it."""

    on: str | None = None
    """Data set on which every column is measured."""
    preset: str | None = None
    """Replaces the table's recipe; "quick" unless given where ``on`` is."""
    epochs: int | None = None
    train_size: int | None = None
    seeds: Sequence[int] | None = None
    backbone: str | None = None
    image_size: int | None = None
    precision: str | None = None
    compile: bool | None = None
    pretrained: Sequence[str] = ()
    """``FILE``, ``timm`` or ``none``; for a table with several networks ``BACKBONE=FILE``."""
    select: str | None = None
    """Key of the reported epoch, see ``fer_bench.store.model_selection``."""
    data_root: Path | None = None
    dedup: bool = False
    data_seed: int = 0
    plugins: Sequence[str] = ()


@dataclass(frozen=True)
class Slot:
    """One cell of the grid: its runs, or the reason why it has none."""

    row: Row
    column: Column
    dataset: str
    recipe: Recipe
    own: Recipe
    """The recipe as the table has it, without weights."""
    classes: int = 0
    runs: tuple[PlannedRun, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Grid:
    """Every cell of a table, and the plans that train them: one for each data set, weights and noise file."""

    table: Definition
    budget: Budget
    slots: tuple[Slot, ...]
    plans: tuple[Plan, ...]

    @cached_property
    def by_place(self) -> dict[tuple[str, int], Slot]:
        """Slots by the name of the row and the place of the column."""
        columns = len(self.table.columns)
        return {(slot.row.name, i % columns): slot for i, slot in enumerate(self.slots)}

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.table.content.seeds if self.budget.seeds is None else self.budget.seeds)

    @property
    def selection(self) -> str:
        return self.budget.select or self.table.content.selection

    @property
    def name(self) -> str:
        """A folder's name for the table on these data."""
        return self.table.id + (f"-on-{Path(self.budget.on).stem}" if self.budget.on else "")

    def sweep_names(self, name: str) -> list[tuple[str, Plan]]:
        """The sweep of each plan: ``name``, with the data set and a number where there are several."""
        names: list[str] = []
        for each in self.plans:
            base = f"{name}-{Path(each.dataset.name).stem}" if len(self.plans) > 1 else name
            names.append(f"{base}-{names.count(base) + 1}" if base in names else base)
        return list(zip(names, self.plans, strict=True))

    def rows(self, slot: Slot, out: Path) -> list[dict[str, Any]]:
        """The finished runs of a cell, flat."""
        folders = [RunFolder.of(out, run.spec) for run in slot.runs]
        return [to_row(read_record(folder)) for folder in folders if folder.final]

    def reductions(self) -> list[str]:
        """What is not as in the table's definition, one phrase each; empty for the table as it is defined."""
        budget, lines = self.budget, []
        if budget.on:
            others = dict.fromkeys(c.label for c in self.table.columns if c.data != budget.on)
            if others:
                lines.append(f"measured on {Path(budget.on).name} instead of {', '.join(others)}")
        changes: dict[str, dict[str, None]] = {}
        for slot in self.slots:
            if not slot.row.method:
                continue
            for field in dataclasses.fields(Recipe):
                used, own = getattr(slot.recipe, field.name), getattr(slot.own, field.name)
                if used != own and field.name != "pretrained":
                    text = f"{field.name} {_plain(used)} instead of {_plain(own)}"
                    changes.setdefault(field.name, {})[text if field.name != "augmentation" else field.name] = None
        if budget.preset or budget.on:
            lines.append(f"preset {self._preset} in place of the table's recipe")
        lines += [text for texts in changes.values() for text in texts]
        if budget.train_size is not None:
            lines.append(f"a part of {budget.train_size} training images")
        if len(self.seeds) < len(self.table.content.seeds):
            lines.append(f"n = {len(self.seeds)} instead of {len(self.table.content.seeds)}")
        return lines

    @property
    def _preset(self) -> str:
        return self.budget.preset or "quick"


def prepare(table: Definition, budget: Budget, say: Say = lambda what, done, total: None) -> Grid:
    """Plans every cell. SpecError for a budget that makes no sense; missing data and weights become reasons."""
    chosen = budget.select or table.content.selection
    require(chosen in SELECTIONS, f"--select {chosen!r}{nearest(chosen, SELECTIONS)}")
    require(budget.seeds is None or bool(budget.seeds), "--seeds is empty")
    weights = _weights(table, budget)

    @cache
    def absent(dataset: str) -> str:
        try:
            open_dataset(dataset, budget.data_root, budget.dedup)
        except DataError as error:
            return _missing(dataset, str(error))
        return ""

    slots = [_slot(table, budget, weights, each, column) for each in table.rows for column in table.columns]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, slot in enumerate(slots):
        if not slot.reason:
            groups.setdefault(_group(slot), []).append(number)
        elif slot.row.method:
            slots[number] = replace(slot, reason="; ".join(filter(None, (slot.reason, absent(slot.dataset)))))
    plans = []
    for members in groups.values():
        first = slots[members[0]]
        keys = sorted({slots[number].row.method for number in members})
        request = _request(table, budget, weights, first, keys)
        try:
            planned = make_plan(request, say)
        except DataError as error:
            reason = _missing(first.dataset, str(error))
        except SpecError as error:
            if not KINDS[first.column.noise.kind].needs:
                raise
            reason = str(error)  # a kind of noise that the data cannot have
        else:
            plans.append(planned)
            skipped = dict(line.split(": ", 1) for line in planned.skipped)
            for number in members:
                slot = slots[number]
                runs = tuple(run for run in planned.runs if run.spec.method == slot.row.method)
                slots[number] = replace(slot, runs=runs, reason=skipped.get(slot.row.method, ""),
                                        classes=len(planned.dataset.classes))  # fmt: skip
            continue
        for number in members:
            slots[number] = replace(slots[number], reason=reason)
    return Grid(table, budget, tuple(slots), tuple(compose(plans)))


def compose(plans: Sequence[Plan]) -> list[Plan]:
    """As few plans as train the same runs: plans of one data set, weights and noise file become one."""
    together: dict[tuple[Any, ...], list[Plan]] = {}
    for each in plans:
        together.setdefault((each.dataset.fingerprint, each.weights, each.request.noise_file), []).append(each)
    return [
        replace(
            group[0],
            runs=tuple({run.spec.key: run for each in group for run in each.runs}.values()),
            skipped=tuple(dict.fromkeys(line for each in group for line in each.skipped)),
        )
        for group in together.values()
        if any(each.runs for each in group)
    ]


def _recipe(table: Definition, budget: Budget, each: Row, column: Column) -> tuple[str, dict[str, Any]]:
    """The preset of a cell and what replaces its settings, weights aside."""
    preset = budget.preset or ("quick" if budget.on else None)
    given = {} if preset else table.overrides
    named = {  # the network stays where it is what the table compares
        "backbone": budget.backbone or each.backbone or column.backbone or None,
        "image_size": budget.image_size or column.image_size,
        "epochs": budget.epochs,
        "precision": budget.precision,
        "compile": budget.compile,
    }
    return preset or table.preset, {**given, **{name: value for name, value in named.items() if value is not None}}


def _weights(table: Definition, budget: Budget) -> dict[str, str]:
    """The given weights by backbone, under "" those for all. SpecError where one file would go to several networks."""
    given: dict[str, str] = {}
    networks = set()
    for each in table.rows:
        for column in table.columns:
            preset, overrides = _recipe(table, budget, each, column)
            networks |= {load_preset(preset, **overrides).backbone} if each.method else set()
    for text in budget.pretrained:
        backbone, equals, file = text.partition("=")
        if not (equals and backbone in networks):
            backbone, file = "", text
            require(
                len(networks) == 1 or text in ("timm", NO_WEIGHTS),
                f"--pretrained {text}: {table.id} has several networks; give BACKBONE=FILE for each of "
                + ", ".join(sorted(networks)),
            )
        given[backbone] = file
    return given


def _slot(table: Definition, budget: Budget, weights: Mapping[str, str], each: Row, column: Column) -> Slot:
    own = own_recipe(table, each, column)
    slot = Slot(each, column, budget.on or column.data, own, own)
    if not each.method:
        return replace(slot, reason="fer-bench has no such method")
    recipe, _ = resolve_recipe(_request(table, budget, weights, slot, []))
    named, given = column.weights not in ("", NO_WEIGHTS), {recipe.backbone, ""} & weights.keys()
    if named and not given and not (budget.preset or budget.on):
        reason = (
            f"{recipe.backbone} needs the weights {column.weights}: give a checkpoint with --pretrained FILE, or "
            "--pretrained none for random weights, which the table then says"
        )
        return replace(slot, recipe=recipe, reason=reason)
    return replace(slot, recipe=recipe)


def _request(
    table: Definition, budget: Budget, weights: Mapping[str, str], slot: Slot, methods: Sequence[str]
) -> Request:
    """What ``fer-bench run`` would be asked for this cell and those like it."""
    column = slot.column
    preset, overrides = _recipe(table, budget, slot.row, column)
    chosen = weights.get(load_preset(preset, **overrides).backbone, weights.get("", ""))
    return Request(
        methods=methods,
        dataset=slot.dataset,
        data_root=budget.data_root,
        dedup=budget.dedup,
        noise=(column.noise.rate,) if KINDS[column.noise.kind].rate else None,
        noise_types=(column.noise.kind,),
        noise_mode=table.content.noise_mode,
        noise_file=column.noise_file,
        imbalance=(column.imbalance.factor,),
        imbalance_type=column.imbalance.kind,
        seeds=tuple(table.content.seeds if budget.seeds is None else budget.seeds),
        data_seed=budget.data_seed,
        train_size=budget.train_size,
        preset=preset,
        overrides=overrides,
        pretrained="" if NO_WEIGHTS in (chosen, column.weights) else chosen,
        settings=tuple(f"{slot.row.method}.{name}={json.dumps(value)}" for name, value in slot.row.settings.items()),
        plugins=tuple(budget.plugins),
    )


def _group(slot: Slot) -> tuple[Any, ...]:
    """Cells with one of these are planned together: they differ in their method only."""
    column, settings = slot.column, json.dumps([slot.row.method, slot.row.settings]) if slot.row.settings else ""
    return (slot.dataset, column.noise, column.noise_file, column.imbalance, slot.recipe, settings)


def _missing(dataset: str, error: str) -> str:
    """Why there are no data, and for a known data set how to get them."""
    entry = DATASETS.get(dataset)
    hint = (
        f" {entry.where}; `fer-bench datasets {dataset}` says where the files go" if entry and not entry.drawn else ""
    )
    return f"{error.splitlines()[0].removesuffix(' Expected layout:')}{hint}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
