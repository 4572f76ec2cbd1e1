"""The other predictions of a trained method, such as those of a second network, as rows beside its own."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from fer_bench.report.arrange import Runs, unique
from fer_bench.report.footnotes import Footnotes
from fer_bench.report.rendering import Block, Cell

if TYPE_CHECKING:
    from fer_bench.store.records import Record


def block(runs: Runs, signs: Footnotes) -> list[Block]:
    """Overall accuracy in % of other predictions, and of the method's own in the row above; none if there are none.

    Values are of the end of the training: the mean over runs, with the standard deviation of two or more.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    columns = (runs.frame[name].tolist() for name in ("row", "condition", "record"))
    for row, condition, record in zip(*columns, strict=True):
        others = _accuracies(record)
        if others:
            found.setdefault((row, "", condition), []).append(record.epochs[-1]["test"]["overall"])
        for name, accuracy in others.items():
            found.setdefault((row, name, condition), []).append(accuracy)
    conditions = [c for c in unique(runs.frame, "condition") if any(condition == c for _, _, condition in found)]
    names = dict.fromkeys((row, name) for row, name, _ in found)
    lines = [
        (", ".join(filter(None, (signs.name(row), name))), tuple(_cell(found.get((row, name, c))) for c in conditions))
        for shown in runs.rows
        for row, name in names
        if row == shown
    ]
    title = "Other predictions of the same runs: overall accuracy (%), last epoch"
    return [Block(title, "Method", tuple(conditions), tuple(lines), main=False)] if lines else []


def _accuracies(record: Record) -> dict[str, float]:
    """Overall accuracies of the other predictions of a run, by name."""
    others = record.final.get("other_predictions", {})
    return {name: scores["overall"] for name, scores in others.items() if isinstance(scores.get("overall"), float)}


def _cell(values: list[float] | None) -> Cell:
    if not values:
        return Cell()
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return Cell(f"{100 * statistics.fmean(values):.2f}{spread}")
