"""Measured and published numbers in one table, with a footnote wherever the two are not of the same thing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import TYPE_CHECKING, Any

from fer_bench import __version__
from fer_bench.core.files import write_atomically
from fer_bench.core.spec import weights_name
from fer_bench.report.caption import arithmetic, budget, source
from fer_bench.report.rendering import MISSING, Block, Cell, Table
from fer_bench.reproduce.definition import NO_WEIGHTS, Column, Definition, Row
from fer_bench.reproduce.plan import Grid, Slot
from fer_bench.reproduce.published import Number
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"overall": "Overall accuracy, %", "mean": "Mean accuracy (over classes), %"}


@dataclass(frozen=True)
class Measured:
    """Values of one cell in %, one for each run."""

    values: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, sign: str = "") -> str:
        if not self.values:
            return MISSING
        spread = "" if self.sd is None else f" ± {self.sd:.2f}"
        return f"{self.mean:{sign}.2f}{spread} (n={len(self.values)})"


@dataclass(frozen=True)
class PaperTable(Table):
    """A Table whose footnotes are notes below it, and in LaTeX a part of each caption, because floats move."""

    footnotes: tuple[str, ...] = ()

    def latex(self) -> str:
        fields = {name: getattr(self, name) for name in Table.__dataclass_fields__}
        fields["caption"] = " ".join((self.caption, *self.footnotes))
        fields["legend"] = tuple(text.removesuffix(".") for text in self.footnotes)
        fields["notes"] = tuple(note for note in self.notes if note not in self.footnotes)
        return Table(**fields).latex()


@dataclass(frozen=True)
class _Line:
    """One line of the numbers: a cell of the grid with all that stands beside it."""

    row: Row
    column: Column
    slot: Slot
    metric: str
    measured: Measured
    gain: Measured
    number: Number | None
    published: float | None
    published_gain: float | None
    remarks: tuple[str, ...]
    mark: str

    @property
    def difference(self) -> float | None:
        """Measured less published, where both are of one data set: two test sets have no scale in common."""
        if self.published is None or not self.measured.values or self.slot.dataset != self.column.data:
            return None
        return self.measured.mean - self.published


class _Marks:
    """Letters for footnotes; one text has one letter."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def __call__(self, texts: Sequence[str]) -> str:
        """The letters of some texts as a cell has them, `` [ab]``; "" without a text."""
        for text in texts:
            place = len(self.texts)
            letter = ascii_letters[place] if place < len(ascii_letters) else f"({place})"
            self.texts.setdefault(text, letter)
        return f" [{''.join(sorted(self.texts[text] for text in texts))}]" if texts else ""


def join(grid: Grid, out: Path) -> tuple[PaperTable, pd.DataFrame]:
    """The table as far as it is measured, and its finished runs, one row each."""
    import pandas as pd

    table, marks = grid.table, _Marks()
    runs = {place: grid.rows(slot, out) for place, slot in grid.by_place.items()}
    lines = [
        _line(grid, runs, each, place, metric, marks)
        for metric in table.content.metrics for place in range(len(table.columns)) for each in table.rows
    ]  # fmt: skip
    reduced = grid.reductions()
    title = f"{table.id}: {table.content.title}" + (f" (reduced: {_brief(grid)})" if reduced else "")
    footnotes = tuple(f"[{letter}] {text}." for text, letter in marks.texts.items())
    notes = (*footnotes, *_notes(grid, out))
    every = {run["key"]: run for found in runs.values() for run in found}
    return (
        PaperTable(
            title, tuple(_blocks(lines)), _caption(grid, list(every.values()), reduced), notes,
            pd.DataFrame([_record(table, line, grid.selection) for line in lines]), footnotes=footnotes,
        ),
        pd.DataFrame(every.values()),
    )  # fmt: skip


