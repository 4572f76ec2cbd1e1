"""From a table and a budget to runs: which are planned, what cannot be measured and why, and what was reduced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from fer_bench.core.errors import DataError, SpecError, nearest, require
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.data.catalog import DATASETS
from fer_bench.data.noise.kinds import KINDS
from fer_bench.data.open import open_dataset
from fer_bench.data.options import Dedup, ReadOptions
from fer_bench.reproduce.definition import NO_WEIGHTS, Column, Definition, Row, own_recipe
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.store.records import Record, read_records
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.recipe import resolve_recipe
from fer_bench.sweep.record import make_sweep
from fer_bench.sweep.request import Request
from fer_bench.sweep.settings import DEFAULT
from fer_bench.sweep.variants import label_of

NONE_ABSENT: Mapping[str, Record] = {}


@dataclass(frozen=True)
class Budget:
    """What is changed of a table: the options of ``fer-bench reproduce``. None leaves it as the table has it.

    Attributes:
        on: Data set on which every column is measured.
        preset: Replaces the table's recipe; "quick" by default if ``on`` is given.
        epochs: Number of epochs.
        train_size: Size of the stratified subset to train on.
        seeds: Training seeds.
        backbone: One network for all columns.
        image_size: Side of the images in pixels.
        precision: Precision of forward passes.
        compile: Whether networks are compiled.
        pretrained: ``FILE``, ``timm`` or ``none``; for a table with several networks ``BACKBONE=FILE``.
        select: Key of the reported epoch, see ``fer_bench.store.model_selection``.
        data_root: Folder that holds the data sets.
        dedup: Which training images are left out: see ``fer_bench.sweep.request.Request``.
        val: Validation split: see ``fer_bench.sweep.request.Request``.
        data_seed: Seed of the draw of the training data.
        plugins: Folders with methods.
    """

    on: str | None = None
    preset: str | None = None
    epochs: int | None = None
    train_size: int | None = None
    seeds: Sequence[int] | None = None
    backbone: str | None = None
    image_size: int | None = None
    precision: str | None = None
    compile: bool | None = None
    pretrained: Sequence[str] = ()
    select: str | None = None
    data_root: Path | None = None
    dedup: Dedup = ""
    val: float | Literal["none"] | None = None
    data_seed: int = 0
    plugins: Sequence[str] = ()


@dataclass(frozen=True)
class Slot:
    """One cell of the grid.

    Attributes:
        row: Its row.
        column: Its column.
        dataset: Data set that it is measured on.
        recipe: Recipe that it is trained with.
        own: Recipe as the table has it, without weights.
        classes: Number of classes of the data set.
        runs: Runs to train.
        reason: Why it has no runs; "" if it has some.
    """

    row: Row
    column: Column
    dataset: str
    recipe: Recipe
    own: Recipe
    classes: int = 0
    runs: tuple[PlannedRun, ...] = ()
    reason: str = ""

    def records(self, out: Path, absent: Mapping[str, Record] = NONE_ABSENT) -> list[Record]:
        """The finished runs that can be read; of runs without a folder those of ``absent``, by key."""
        folders = [RunFolder.of(out, run.spec) for run in self.runs]
        found = {record.key: record for record in read_records(folder for folder in folders if folder.final)[0]}
        found = {**absent, **found}
        return [found[run.spec.key] for run in self.runs if run.spec.key in found]


@dataclass(frozen=True)
class Grid:
    """Every cell of a table, and the plans that train them: one for each data set, weights and noise file."""

    table: Definition
    budget: Budget
    slots: tuple[Slot, ...]
    plans: tuple[Plan, ...]

    @cached_property
    def by_place(self) -> dict[tuple[str, int], Slot]:
        """Slots by the name of the row and the index of the column."""
        columns = len(self.table.columns)
        return {(slot.row.name, i % columns): slot for i, slot in enumerate(self.slots)}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds."""
        return tuple(self.table.content.seeds if self.budget.seeds is None else self.budget.seeds)

    @property
    def selection(self) -> str:
        """Key of the reported epoch."""
        return self.budget.select or self.table.content.selection

    @property
    def preset(self) -> str:
        """Name of the preset that replaces the table's recipe, "" if none does."""
        return self.budget.preset or ("quick" if self.budget.on else "")

    @property
    def name(self) -> str:
        """Name of a folder for the table on these data."""
        return self.table.id + (f"-on-{Path(self.budget.on).stem}" if self.budget.on else "")

    def sweep_names(self, name: str) -> list[tuple[str, Plan]]:
        """The sweep of each plan: ``name``, with the data set and a number if there are several."""
        names: list[str] = []
        for each in self.plans:
            base = f"{name}-{Path(each.dataset.name).stem}" if len(self.plans) > 1 else name
            names.append(f"{base}-{names.count(base) + 1}" if base in names else base)
        return list(zip(names, self.plans, strict=True))

    def absent(self, out: Path, name: str) -> dict[str, Record]:
        """Records from the compact files of the sweeps, by key, of runs that have no folder under ``out``.

        Args:
            out: Folder of the results.
            name: As for :meth:`sweep_names`.

        Raises:
            StoreError: A compact file is needed and damaged.
        """
        sweeps = [make_sweep(plan, out, sweep, "") for sweep, plan in self.sweep_names(name)]
        return {key: record for sweep in sweeps for key, record in sweep.absent().items()}

    def reductions(self) -> list[str]:
        """What differs from the table's definition, one phrase each; empty for the table as it is defined."""
        budget, lines = self.budget, []
        if budget.on:
            others = dict.fromkeys(c.label for c in self.table.columns if c.data != budget.on)
            if others:
                lines.append(f"measured on {Path(budget.on).name} instead of {', '.join(others)}")
        if self.preset:
            lines.append(f"preset {self.preset} in place of the table's recipe")
        lines += self._changed_settings()
        if budget.train_size is not None:
            lines.append(f"a subset of {budget.train_size} training images")
        if len(self.seeds) < len(self.table.content.seeds):
            lines.append(f"n = {len(self.seeds)} instead of {len(self.table.content.seeds)}")
        return lines

    def _changed_settings(self) -> list[str]:
        changes: dict[str, dict[str, None]] = {}
        for slot in self.slots:
            for setting in dataclasses.fields(Recipe) if slot.row.method else ():
                used, own = getattr(slot.recipe, setting.name), getattr(slot.own, setting.name)
                if used != own and setting.name != "pretrained":
                    text = f"{setting.name} {_plain(used)} instead of {_plain(own)}"
                    text = "another augmentation" if setting.name == "augmentation" else text
                    changes.setdefault(setting.name, {})[text] = None
        return [text for texts in changes.values() for text in texts]


