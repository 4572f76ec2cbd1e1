"""Critical-difference diagrams (Demšar, JMLR 7, 2006): mean ranks over blocks, and which do not differ."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from fer_bench.core.text import counted
from fer_bench.report.arrange import Runs, joined_text
from fer_bench.report.footnotes import footnotes
from fer_bench.report.measures import BY_NAME, Metric
from fer_bench.report.plots.style import headline, looks, plain
from fer_bench.report.significance import p_equation
from fer_bench.report.statistics import ALPHA, Ranks, blocks, friedman, nemenyi

if TYPE_CHECKING:
    import pandas as pd


def critical_differences(runs: Runs) -> Iterator[tuple[str, Figure]]:
    """One diagram for each accuracy; none below three methods or six complete blocks."""
    for name in ("overall", "mean"):
        figure = diagram(runs, BY_NAME[name])
        if figure is not None:
            yield joined_text("critical-difference", name), figure


def diagram(runs: Runs, metric: Metric) -> Figure | None:
    """Mean ranks of the methods, and a bar over those that Nemenyi's test does not find different at 0.05.

    If Friedman's test finds no difference at all, one bar spans all methods. None where ranks cannot be tested.
    """
    import pandas as pd

    table = blocks(runs.frame, metric.column("last"))
    ranks = friedman(table, metric.better > 0)
    if ranks is None:
        return None
    signs = footnotes(runs)
    names = {row: plain(signs.name(str(row))) for row in table.columns}
    p = nemenyi(table).rename(index=names, columns=names)
    if ranks.p >= ALPHA:
        p = pd.DataFrame(1.0, p.index, p.columns)
    colours = {names[row]: looks(runs.rows)[row]["color"] for row in table.columns}
    figure = _draw(ranks.mean.rename(index=names), p, colours)
    about = " ".join(_below(runs, ranks, signs.legend))
    figure.supxlabel("\n".join(textwrap.wrap(plain(about), 110)), x=0.01, ha="left", fontsize="small", color="0.4")
    headline(figure, f"Mean ranks by {metric.title[0].lower()}{metric.title[1:]}{runs.data}, last epoch")
    return figure


def _draw(ranks: pd.Series, p: pd.DataFrame, colours: dict[str, object]) -> Figure:
    from scikit_posthocs import critical_difference_diagram

    rows = len(ranks)
    figure = Figure(figsize=(8, 1.6 + 0.27 * rows), layout="constrained")
    ax = figure.subplots()
    drawn = critical_difference_diagram(
        ranks,
        p,
        alpha=ALPHA,
        ax=ax,
        color_palette=colours,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        label_props={"size": "medium"},
        marker_props={"s": 30},
        elbow_props={"linewidth": 1.3},
        crossbar_props={"color": "0.25", "linewidth": 3, "solid_capstyle": "round"},
        text_h_margin=0.02 * rows,
    )
    for label in drawn["labels"]:
        label.set_color("0.15")  # some colours of lines are too pale for text
    ax.set_xlim(0.95, rows + 0.05)
    ax.set_xticks(range(1, rows + 1))
    ax.set_xlabel("Mean rank (1 is best)")
    ax.xaxis.set_label_position("top")
    ax.grid(False)
    return figure


def _below(runs: Runs, ranks: Ranks, legend: Sequence[str]) -> list[str]:
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
        f"Blocks: {', '.join(sizes)}. They are not independent.",
        *legend,
    ]
