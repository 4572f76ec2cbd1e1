"""Heat maps with numbers: noise and imbalance together, recall by class, confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fer_bench.report.arrange import Runs
from fer_bench.report.caption import images_note, means_text
from fer_bench.report.groups import Groups
from fer_bench.report.measures import Metric
from fer_bench.report.plots.multiples import Edges, tiles
from fer_bench.report.plots.style import (
    DIVERGING,
    NEUTRAL,
    SEQUENTIAL,
    SOFT,
    Box,
    Shading,
    canvas,
    column_names,
    heat,
    name_room,
    row_names,
    sheet,
)
from fer_bench.report.wording import sentence_case

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATRICES = 9
"""Confusion matrices of a figure."""

CLASSES = 12
"""Classes whose numbers a heat map has room for."""


def joint_grid(runs: Runs, groups: Groups, part: pd.DataFrame, metric: Metric, title: str) -> Figure:
    """What each row gains over the baseline at each noise rate and imbalance factor, in one panel for each row.

    The panel of the baseline shows its own values. Without a baseline all panels do.
    """
    shares = part.groupby("noise_rate")["realised_rate"].mean() * 100
    cells = metric.scale * part.groupby(["row", "noise_rate", "imbalance_factor"])[metric.column("last")].mean()
    grids = {row: cells[row].unstack().sort_index().sort_index(axis=1) for row in runs.present(part)}
    base = groups.baseline if groups.baseline in grids else ""
    gains = {row: each - grids[base] for row, each in grids.items()} if base else grids
    limit = max(float(np.nanmax(np.abs(each.to_numpy()))) for each in gains.values()) or 1.0
    columns = part["imbalance_factor"].nunique()
    across = 6 if columns <= 3 else 4 if columns <= 5 else 3
    size = 6.0 if columns <= 5 else 5.0
    whole = Shading(float(cells.min()), float(cells.max()), NEUTRAL if base else SEQUENTIAL)
    around = Shading(-limit, limit, DIVERGING)
    rates = [f"{share:.0f}" for share in shares]
    factors = [f"{factor:g}" for factor in sorted(part["imbalance_factor"].unique())]

    def draw(ax: Axes, box: Box, row: str, edges: Edges) -> None:
        own = row == base or not base
        heat(ax, box, grids[row] if own else gains[row], whole if own else around, ".1f" if own else "+.1f", size)
        if edges.left:
            row_names(ax, box, rates, 6.5, SOFT)
        if edges.bottom:
            column_names(ax, box, factors, 6.5)

    means = sentence_case(means_text(part))
    notes = f"{means}. Rows: {runs.wrong} (%). Columns: imbalance factor. {images_note(part['record'])}"
    if base:
        name = groups.name(base)
        notes = (
            f"Grey: accuracy of {name} (%). Other panels: difference from it in percentage points, in one scale; blue "
            f"is better, orange is worse. {notes}"
        )
    return tiles(
        groups, list(grids), draw, title=title, notes=notes, across=across, height=0.17 * len(shares), left=0.3,
        x="Imbalance factor",
    )  # fmt: skip


def recall_map(runs: Runs, group: pd.DataFrame, title: str) -> Figure:
    """Recall of each class in per cent, mean over seeds."""
    import pandas as pd

    rows, values = runs.present(group), []
    for row in rows:
        found = [record.epochs[-1]["test"]["recall"] for record in group[group["row"] == row]["record"]]
        values.append(100 * np.array(found, dtype=float).mean(0))
    names = runs.class_names(group["dataset"].iloc[0], len(values[0]))
    # a class without test images has no recall in any run of a data set, and stays empty
    means = pd.DataFrame(values, [runs.name(row) for row in rows], names)
    notes = f"Recall (%), {means_text(group)}. {images_note(group['record'])}"
    figure, panels = sheet(
        1, 1, 0.19 * len(means), title=title, notes=notes, left=name_room(list(means.index)), right=0.15,
        top=0.1, bottom=0.75 * name_room(names),
    )  # fmt: skip
    ax, box = canvas(figure), panels[0][0]
    heat(ax, box, means, Shading(), size=7 if len(names) <= CLASSES else 5)
    row_names(ax, box, list(means.index))
    column_names(ax, box, names)
    return figure


def confusion_maps(runs: Runs, groups: Groups, group: pd.DataFrame, title: str) -> Figure:
    """Confusion matrices of the test set, summed over seeds, each row in per cent.

    Of more than ``MATRICES`` rows only those with the best accuracies are shown, and the baseline.
    """
    import pandas as pd

    rows, shown = runs.present(group), _best(runs.present(group), groups.baseline, group)
    size = len(group["record"].iloc[0].epochs[-1]["test"]["confusion"])
    names = runs.class_names(group["dataset"].iloc[0], size)
    pooled = " All runs of a method together." * bool(len(group) > len(rows))
    notes = f"Rows: true class. Columns: predicted class. Per cent of the true class.{pooled}"
    if len(shown) < len(rows):
        other = f" and {groups.name(groups.baseline)}" if groups.baseline in shown else ""
        notes += f" Of {len(rows)} methods, the {len(shown) - bool(other)} with the highest accuracy{other}."

    notes = f"{notes} {images_note(group['record'])}"

    def draw(ax: Axes, box: Box, row: str, edges: Edges) -> None:
        found = [record.epochs[-1]["test"]["confusion"] for record in group[group["row"] == row]["record"]]
        counts = np.sum(found, axis=0, dtype=float)
        total = counts.sum(1, keepdims=True)
        share = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
        heat(ax, box, pd.DataFrame(share), Shading(), size=6 if size <= 8 else 4.5)
        column_names(ax, box, names, 6.5)
        if edges.left:
            row_names(ax, box, names, 6.5, SOFT)

    return tiles(
        replace(groups, families={"": tuple(shown)}), shown, draw, title=title, notes=notes, across=3, height=2.0,
        left=name_room(names), below=0.7 * name_room(names),
    )  # fmt: skip


def _best(rows: Sequence[str], baseline: str, group: pd.DataFrame) -> list[str]:
    means = group.groupby("row")["test_overall"].mean()
    ordered = sorted(rows, key=lambda row: -means[row])
    kept = ordered[:MATRICES]
    if baseline in ordered[MATRICES:]:
        kept[-1] = baseline
    return kept