OnProgress = Callable[[str, int, int], None]


def prepare(table: Definition, budget: Budget, on_progress: OnProgress = lambda what, done, total: None) -> Grid:
    """Plans every cell of a table. Missing data and weights become the reasons of cells without runs.

    Args:
        table: The table.
        budget: What is changed of it.
        on_progress: Called with (what, done, total) while images are decoded.

    Raises:
        SpecError: The budget makes no sense.
    """
    chosen = budget.select or table.content.selection
    require(chosen in SELECTIONS, f"--select {chosen!r}{nearest(chosen, SELECTIONS)}")
    require(budget.seeds is None or bool(budget.seeds), "--seeds is empty")
    weights = _weights(table, budget)
    slots = [_slot(table, budget, weights, each, column) for each in table.rows for column in table.columns]
    slots = _name_missing_data(slots, budget)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, slot in enumerate(slots):
        if not slot.reason:
            groups.setdefault(_group(slot), []).append(number)
    plans = []
    for members in groups.values():
        keys = sorted({slots[number].row.method for number in members})
        request = _request(table, budget, weights, slots[members[0]], keys)
        planned, reason = _plan(request, slots[members[0]], on_progress)
        planned = _labelled(planned, slots[members[0]].row) if planned else None
        for number in members:
            slots[number] = _filled(slots[number], planned) if planned else replace(slots[number], reason=reason)
        plans += [planned] if planned else []
    return Grid(table, budget, tuple(slots), tuple(compose(plans)))


def _name_missing_data(slots: Iterable[Slot], budget: Budget) -> list[Slot]:
    """The slots; those without runs also say whether their data are missing."""

    @cache
    def absent(dataset: str) -> str:
        try:
            open_dataset(dataset, budget.data_root, ReadOptions(dedup=budget.dedup))
        except DataError as error:
            return _missing(dataset, str(error))
        return ""

    return [
        replace(slot, reason="; ".join(filter(None, (slot.reason, absent(slot.dataset)))))
        if slot.reason and slot.row.method
        else slot
        for slot in slots
    ]


def _plan(request: Request, slot: Slot, on_progress: OnProgress) -> tuple[Plan | None, str]:
    """The plan of a request, or the reason why there is none."""
    try:
        return make_plan(request, on_progress), ""
    except DataError as error:
        return None, _missing(slot.dataset, str(error))
    except SpecError as error:
        if not KINDS[slot.column.noise.kind].needs:
            raise
        return None, str(error)  # a kind of noise that the data cannot have


def _labelled(planned: Plan, row: Row) -> Plan:
    """The plan; the names of its runs say the settings of their row."""
    label = label_of(row.settings)
    return replace(planned, runs=tuple(replace(run, variant=replace(run.variant, label=label)) for run in planned.runs))


def _filled(slot: Slot, planned: Plan) -> Slot:
    """The slot with its runs, or with the reason why its method was skipped."""
    skipped = dict(line.split(": ", 1) for line in planned.skipped)
    runs = tuple(run for run in planned.runs if run.spec.method == slot.row.method)
    return replace(slot, runs=runs, reason=skipped.get(slot.row.method, ""), classes=len(planned.dataset.classes))


def compose(plans: Sequence[Plan]) -> list[Plan]:
    """Joins plans of one data set, weights and noise file, so that as few plans as possible train the same runs."""
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
    """The given weights by backbone, under "" those for all.

    Raises:
        SpecError: One file would go to several networks.
    """
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
        val=budget.val,
        noise=(column.noise.rate,) if KINDS[column.noise.kind].rate else None,
        noise_types=(column.noise.kind,),
        noise_mode=table.content.noise_mode,
        noise_file=column.noise_file,
        imbalance=(column.imbalance.factor,),
        imbalance_type=column.imbalance.kind,
        seeds=tuple(table.content.seeds if budget.seeds is None else budget.seeds),
        data_seed=(budget.data_seed,),
        train_size=budget.train_size,
        preset=preset,
        overrides=overrides,
        pretrained="" if NO_WEIGHTS in (chosen, column.weights) else chosen,
        settings={slot.row.method: slot.row.settings} if slot.row.settings else {},
        plugins=tuple(budget.plugins),
        settings_file=DEFAULT,
    )


def _group(slot: Slot) -> tuple[Any, ...]:
    """Cells of one group are planned together: they differ in their method only."""
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
