"""The comparison of methods: what a table holds, computed from finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.report import tables as facts
from fer_bench.report.aggregate import count, extent, numbers, purity, together
from fer_bench.report.arrange import arrange, row_order, unique
from fer_bench.report.caption import caption
from fer_bench.report.footnotes import Marks, marks
from fer_bench.report.measures import Metric, View
from fer_bench.report.rendering import Block, Cell, Table
from fer_bench.report.significance import STAR, Conclusions

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_VIEW = View()


def comparison(
    runs: pd.DataFrame,
    titles: Mapping[str, str] | None = None,
    *,
    order: Iterable[str] = (),
    notes: Iterable[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
    title: str = "Facial expression recognition under label noise and imbalance",
    view: View = DEFAULT_VIEW,
) -> Table:
    """Methods as rows, conditions as columns, one block for each metric and selection of epochs;
    then all blocks together, cost, and data.

    runs     from ``load_runs``
    titles   names of methods by key; their keys otherwise
    order    method keys, first row first; the others follow by key
    notes    lines below the table, such as why runs are missing
    classes  class names by data set, for the purity of labels; class numbers otherwise
    view     which metrics and selections of epochs, the baseline, and how it is tested

    Cells are the mean over runs and, for two runs or more, ± the standard deviation or the 95 % interval. Bold: the
    best mean of a column and, where there are pairs enough for a test, all that the test does not tell from it.
    """
    order = tuple(order)
    frame = arrange(runs, titles, order)
    frame["gap"] = frame["best_test_overall"] - frame["test_overall"]
    rows, conditions = row_order(frame, order), unique(frame, "condition")
    signs, conclusions = marks(frame), Conclusions(frame, view)
    values = numbers(frame, rows, conditions, view)
    shares = purity(frame, classes or {})
    shown = [(metric, selection) for metric in view.chosen for selection in view.variants(metric)]
    blocks: list[Block] = []
    for metric, selection in shown:
        blocks += _metric(values, metric, selection, rows, conditions, signs, conclusions)
    for metric in view.chosen:
        blocks += conclusions.together(metric, view.selections[0], signs, rows)
    blocks.append(facts.cost(frame, values, rows, signs))
    blocks += facts.data(frame, shares)
    missing = [
        f"{metric.heading(selection)}: no finished run has it."
        for metric, selection in shown
        if metric.column(selection) not in set(values["metric"]) and metric.name != "memorised"
    ]
    below = (*notes, *_own_notes(frame, rows, conditions), *missing, *conclusions.notes)
    return Table(
        title,
        tuple(blocks),
        caption(frame, view, conclusions, signs),
        below,
        together(values, conclusions.differences, shares),
        signs.legend,
    )


def write(
    runs: pd.DataFrame,
    folder: Path,
    notes: Iterable[str] = (),
    *,
    titles: Mapping[str, str] | None = None,
    order: Iterable[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
    view: View = DEFAULT_VIEW,
) -> list[Path]:
    """Writes table.md, .csv, .tex and .html, and runs.csv with every field of every run; the paths."""
    return save(comparison(runs, titles, order=order, notes=notes, classes=classes, view=view), runs, folder)


def save(table: Table, runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes the files of :func:`write` of a table that is there already; the paths."""
    contents = {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "table.tex": table.latex(),
        "table.html": table.html(),
        "runs.csv": runs.to_csv(index=False, lineterminator="\n"),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def _metric(
    values: pd.DataFrame,
    metric: Metric,
    selection: str,
    rows: list[str],
    conditions: list[str],
    signs: Marks,
    conclusions: Conclusions,
) -> list[Block]:
    """One block, or none where no run has the metric. A condition without values (memorised, of clean labels) has no
    column."""
    mine = values[values["metric"] == metric.column(selection)]
    found = {(value["row"], value["condition"]): value for value in mine.to_dict("records")}
    columns = [c for c in conditions if any(condition == c for _, condition in found)]
    if not columns:
        return []
    usual = int(mine["n"].max())
    signed = {condition: conclusions.column(metric, selection, condition) for condition in columns}

    def cell(row: str, condition: str) -> Cell:
        if (row, condition) not in found:
            return Cell()
        value, (bold, starred) = found[row, condition], signed[condition]
        text = f"{value['mean']:.2f}"
        if value["n"] > 1 and conclusions.view.spread == "sd":
            text += f" ± {value['sd']:.2f}"
        elif value["n"] > 1:
            text += f" [{value['low']:.2f}, {value['high']:.2f}]"
        text += STAR * (row in starred) + (f" (n={value['n']:.0f})" if value["n"] != usual else "")
        return Cell(text, row in bold)

    lines = tuple((signs.name(row), tuple(cell(row, c) for c in columns)) for row in rows)
    return [Block(metric.heading(selection), "Method", tuple(columns), lines)]


def _own_notes(frame: pd.DataFrame, rows: list[str], conditions: list[str]) -> list[str]:
    """What a reader should know of this table."""
    notes = []
    sizes = frame.groupby(["row", "condition"]).size()
    if len(sizes) < len(rows) * len(conditions):
        notes.append(f"{Cell().text}: there is no finished run.")
    if sizes.nunique() > 1:
        notes.append("Cells have different numbers of runs, so means of one column are not over the same seeds.")
    adapted = frame.groupby("row")["config"].nunique()
    for row in rows:
        if adapted[row] > 1:
            notes.append(f"{row}: settings differ between conditions; runs.csv has them.")
    return notes


def cost(frame: pd.DataFrame, numbers: pd.DataFrame, rows: list[str], marks: Marks) -> Block:
    """What a run costs: a mean over seeds, and a range where conditions differ (imbalance takes images away)."""
    means = dict(iter(numbers.groupby(["metric", "row"])["mean"]))
    told = set(frame.loc[frame["told"], "row"])
    names = {
        "parameters": "Parameters",
        "images_forward": "Images forward",
        "images_backward": "Images backward",
        "seconds": "Seconds",
        "peak_memory_bytes": "Peak memory",
        "skipped_steps": "Skipped steps",
    }
    measured = {name: title for name, title in names.items() if any(name == metric for metric, _ in means)}

    def cell(name: str, row: str) -> Cell:
        if (name, row) not in means:
            return Cell()
        return Cell(extent(means[name, row], lambda v: count(v, "B" if name.endswith("bytes") else "")))

    lines = tuple(
        (marks.name(row), (*(cell(name, row) for name in measured), Cell("yes" if row in told else "no")))
        for row in rows
    )
    return Block("Cost of one run", "Method", (*measured.values(), "Told the noise rate"), lines)


def data(frame: pd.DataFrame, purity: pd.DataFrame) -> list[Block]:
    """What the training data turned out to be, condition by condition, and the purity of each class's labels."""
    lines = []
    for condition, group in frame.groupby("condition", sort=False):
        texts = (
            extent(group["train_images"], lambda v: f"{v:.0f}"),
            extent(group["realised_rate"] * 100, lambda v: f"{v:.2f}"),
            extent(group["noisy_imbalance"].dropna(), lambda v: f"{v:.1f}"),
        )
        lines.append((str(condition), tuple(map(Cell, texts))))
    columns = ("Training images", "Wrong labels, %", "Observed imbalance")
    blocks = [Block("Training data", "Condition", columns, tuple(lines))]
    for dataset, part in purity.groupby("dataset", sort=False):
        names = tuple(unique(part, "class"))
        found = dict(iter(part.groupby(["condition", "class"])["value"]))
        rows = []
        for condition in unique(part, "condition"):
            shares = (extent(found[condition, name].dropna(), lambda v: f"{v:.1f}") for name in names)
            rows.append((condition, tuple(map(Cell, shares))))
        several = purity["dataset"].nunique() > 1
        title = "Labels that are right, by given class, %" + (f": {Path(str(dataset)).name}" if several else "")
        blocks.append(Block(title, "Condition", names, tuple(rows)))
    return blocks
