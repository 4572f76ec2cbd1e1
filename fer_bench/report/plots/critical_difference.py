"""Critical-difference diagrams (Demšar, JMLR 7, 2006): mean ranks over blocks, and which do not differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fer_bench.core.text import counted
from fer_bench.report.arrange import Runs, joined_text
from fer_bench.report.caption import images_note
from fer_bench.report.footnotes import footnotes
from fer_bench.report.groups import Groups
from fer_bench.report.measures import Metric
from fer_bench.report.plots.sketch import Sketch
from fer_bench.report.plots.style import INK, name_room, plain, sheet
from fer_bench.report.significance import p_equation
from fer_bench.report.statistics import ALPHA, Ranks, blocks, friedman, nemenyi

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


MOST = 20
"""Methods of a diagram: the names and lines of more cannot be told apart."""


def critical_differences(runs: Runs, known: Groups, metrics: Iterable[Metric]) -> Iterator[Sketch]:
    """One diagram for each metric; none below three methods or six complete blocks."""
    for metric in metrics:
        table = blocks(runs.tested, metric.column("last"))
        ranks = friedman(table, metric.better > 0)
        if ranks is not None:
            draw = partial(diagram, runs, known, metric, table, ranks)
            yield Sketch(joined_text("critical-difference", metric.name), runs.frame, draw, known)


def diagram(runs: Runs, known: Groups, metric: Metric, table: pd.DataFrame, ranks: Ranks) -> Figure:
    """Mean ranks of the methods, and a bar over those that Nemenyi's test does not find different at 0.05.

    If Friedman's test finds no difference at all, one bar spans all methods. Of more than ``MOST`` rows only those with
    the best ranks are shown, and the baseline. Rows that are not shown are ranked with the others.
    """
    import pandas as pd

    signs = footnotes(runs)
    ranked = [row for row in runs.rows if row in ranks.mean]
    best = sorted(ranked, key=lambda row: ranks.mean[row])[:MOST]
    names = {row: plain(signs.name(row)) for row in ranked if row in best or row == known.baseline}
    p = nemenyi(table).loc[list(names), list(names)].rename(index=names, columns=names)
    if ranks.p >= ALPHA:
        p = pd.DataFrame(1.0, p.index, p.columns)
    colours = {name: known.colour(row) for row, name in names.items()}
    title = f"Mean ranks by {metric.title[0].lower()}{metric.title[1:]}{runs.data}, last epoch"
    return _draw(
        ranks.mean[list(names)].rename(names),
        p,
        colours,
        title,
        " ".join(_below(runs, ranks, len(ranked), signs.legend)),
    )


def _draw(ranks: pd.Series, p: pd.DataFrame, colours: dict[str, str], title: str, notes: str) -> Figure:
    from scikit_posthocs import critical_difference_diagram

    rows = len(ranks)
    height, room = 0.5 + 0.1 * rows, name_room([f"{name}  1.00" for name in ranks.index])
    figure, panels = sheet(1, 1, height, title=title, notes=notes, left=room, right=room, top=0.45, bottom=0.05)
    ax = panels[0][0].axes(figure)
    drawn = critical_difference_diagram(
        ranks,
        p,
        alpha=ALPHA,
        ax=ax,
        color_palette=colours,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        label_props={"size": 7.5},
        marker_props={"s": 16},
        elbow_props={"linewidth": 1},
        crossbar_props={"color": "0.25", "linewidth": 2.4, "solid_capstyle": "round"},
        text_h_margin=0.02 * rows,
    )
    for label in drawn["labels"]:
        label.set_color(INK)  # some colours of lines are too pale for text
    last = max(rows, math.ceil(ranks.max()))
    ax.set_xlim(0.95, last + 0.05)
    ax.set_xticks(range(1, last + 1, 1 + last // 20))
    ax.set_xlabel("Mean rank (1 is best)")
    ax.xaxis.set_label_position("top")
    ax.grid(False)
    return figure


def _below(runs: Runs, ranks: Ranks, known: int, legend: Sequence[str]) -> list[str]:
    """The sentences below the diagram."""
    frame = runs.frame
    bars = f"Bars join methods that Nemenyi's test does not find different at {ALPHA}."
    if ranks.p >= ALPHA:
        bars = "No difference is significant, so one bar joins all methods."
    sizes = (
        counted(frame["condition"].nunique(), "condition"),
        counted(frame["data_seed"].nunique(), "draw") + " of the training data",
        counted(frame["seed"].nunique(), "training seed"),
    )
    return [
        f"Friedman's test over {counted(ranks.blocks, 'block')}: {p_equation(ranks.p)}.",
        bars,
        *([f"Of {known} methods, the {MOST} with the best ranks and the baseline."] if known > MOST else []),
        f"Blocks: {', '.join(sizes)}. They are not independent.",
        images_note(frame["record"]),
        *legend,
    ]
