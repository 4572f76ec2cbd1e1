"""Figures from finished runs. Only what the runs support is drawn; every figure is one png and one pdf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from fer_bench.report.aggregate import class_names
from fer_bench.report.arrange import arrange, row_order, unique
from fer_bench.report.plots.critical_difference import critical_differences
from fer_bench.report.plots.style import (
    POINT,
    Panel,
    Runs,
    across,
    bar,
    file_name,
    finish,
    grid,
    headline,
    heat,
    join,
    lines,
    plain,
    points,
    room_for,
    save,
    tiles,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROWS = 4
"""Panels on top of each other before the next figure begins."""

BAND = "Lines: mean over seeds. Bands: lowest to highest seed. Small dots: single runs."

Drawn = Iterator[tuple[str, Figure]]

OVERALL = Panel("test_overall", "Overall accuracy", "Test accuracy, %")

MEAN = Panel("test_mean", "Mean accuracy over classes", "Mean class accuracy, %")

MEMORISED = Panel("memorised", "Wrong training labels memorised", "Wrong labels memorised, %")


def write(
    runs: pd.DataFrame,
    folder: Path,
    *,
    titles: Mapping[str, str] | None = None,
    order: Iterable[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Draws all figures that the runs support into ``folder/plots``; the paths.

    runs, titles, order, classes   as for ``tables.comparison``
    """
    order = tuple(order)
    frame = arrange(runs, titles, order)
    given = Runs(frame, row_order(frame, order), classes or {})
    paths: list[Path] = []
    # both are context managers: the caller's matplotlib settings stay as they are
    with (
        sns.axes_style("ticks"),
        sns.plotting_context("notebook", font_scale=0.85),
        matplotlib.rc_context(
            {"axes.titlesize": "medium", "axes.titleweight": "bold", "pdf.fonttype": 42, "legend.frameon": False}
        ),
    ):
        for draw in (against_noise, against_imbalance, joint, critical_differences, recalls, confusions, curves):
            for name, figure in draw(given):
                paths += save(figure, folder / "plots" / file_name(name))
    return paths


# --- sweeps --------------------------------------------------------------------------------------------------------


def against_noise(runs: Runs) -> Drawn:
    """Accuracy and memorisation against the share of wrong labels: a row of panels for each kind of noise.

    Kinds without a rate (human labels) have one point, the share that their data have: hollow markers, beside the
    lines of the other kinds.
    """
    for context, group in runs.frame.groupby("context", sort=False):
        noisy = group[group["family"] != ""]
        rates = noisy.groupby("family")["noise_rate"].agg(["nunique", "max"])
        top = 100 * group["realised_rate"].max()
        has_clean = (group["family"] == "").any()
        fixed = [f for f in unique(noisy, "family") if rates.at[f, "max"] == 0]
        swept = [f for f in unique(noisy, "family") if f not in fixed and rates.at[f, "nunique"] + has_clean > 1]
        if not swept and not (fixed and has_clean):
            continue
        figure, axes = grid(max(len(swept), 1), 3, 4.2, room_for(runs.rows), sharey="col")
        for row, family in zip(axes, swept or [""], strict=True):
            part = group[group["family"].isin(["", family])]
            for ax, panel in zip(row, (OVERALL, MEAN, MEMORISED), strict=True):
                lines(ax, runs, part, "realised_rate", panel, by="noise_rate", scale=100)
                for other in fixed:
                    points(ax, runs, group[group["family"] == other], panel, str(other))
                ax.set_title(plain(join(panel.title, family if len(swept) > 1 else "")))
                ax.set_xlabel("Wrong training labels, %")
                ax.set_xlim(-0.05 * top, 1.05 * top)
        about = f"{swept[0]} noise" if len(swept) == 1 else "by kind of noise" if swept else ""
        hollow = f" Hollow: {' and '.join(fixed)} labels." if fixed else ""
        finish(figure, runs, group, join("Label noise, last epoch", about, context), BAND + hollow)
        yield join("noise", context), figure


def against_imbalance(runs: Runs) -> Drawn:
    """Accuracy against the imbalance factor, one figure for each noise."""
    for setting, group in runs.frame.groupby("setting", sort=False):
        factors = sorted(group["imbalance_factor"].unique())
        if len(factors) < 2:
            continue
        figure, axes = grid(1, 2, 4.4, room_for(runs.rows))
        for ax, panel in zip(axes[0], (OVERALL, MEAN), strict=True):
            lines(ax, runs, group, "imbalance_factor", panel, by="imbalance_factor")
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator(factors))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(factors, ["as it is" if f == 1 else f"{f:g}" for f in factors])
            ax.set_xlabel("Imbalance factor (largest to smallest class)")
            ax.set_title(panel.title)
        finish(figure, runs, group, join("Class imbalance, last epoch", setting), BAND)
        yield join("imbalance", setting), figure


def joint(runs: Runs) -> Drawn:
    """Accuracy over noise rate x imbalance factor, one panel for each method."""
    for base, group in runs.frame.groupby("base", sort=False):
        for family in [f for f in unique(group, "family") if f]:
            part = group[group["family"].isin(["", family])]
            if part["noise_rate"].nunique() < 2 or part["imbalance_factor"].nunique() < 2:
                continue
            if part[part["family"] == family]["imbalance_factor"].nunique() < 2:
                continue
            for panel in (OVERALL, MEAN):
                yield (
                    join(panel.column.removeprefix("test_"), f"{family} noise and imbalance", base),
                    _joint(runs, part, panel, join(f"{panel.title}, last epoch", f"{family} noise", base)),
                )


