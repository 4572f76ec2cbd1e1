"""Critical-difference diagrams (Demšar, JMLR 7, 2006): mean ranks over blocks, and which are not told apart."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from fer_bench.report.footnotes import marks
from fer_bench.report.plots.style import Panel, Runs, headline, join, plain
from fer_bench.report.significance import p_text
from fer_bench.report.statistics import ALPHA, blocks, friedman, nemenyi

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

PANELS = (
    Panel("test_overall", "Overall accuracy, last epoch", ""),
    Panel("test_mean", "Mean accuracy over classes, last epoch", ""),
)


def critical_differences(runs: Runs) -> Iterator[tuple[str, Figure]]:
    """One diagram for each measure; none below three methods or MIN_PAIRS complete blocks."""
    for panel in PANELS:
        figure = diagram(
            runs.frame, panel.column, panel.title, {row: look["color"] for row, look in runs.looks.items()}
        )
        if figure is not None:
            yield join("critical-difference", panel.column.removeprefix("test_")), figure


def diagram(
    frame: pd.DataFrame, column: str, title: str, colours: Mapping[str, Any], *, unit: str = "seed", higher: bool = True
) -> Figure | None:
    """Mean ranks of the rows of arranged runs, and a bar over those that Nemenyi's test does not tell apart at 0.05.

    Where Friedman's test finds no difference at all one bar spans all rows. None where ranks cannot be tested.
    """
    import pandas as pd
    from scikit_posthocs import critical_difference_diagram

    table = blocks(frame, column, unit)
    ranks = friedman(table, higher)
    if ranks is None:
        return None
    signs = marks(frame)
    names = {row: plain(signs.name(str(row))) for row in table.columns}
    p = nemenyi(table).rename(index=names, columns=names)
    if ranks.p >= ALPHA:
        p = pd.DataFrame(1.0, p.index, p.columns)
    rows = len(names)
    figure = Figure(figsize=(8, 1.6 + 0.27 * rows), layout="constrained")
    ax = figure.subplots()
    drawn = critical_difference_diagram(
        ranks.mean.rename(index=names),
        p,
        alpha=ALPHA,
        ax=ax,
        color_palette={names[row]: colours[row] for row in table.columns},
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
    which = f"Friedman's test over {ranks.blocks} blocks: p {'= ' * (ranks.p >= 0.001)}{p_text(ranks.p)}"
    bars = "Bars join methods that Nemenyi's test does not tell apart at 0.05"
    if ranks.p >= ALPHA:
        bars = "No difference is shown, so one bar joins all"
    draws = frame["data_seed"].nunique()
    limits = f"Blocks: {frame['condition'].nunique()} conditions, {draws} draw{'s' * (draws > 1)} of the training data"
    limits += f", {frame['seed'].nunique()} training seeds" if unit == "seed" else ", means over seeds"
    about = ". ".join([which, bars, limits + "; they are not independent data", *signs.legend]) + "."
    figure.supxlabel("\n".join(textwrap.wrap(plain(about), 110)), x=0.01, ha="left", fontsize="small", color="0.4")
    headline(figure, f"Critical differences: {title}")
    return figure
