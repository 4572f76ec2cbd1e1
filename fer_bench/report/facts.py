"""The blocks of a table that compare nothing: what runs cost, and what their training data turned out to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.report.cells import Block, Cell
from fer_bench.report.conditions import unique
from fer_bench.report.marks import Marks
from fer_bench.report.numbers import count, extent

if TYPE_CHECKING:
    import pandas as pd


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
            extent(group["observed_imbalance"].dropna(), lambda v: f"{v:.1f}"),
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
