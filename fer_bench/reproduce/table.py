"""The table of a paper with measured and published numbers side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench import __version__
from fer_bench.core.spec import weights_name
from fer_bench.report.notes import source, splits, training, values_text
from fer_bench.report.rendering import MISSING, Block, Cell, Table
from fer_bench.reproduce.compare import Entry, compare
from fer_bench.reproduce.definition import NO_WEIGHTS, Column, Definition
from fer_bench.reproduce.plan import NONE_ABSENT, Grid
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import to_row
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.store.records import Record, run_state

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"overall": "Overall accuracy (%)", "mean": "Mean accuracy over classes (%)"}


def paper_table(grid: Grid, out: Path, absent: Mapping[str, Record] = NONE_ABSENT) -> tuple[Table, pd.DataFrame]:
    """The table as far as it is measured, and its finished runs, one line each.

    Args:
        grid: The planned table.
        out: Folder of the results.
        absent: What :meth:`fer_bench.reproduce.plan.Grid.absent` returns.
    """
    import pandas as pd

    records = {place: slot.records(out, absent) for place, slot in grid.by_place.items()}
    runs = {place: [to_row(record) for record in found] for place, found in records.items()}
    entries, legend = compare(grid, runs)
    frame = pd.DataFrame({run["key"]: run for found in runs.values() for run in found}.values())
    reduced = grid.reductions()
    title = f"{grid.table.id}: {grid.table.content.title}" + (f" (reduced: {_brief(grid)})" if reduced else "")
    content = Table(
        title,
        tuple(_blocks(entries)),
        _caption(grid, frame),
        tuple(_notes(grid, frame, splits(record for found in records.values() for record in found), out)),
        pd.DataFrame([_csv_line(grid.table, entry, grid.selection) for entry in entries]),
        legend,
    )
    return content, frame


# --- blocks ----------------------------------------------------------------------------------------------------------


def _blocks(entries: Sequence[Entry]) -> list[Block]:
    """Accuracies and gains for each metric and measured data set.

    Each block has a published column for every data set of the paper that is measured there.
    """
    panels: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        panels.setdefault((entry.metric, entry.slot.dataset), []).append(entry)
    several = len({data for _, data in panels}) > 1
    return [block for (metric, data), members in panels.items() for block in _panel(metric, data, members, several)]


def _panel(metric: str, dataset: str, entries: Sequence[Entry], several: bool) -> list[Block]:
    labels = list(dict.fromkeys(entry.column.label for entry in entries))
    same = {label: any(e.column.label == label and e.column.data == dataset for e in entries) for label in labels}
    accuracies, gains = [("Measured", "")], [("Measured", "")]
    for label in labels:
        accuracies += [("Published", label)] + [("Difference", label)] * same[label]
        gains.append(("Published", label))
    corner, lines = _lines(entries)

    def block(title: str, columns: list[tuple[str, str]], cell: Callable[[Entry, str], str]) -> Block:
        heads = tuple(kind + (f", {label}" if label and len(labels) > 1 else "") for kind, label in columns)
        rows = []
        for name, members in lines:
            there = [members.get(label) if label else next(iter(members.values())) for _, label in columns]
            texts = [cell(entry, kind) if entry else MISSING for entry, (kind, _) in zip(there, columns, strict=True)]
            rows.append((name, tuple(map(Cell, texts))))
        return Block(title, corner, heads, tuple(rows))

    where = f": {labels[0]}" if several and len(labels) == 1 else ""
    where += "" if all(same.values()) else f"; measured on {Path(dataset).name}"
    blocks = [block(f"{TITLES[metric]}{where}", accuracies, _accuracy)]
    if any(entry.gain.values or entry.published_gain is not None for entry in entries):
        blocks.append(block(f"Gain over the baseline (points of {metric} accuracy){where}", gains, _gain))
    return blocks


def _lines(entries: Sequence[Entry]) -> tuple[str, list[tuple[str, dict[str, Entry]]]]:
    """The corner of the block, and the name and the entries by label of each line.

    A name holds those parts of the condition in which the lines differ.
    """
    grouped: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in entries:
        grouped.setdefault((*_condition(entry.column), entry.row.name), {})[entry.column.label] = entry
    varied = [len(set(values)) > 1 for values in list(zip(*grouped, strict=True))[:-1]]
    lines = []
    for (*condition, name), members in grouped.items():
        parts = [text for text, differs in zip(condition, varied, strict=True) if differs and text]
        lines.append((", ".join([*parts, name]), members))
    return "Condition, method" if any(varied) else "Method", lines


def _condition(column: Column) -> tuple[str, ...]:
    """What a line says of its column, data set aside."""
    factor = "" if column.imbalance.factor == 1 else f"{column.imbalance.kind} imbalance {column.imbalance.factor:g}"
    weights = {NO_WEIGHTS: "no pre-training"}.get(column.weights, column.weights)
    return (weights, column.published.get("backbone", column.backbone), column.noise.label, factor)


def _accuracy(entry: Entry, kind: str) -> str:
    if kind == "Measured":
        return "not measured" if entry.slot.reason else entry.measured.text()
    if kind == "Difference":
        return _signed(entry.difference, entry.mark)
    if entry.number is None or entry.published is None:
        return MISSING
    sd = entry.number.sd(entry.metric)
    return f"{entry.published:.2f}" + ("" if sd is None else f" ± {sd:.2f}") + entry.mark


def _gain(entry: Entry, kind: str) -> str:
    return entry.gain.text("+") if kind == "Measured" else _signed(entry.published_gain, entry.mark)


def _signed(value: float | None, mark: str) -> str:
    return MISSING if value is None else f"{value:+.2f}{mark}"


# --- words -----------------------------------------------------------------------------------------------------------


def _brief(grid: Grid) -> str:
    """The reductions that a title has room for."""
    budget = grid.budget
    parts = [f"on {Path(budget.on).name}"] if budget.on else []
    parts += [f"preset {grid.preset}"] if grid.preset else []
    epochs = sorted({slot.recipe.epochs for slot in grid.slots if slot.row.method})
    parts.append(f"{' or '.join(map(str, epochs))} epoch{'s' if epochs != [1] else ''}")
    parts += [f"{budget.train_size} training images"] if budget.train_size else []
    return ", ".join([*parts, f"n = {len(grid.seeds)}"])


def _caption(grid: Grid, frame: pd.DataFrame) -> str:
    """Two sentences; the notes say the rest."""
    after = f"After {grid.table.content.paper}."
    if frame.empty:
        return f"{after} Nothing is measured yet; the published numbers are shown."
    names = ", ".join(sorted({Path(name).name for name in frame["dataset"]}))
    rule = f"{SELECTIONS[grid.selection].title} of {values_text(frame, 'epochs')}"
    return f"{after} Measured on {names}: mean ± standard deviation over n runs with different training seeds, {rule}."


def _notes(grid: Grid, frame: pd.DataFrame, images: Sequence[str], out: Path) -> list[str]:
    table, reduced = grid.table, grid.reductions()
    notes = [f"Reduced: this is not the budget of the table. {'; '.join(reduced)}."] if reduced else []
    if len(frame):
        notes.append(SELECTIONS[grid.selection].description)
    if any(table.baseline(row) for row in table.rows):
        notes.append(
            "Gain: points over the baseline. Measured gains pair runs of the same seed, and published gains are within "
            "one published table. Gains of different set-ups can be compared; their accuracies cannot."
        )
    notes += [
        "Difference: measured minus published, for the same data set only.",
        f"Published: numbers that were seen in a source, which table.csv names; {MISSING} where none was seen. Letters "
        "in brackets mark what differs from the paper or is doubtful.",
    ]
    if len(frame):
        networks = sorted(set(zip(frame["backbone"], frame["image_size"], frame["pretrained"], strict=True)))
        if len(networks) > 1:
            each = (f"{net} at {size} px, {weights_name(weights)}" for net, size, weights in networks)
            notes.append(f"Networks: {'; '.join(each)}.")
        notes += [training(frame), *images, f"Data seed {grid.budget.data_seed}.", source(frame)]
    else:
        notes.append(f"fer-bench {__version__}.")
    notes += [table.content.note.strip()] if table.content.note else []
    return [*notes, *_not_measured(grid, out, set(frame["key"]) if len(frame) else set())]


def _not_measured(grid: Grid, out: Path, measured: Collection[str]) -> list[str]:
    """Why cells are not measured, one line for each reason. ``measured`` are keys of runs."""
    reasons = _reasons(grid, out, measured)
    every = {row.name for row in grid.table.rows if row.method}
    found = []
    for (reason, where), names in reasons.items():
        partly = any(set(seeds) < set(grid.seeds) for seeds in names.values())
        who = [name + (f" (seed {', '.join(map(str, names[name]))})" if partly else "") for name in names]
        everyone = set(names) >= every and not partly
        found.append(f"Not measured: {'every method' if everyone else ', '.join(who)}{where}: {reason}")
    return found


def _reasons(grid: Grid, out: Path, measured: Collection[str]) -> Mapping[tuple[str, str], dict[str, list[int]]]:
    """Seeds by method that are not measured, by (reason, where). ``measured`` are keys of runs."""
    reasons: dict[tuple[str, str], dict[str, list[int]]] = {}
    for (name, place), slot in grid.by_place.items():
        data = Path(slot.dataset).name
        if slot.reason:
            where = f" on {data}" if slot.row.method else ""
            reasons.setdefault((slot.reason, where), {})[name] = list(grid.seeds)
        for run in slot.runs:
            state, why = ("done", "") if run.spec.key in measured else run_state(RunFolder.of(out, run.spec))
            if state == "done":
                continue
            text = {"new": "not trained yet", "interrupted": "training was interrupted"}.get(state, state)
            where = f" on {data}, {grid.table.columns[place].noise.label}"
            seeds = reasons.setdefault((text + (f": {why}" if why else ""), where), {})
            seeds.setdefault(name, []).append(run.spec.seed)
    return reasons


def _csv_line(table: Definition, entry: Entry, selection: str) -> dict[str, Any]:
    """A line of the CSV, unrounded."""
    column, number = entry.column, entry.number
    measured, gain = entry.measured, entry.gain
    return {
        "table": table.id,
        "metric": entry.metric,
        "unit": "%",
        "row": entry.row.name,
        "method": entry.row.method,
        "noise": column.noise.label,
        "imbalance": column.imbalance.factor,
        "backbone": entry.slot.recipe.backbone if entry.row.method else "",
        "pretrained": entry.slot.recipe.pretrained,
        "dataset": entry.slot.dataset,
        "selection": selection,
        "n": len(measured.values),
        "mean": measured.mean if measured.values else None,
        "sd": measured.sd,
        "gain_n": len(gain.values),
        "gain": gain.mean if gain.values else None,
        "gain_sd": gain.sd,
        "not_measured": entry.slot.reason,
        "paper_dataset": column.label,
        "published": entry.published,
        "published_sd": number.sd(entry.metric) if number else None,
        "published_gain": entry.published_gain,
        "published_selection": number.selection if number else "",
        "published_runs": number.runs if number else None,
        "published_classes": number.num_classes if number else None,
        "published_backbone": number.backbone if number else "",
        "published_weights": number.pretrain if number else "",
        "source": f"{number.paper}, {number.table}: {number.source_url}" if number else "",
        "difference": entry.difference,
        "remarks": "; ".join(entry.remarks),
    }
