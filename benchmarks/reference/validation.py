"""The validation table of docs/methods.md: does each method do on drawn faces what it is made for?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.reference.marks import replace_between
from fer_bench.core.errors import SpecError
from fer_bench.method import Info
from fer_bench.plugins.registry import discover
from fer_bench.store.records import Record
from fer_bench.sweep.record import Sweep

SWEEP = "reference-grid"
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
BEGIN, END = "<!-- begin of the validation -->\n", "<!-- end of the validation -->\n"

CONDITIONS = {
    "clean": (0.0, 1.0, "overall"),
    "symmetric 0.4": (0.4, 1.0, "overall"),
    "imbalance 50": (0.0, 50.0, "mean"),
}
"""Columns: rate of symmetric noise, imbalance factor, and the accuracy that is shown."""

PROMISES = {
    "label noise": ("symmetric 0.4",),
    "imbalance": ("imbalance 50",),
    "both": ("symmetric 0.4", "imbalance 50"),
    "baseline": (),
}
"""The columns in which a method of each kind is made to be better than cross-entropy."""

BASELINE = "ce"

Cells = Mapping[str, Mapping[str, Sequence[float]]]


def accuracies(records: Sequence[Record]) -> Cells:
    """Accuracies in % on the validation split at the last epoch, one for each seed, by method and column."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda each: each.spec["seed"]):
        spec, scores = record.spec, record.epochs[-1].get("val")
        for column, (rate, factor, which) in CONDITIONS.items():
            if (spec["noise"]["rate"], spec["imbalance"]["factor"]) == (rate, factor) and scores:
                found[spec["method"]][column].append(100 * scores[which])
    return found


def table(records: Sequence[Record]) -> str:
    """The table in Markdown, with a mark at each cell that misses what its method is made for, and a note.

    Raises:
        SpecError: The sweep has no finished runs of cross-entropy.
    """
    cells, costs = accuracies(records), _costs(records)
    if BASELINE not in cells:
        raise SpecError(f"the sweep {SWEEP} has no finished runs of {BASELINE}")
    lines = [
        f"| method | {' | '.join(CONDITIONS)} | images forward / backward |",
        f"|---|{'---:|' * (len(CONDITIONS) + 1)}",
    ]
    for key, plugin in discover().items():
        if key in cells:
            row = [_cell(key, column, plugin.load().info, cells) for column in CONDITIONS]
            lines.append(f"| `{key}` | {' | '.join(row)} | {costs.get(key, '–')} |")
    return "\n".join(lines)


def misses(key: str, column: str, info: Info, cells: Cells) -> bool:
    """Whether a method is made to be better than cross-entropy in a column, and is not."""
    promised = column in PROMISES.get(info.kind, ()) and column in cells[key] and column in cells[BASELINE]
    return promised and fmean(cells[key][column]) <= fmean(cells[BASELINE][column])


def _cell(key: str, column: str, info: Info, cells: Cells) -> str:
    values = cells[key].get(column, ())
    if not values:
        return "–"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}{' ▽' if misses(key, column, info, cells) else ''}"


def _costs(records: Sequence[Record]) -> dict[str, str]:
    """Images forwarded and backwarded in training with clean labels, as multiples of cross-entropy's."""
    totals: dict[str, tuple[float, float]] = {}
    for record in records:
        spec = record.spec
        if (spec["noise"]["rate"], spec["imbalance"]["factor"]) == (0.0, 1.0):
            totals[spec["method"]] = record.final["images_forward"], record.final["images_backward"]
    forward, backward = totals[BASELINE]
    return {key: f"{f / forward:.1f} / {b / backward:.1f}" for key, (f, b) in totals.items()}


def write(sweep: Sweep, page: Path = PAGE) -> None:
    """Replaces the table between the marks of the page."""
    replace_between(page, BEGIN, END, table(sweep.records()) + "\n")