def _joint(runs: Runs, part: pd.DataFrame, panel: Panel, title: str) -> Figure:
    shares = part.groupby("noise_rate")["realised_rate"].mean() * 100
    cells = 100 * part.groupby(["row", "noise_rate", "imbalance_factor"])[panel.column].mean()
    rows = runs.among(part)
    figure, axes = tiles(len(rows), 0.75 * part["imbalance_factor"].nunique() + 1, 0.5 * len(shares) + 0.8)
    for k, row in enumerate(rows):
        values = cells[row].unstack().sort_index().sort_index(axis=1)
        values.index = [f"{shares[rate]:.0f}" for rate in values.index]
        values.columns = [f"{factor:g}" for factor in values.columns]
        heat(axes[k], values, vmin=cells.min(), vmax=cells.max(), form=".1f")
        axes[k].set_title(plain(row))
        axes[k].set_xlabel("Imbalance factor")
        axes[k].set_ylabel("" if k % across(len(rows)) else "Wrong labels, %")
    bar(figure, axes[: len(rows)], panel.label)
    headline(figure, title)
    return figure


# --- one condition -------------------------------------------------------------------------------------------------


def recalls(runs: Runs) -> Drawn:
    """Recall of each class, methods as rows, mean over seeds: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.among(group)
        values = []
        for row in rows:
            found = [runs.records(path)[-1]["test"]["recall"] for path in group[group["row"] == row]["path"]]
            values.append(100 * np.array(found, dtype=float).mean(0))
        names = class_names(runs.classes, group["dataset"].iloc[0], len(values[0]))
        # a class without test images is None in every run of a data set, and stays empty
        means = pd.DataFrame(values, [plain(row) for row in rows], names)
        figure, axes = grid(1, 1, 0.72 * max(len(names), 5) + 2.2, 0.36 * len(rows) + 1.5)
        heat(axes[0][0], means, vmin=0, vmax=100, form=".0f")
        axes[0][0].set_xlabel("Class")
        bar(figure, [axes[0][0]], "Recall, %")
        headline(figure, f"Recall by class, last epoch: {condition}")
        yield f"recall {condition}", figure


def confusions(runs: Runs) -> Drawn:
    """Confusion matrices of the test set, summed over seeds, each row in per cent: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.among(group)
        size = len(runs.records(group["path"].iloc[0])[-1]["test"]["confusion"])
        names = class_names(runs.classes, group["dataset"].iloc[0], size)
        room = max(size, 7)  # names and title need as much for three classes as for seven
        figure, axes = tiles(len(rows), 0.36 * room + 0.9, 0.33 * room + 0.8)
        for ax, row in zip(axes, rows, strict=False):
            paths = group[group["row"] == row]["path"]
            counts = np.sum([runs.records(path)[-1]["test"]["confusion"] for path in paths], axis=0, dtype=float)
            total = counts.sum(1, keepdims=True)
            share = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
            heat(ax, pd.DataFrame(share, names, names), vmin=0, vmax=100, form=".0f", small=True)
            ax.set_title(plain(row))
        for k, ax in enumerate(axes[: len(rows)]):
            ax.tick_params(labelleft=k % across(len(rows)) == 0)
        bar(figure, axes[: len(rows)], "Share of the true class, %")
        figure.supxlabel("Predicted class", fontsize="medium")
        figure.supylabel("True class", fontsize="medium")
        headline(figure, f"Confusion on the test set, last epoch: {condition}")
        yield f"confusion {condition}", figure


def curves(runs: Runs) -> Drawn:
    """Test accuracy and memorisation after each epoch, a row of panels for each noise."""
    reads: tuple[tuple[str, str, Callable[[dict[str, Any]], Any]], ...] = (
        ("Overall accuracy", "Test accuracy, %", lambda record: record["test"]["overall"]),
        ("Memorised", MEMORISED.label, lambda record: record["train_fit"]["memorised"]),
    )
    for context, everything in runs.frame.groupby("context", sort=False):
        noises = unique(everything, "noise")
        for first in range(0, len(noises), ROWS):
            group = everything[everything["noise"].isin(noises[first : first + ROWS])]
            # clean labels leave nothing to memorise: no panel, and no column where all are clean
            wide = 2 if group["memorised"].notna().any() else 1
            figure, axes = grid(group["noise"].nunique(), wide, 4.4, room_for(runs.rows), sharey="col")
            longest = 0
            for line, (noise, part) in zip(axes, group.groupby("noise", sort=False), strict=True):
                for ax, (title, label, read) in zip(line, reads[:wide], strict=True):
                    drawn = 0
                    for row in runs.among(part):
                        paths = part[part["row"] == row]["path"]
                        values = [[read(record) for record in runs.records(path)] for path in paths]
                        drawn = max(drawn, _curve(ax, values, runs.looks[row]))
                    longest = max(longest, drawn)
                    ax.set_title(plain(f"{title}, {noise}"))
                    ax.set_xlabel("Epoch")
                    ax.set_ylabel(label)
                    ax.set_visible(drawn > 0)
            part = f"part {first // ROWS + 1}" if len(noises) > ROWS else ""
            if longest > 1:
                bands = "Lines: mean over seeds. Bands: lowest to highest seed."
                finish(figure, runs, group, join("Learning curves", part, context), bands)
                yield join("curves", part, context), figure


def _curve(ax: Axes, values: list[list[Any]], look: dict[str, Any]) -> int:
    """Draws one row's runs; the number of epochs drawn."""
    length = min(map(len, values))
    table = 100 * np.array([each[:length] for each in values], dtype=float)
    if np.isnan(table).all():
        return 0
    epochs = np.arange(1, length + 1)
    every = max(1, length // 8)
    ax.plot(epochs, table.mean(0), **look, **POINT, markevery=every)
    if len(table) > 1:
        ax.fill_between(epochs, table.min(0), table.max(0), color=look["color"], alpha=0.12, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return length
