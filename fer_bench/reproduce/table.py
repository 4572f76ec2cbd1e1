"""The table of a paper with measured and published numbers side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench import __version__
from fer_bench.core.spec import weights_name
from fer_bench.core.text import counted
from fer_bench.report import chance
from fer_bench.report.arrange import with_gaps
from fer_bench.report.caption import data_text
from fer_bench.report.notes import epochs_text, source, splits, training
from fer_bench.report.rendering import MISSING, Table
from fer_bench.report.wording import wrong_labels
from fer_bench.reproduce.compare import Entry, compare
from fer_bench.reproduce.definition import Definition
from fer_bench.reproduce.layout import Layout
from fer_bench.reproduce.plan import NONE_ABSENT, Grid
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.store.records import Record, run_state
from fer_bench.store.row import to_row
from fer_bench.sweep.variants import label_of

if TYPE_CHECKING:
    import pandas as pd


def paper_table(grid: Grid, out: Path, absent: Mapping[str, Record] = NONE_ABSENT) -> tuple[Table, pd.DataFrame]:
    """The table as far as it is measured, and its finished runs, one line each.

    Args:
        grid: The planned table.
        out: Folder of the results.
        absent: What :meth:`fer_bench.reproduce.plan.Grid.absent` returns.
    """
    import pandas as pd

    records = {place: slot.records(out, absent) for place, slot in grid.by_place.items()}
    runs = {place: [with_gaps(to_row(record)) for record in found] for place, found in records.items()}
    entries, legend = compare(grid, runs)
    every = {record.key: record for found in records.values() for record in found}
    frame = pd.DataFrame([to_row(record) for record in every.values()])
    counts = {place: chance.count(pd.DataFrame(found), grid.selection) for place, found in runs.items() if found}
    at_chance = {place: each for place, each in counts.items() if each.number}
    usual = len(grid.seeds) if grid.table.content.layout == "columns" else 0
    wrong = wrong_labels(frame["labels"] if len(frame) else ())
    reduced = grid.reductions()
    content = Table(
        f"{grid.table.id}: {grid.table.content.title}" + (f" (reduced: {_brief(grid)})" if reduced else ""),
        tuple(Layout(grid.table, wrong, at_chance, usual).blocks(entries)),
        _caption(grid, frame.assign(record=list(every.values()))),
        tuple(_notes(grid, frame, splits(every.values()), out)),
        pd.DataFrame([_csv_line(grid.table, entry, grid.selection) for entry in entries]),
        (*legend, *([chance.LEGEND] if at_chance else [])),
        grid.name,
    )
    return content, frame


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
    """Two sentences; the notes say the rest.

    Args:
        grid: The planned table.
        frame: Finished runs, with the column record.
    """
    content = grid.table.content
    after = f"After {content.paper}." if content.paper else ""
    if frame.empty:
        return f"{after} Nothing is measured yet; the published numbers are shown.".strip()
    beside = content.layout == "columns"
    number = counted(len(grid.seeds), "run") if beside else "n runs"
    values = f"mean ± standard deviation over {number} with different training seeds"
    if len(grid.seeds) == 1:
        values = "one run per cell"
    rule = f"{SELECTIONS[grid.selection].title} of {epochs_text(frame).rpartition(' ')[0]}"
    text = f"{after} Measured on {data_text(frame)}: {values}, {rule}{'; bold: the best mean' if beside else ''}."
    return text.strip()


def _notes(grid: Grid, frame: pd.DataFrame, images: Sequence[str], out: Path) -> list[str]:
    table, reduced = grid.table, grid.reductions()
    notes = [f"Reduced: this is not the budget of the table: {'; '.join(reduced)}."] if reduced else []
    if len(frame):
        notes.append(SELECTIONS[grid.selection].description)
    if any(table.baseline(row) for row in table.rows):
        notes.append(
            "Gain: points over the baseline. Measured gains pair runs of the same seed, and published gains are within "
            "one published table. Gains of different set-ups can be compared; their accuracies cannot."
        )
    if any(table.number(row, column) for row in table.rows for column in table.columns):
        notes += [
            "Difference: measured minus published, for the same data set only.",
            f"Published: numbers that were seen in a source, which table.csv names; {MISSING} where none was seen. "
            "Letters in brackets mark what differs from the paper or is doubtful.",
        ]
    if len(frame):
        networks = sorted(set(zip(frame["backbone"], frame["image_size"], frame["pretrained"], strict=True)))
        if len(networks) > 1:
            each = (f"{net} at {size} px, {weights_name(weights)}" for net, size, weights in networks)
            notes.append(f"Networks: {'; '.join(each)}.")
        rows = "; ".join(f"{row.name}: {label_of(row.settings)}" for row in grid.table.rows if row.settings)
        notes += [f"Settings by row: {rows}."] if rows else []
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
        "metric": entry.metric.name,
        "unit": entry.metric.unit,
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
        "published_sd": number.sd(entry.metric.name) if number else None,
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