def write(table: PaperTable, runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes table.md, .csv, .tex and .html, and runs.csv where there are runs; the paths."""
    contents = {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "table.tex": table.latex(),
        "table.html": table.html(),
    }
    if len(runs):
        contents["runs.csv"] = runs.to_csv(index=False, lineterminator="\n")
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


# --- one line --------------------------------------------------------------------------------------------------------


def _line(
    grid: Grid, runs: dict[tuple[str, int], list[dict[str, Any]]], each: Row, place: int, metric: str, marks: _Marks
) -> _Line:
    table, column, slot = grid.table, grid.table.columns[place], grid.by_place[each.name, place]
    measured = _by_seed(runs[each.name, place], metric, grid.selection)
    number, base = table.number(each, column), table.baseline(each)
    gain, published_gain = Measured(), None
    if base is not None and base is not each:
        if grid.by_place[base.name, place].recipe == slot.recipe:
            over = _by_seed(runs[base.name, place], metric, grid.selection)
            gain = Measured(tuple(value - over[seed] for seed, value in measured.items() if seed in over))
        published_gain = _published_gain(number, table.number(base, column), metric)
    value = number.value(metric) if number else None
    remarks = _remarks(slot, number, bool(measured), grid.selection) if number and value is not None else []
    return _Line(
        each,
        column,
        slot,
        metric,
        Measured(tuple(measured.values())),
        gain,
        number,
        value,
        published_gain,
        tuple(remarks),
        marks(remarks),
    )


def _by_seed(rows: Sequence[dict[str, Any]], metric: str, selection: str) -> dict[tuple[int, int], float]:
    """Accuracy in % of each (data seed, seed)."""
    name = SELECTIONS[selection].column(metric)
    return {(run["data_seed"], run["seed"]): 100 * run[name] for run in rows if run[name] is not None}


def _published_gain(number: Number | None, base: Number | None, metric: str) -> float | None:
    """Over the paper's own baseline; None where the two are known to be of different networks."""
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
        if slot.dataset != slot.column.data:
            parts.append(f"measured on {Path(slot.dataset).name}, published on {number.dataset}")
        if number.num_classes is None:
            parts.append(f"{slot.classes} classes here, number of classes of the paper not seen")
        elif number.num_classes != slot.classes:
            parts.append(f"{slot.classes} classes here, {number.num_classes} in the paper")
        recipe = slot.recipe
        if _plain(number.backbone) != _plain(recipe.backbone):
            parts.append(_both(f"network {recipe.backbone}", number.backbone, "network"))
        parts.append(_both(weights_name(recipe.pretrained), number.pretrain, "weights"))
        if number.selection != selection:
            theirs = SELECTIONS[number.selection].title if number.selection else ""
            parts.append(_both(SELECTIONS[selection].title, theirs, "choice of epoch"))
    return parts + ([f"of the published number: {number.doubt}"] if number.doubt else [])


def _both(here: str, there: str, what: str) -> str:
    return f"{here} here, {there} in the paper" if there else f"{here} here, {what} of the paper not seen"


def _plain(backbone: str) -> str:
    return "".join(c for c in backbone.lower() if c.isalnum())


# --- blocks ----------------------------------------------------------------------------------------------------------


def _blocks(lines: Sequence[_Line]) -> list[Block]:
    """For each metric and measured data set the accuracies and the gains, with a published column for each data set of
    the paper that is measured there."""
    panels: dict[tuple[str, str], list[_Line]] = {}
    for line in lines:
        panels.setdefault((line.metric, line.slot.dataset), []).append(line)
    several = len({data for _, data in panels}) > 1
    return [block for (metric, data), members in panels.items() for block in _panel(metric, data, members, several)]


def _panel(metric: str, dataset: str, lines: Sequence[_Line], several: bool) -> list[Block]:
    labels = list(dict.fromkeys(line.column.label for line in lines))
    same = {label: any(x.column.label == label and x.column.data == dataset for x in lines) for label in labels}
    accuracies, gains = [("Measured", "")], [("Measured", "")]
    for label in labels:
        accuracies += [("Published", label)] + [("Difference", label)] * same[label]
        gains.append(("Published", label))

    grouped: dict[tuple[str, ...], dict[str, _Line]] = {}
    for line in lines:
        grouped.setdefault((*_condition(line.column), line.row.name), {})[line.column.label] = line
    varied = [len(set(values)) > 1 for values in list(zip(*grouped, strict=True))[:-1]]
    corner = "Condition, method" if any(varied) else "Method"
    names = []
    for *condition, name in grouped:
        parts = [text for text, differs in zip(condition, varied, strict=True) if differs and text]
        names.append(", ".join([*parts, name]))

    def block(title: str, columns: list[tuple[str, str]], cell: Callable[[_Line, str], str]) -> Block:
        heads = tuple(kind + (f", {label}" if label and len(labels) > 1 else "") for kind, label in columns)
        rows = []
        for name, members in zip(names, grouped.values(), strict=True):
            there = [members.get(label) if label else next(iter(members.values())) for _, label in columns]
            texts = [cell(line, kind) if line else MISSING for line, (kind, _) in zip(there, columns, strict=True)]
            rows.append((name, tuple(map(Cell, texts))))
        return Block(title, corner, heads, tuple(rows))

    where = f": {labels[0]}" if several and len(labels) == 1 else ""
    where += "" if all(same.values()) else f"; measured on {Path(dataset).name}"
    blocks = [block(f"{TITLES[metric]}{where}", accuracies, _accuracy)]
    if any(line.gain.values or line.published_gain is not None for line in lines):
        blocks.append(block(f"Gain over the baseline, points of {metric} accuracy{where}", gains, _gain))
    return blocks


def _accuracy(line: _Line, kind: str) -> str:
    if kind == "Measured":
        return "not measured" if line.slot.reason else line.measured.text()
    if kind == "Difference":
        return _signed(line.difference, line.mark)
    if line.number is None or line.published is None:
        return MISSING
    sd = line.number.sd(line.metric)
    return f"{line.published:.2f}" + ("" if sd is None else f" ± {sd:.2f}") + line.mark


def _gain(line: _Line, kind: str) -> str:
    return line.gain.text("+") if kind == "Measured" else _signed(line.published_gain, line.mark)


def _condition(column: Column) -> tuple[str, ...]:
    """What a line says of its column, data set aside."""
    factor = "" if column.imbalance.factor == 1 else f"{column.imbalance.kind} imbalance {column.imbalance.factor:g}"
    weights = {NO_WEIGHTS: "no pre-training"}.get(column.weights, column.weights)
    return (weights, column.published.get("backbone", column.backbone), column.noise.label, factor)


def _signed(value: float | None, mark: str) -> str:
    return MISSING if value is None else f"{value:+.2f}{mark}"


# --- words -----------------------------------------------------------------------------------------------------------


def _brief(grid: Grid) -> str:
    """The reductions that a title has room for."""
    budget = grid.budget
    parts = [f"on {Path(budget.on).name}"] if budget.on else []
    if budget.preset or budget.on:
        parts.append(f"preset {budget.preset or 'quick'}")
    epochs = sorted({slot.recipe.epochs for slot in grid.slots if slot.row.method})
    parts.append(f"{' or '.join(map(str, epochs))} epoch{'s' if epochs != [1] else ''}")
    parts += [f"{budget.train_size} training images"] if budget.train_size else []
    return ", ".join([*parts, f"n = {len(grid.seeds)}"])


def _caption(grid: Grid, runs: Sequence[dict[str, Any]], reduced: Sequence[str]) -> str:
    import pandas as pd

    table = grid.table
    sentences = [f"REDUCED, not the budget of the table: {'; '.join(reduced)}"] if reduced else []
    sentences.append(f"After {table.content.paper}")
    if runs:
        names = sorted({Path(run["dataset"]).name for run in runs})
        epochs = ", ".join(map(str, sorted({run["epochs"] for run in runs})))
        rule = SELECTIONS[grid.selection].title
        chosen = "" if grid.selection != "last" else "; no epoch was chosen by its test accuracy"
        sentences.append(f"Measured: {', '.join(names)}, {rule} of {epochs}{chosen}")
        sentences.append("Mean ± standard deviation (divisor n - 1) over n runs that differ in their training seed")
        networks = sorted({(run["backbone"], run["image_size"], run["pretrained"]) for run in runs})
        nets = "; ".join(f"{net} at {size} px, {weights_name(weights)}" for net, size, weights in networks)
        frame = pd.DataFrame(runs)
        sentences += [f"{nets}{arithmetic(frame)}; data seed {grid.budget.data_seed}", budget(frame)]
    else:
        sentences.append("Nothing is measured yet")
    if any(table.baseline(each) for each in table.rows):
        sentences.append(
            "Gain: points over the baseline, measured over the measured one with the same seed, published over the one "
            "in the same published table; gains compare, accuracies of different set-ups do not"
        )
    sentences.append("Difference: measured less published, for the same data set only")
    sentences.append("Published: numbers that were seen in a source (table.csv names it); – was not seen")
    sentences.append("Letters in brackets: what differs from the paper, or is doubtful")
    sentences.append(source(pd.DataFrame(runs)) if runs else f"fer-bench {__version__}")
    return ". ".join(sentences) + "."


def _notes(grid: Grid, out: Path) -> list[str]:
    """The table's own note, then why cells are not measured, one line for each reason."""
    table = grid.table
    notes = [table.content.note] if table.content.note else []
    reasons: dict[tuple[str, str], dict[str, list[int]]] = {}
    for (name, place), slot in grid.by_place.items():
        data = Path(slot.dataset).name
        if slot.reason:
            where = f" on {data}" if slot.row.method else ""
            reasons.setdefault((slot.reason, where), {})[name] = list(grid.seeds)
        for run in slot.runs:
            folder = RunFolder.of(out, run.spec)
            if (state := folder.state) != "done":
                why = f": {folder.failure['error']}" if state == "failed" else ""
                said = {"new": "not trained yet", "interrupted": "training was interrupted"}.get(state, state) + why
                where = f" on {data}, {table.columns[place].noise.label}"
                reasons.setdefault((said, where), {}).setdefault(name, []).append(run.spec.seed)
    every = {each.name for each in table.rows if each.method}
    for (reason, where), names in reasons.items():
        some = any(set(seeds) < set(grid.seeds) for seeds in names.values())
        who = [name + (f" (seed {', '.join(map(str, names[name]))})" if some else "") for name in names]
        all_of_them = set(names) >= every and not some
        notes.append(f"not measured: {'every method' if all_of_them else ', '.join(who)}{where}: {reason}")
    return notes


def _record(table: Definition, line: _Line, selection: str) -> dict[str, Any]:
    """A line of the CSV, unrounded."""
    column, number = line.column, line.number
    measured, gain = line.measured, line.gain
    return {
        "table": table.id,
        "metric": line.metric,
        "unit": "%",
        "row": line.row.name,
        "method": line.row.method,
        "noise": column.noise.label,
        "imbalance": column.imbalance.factor,
        "backbone": line.slot.recipe.backbone if line.row.method else "",
        "pretrained": line.slot.recipe.pretrained,
        "dataset": line.slot.dataset,
        "selection": selection,
        "n": len(measured.values),
        "mean": measured.mean if measured.values else None,
        "sd": measured.sd,
        "gain_n": len(gain.values),
        "gain": gain.mean if gain.values else None,
        "gain_sd": gain.sd,
        "not_measured": line.slot.reason,
        "paper_dataset": column.label,
        "published": line.published,
        "published_sd": number.sd(line.metric) if number else None,
        "published_gain": line.published_gain,
        "published_selection": number.selection if number else "",
        "published_runs": number.runs if number else None,
        "published_classes": number.num_classes if number else None,
        "published_backbone": number.backbone if number else "",
        "published_weights": number.pretrain if number else "",
        "source": f"{number.paper}, {number.table}: {number.source_url}" if number else "",
        "difference": line.difference,
        "remarks": "; ".join(line.remarks),
    }
