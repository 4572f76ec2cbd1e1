"""Figures of arranged runs. A figure is drawn only if the runs support it; each is saved as PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from fer_bench.report.arrange import Runs, joined_text, unique
from fer_bench.report.measures import BY_NAME, Metric
from fer_bench.report.plots.critical_difference import critical_differences
from fer_bench.report.plots.style import (
    POINT,
    across,
    band,
    bar,
    figure_style,
    file_name,
    finish,
    grid,
    headline,
    heat,
    hollow,
    lines,
    looks,
    plain,
    room_for,
    save,
    tiles,
)
from fer_bench.report.wording import sentence_case

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROWS = 4
"""Panels below each other before the next figure begins."""

BANDS = "Lines: mean over seeds. Bands: range over seeds."

DOTS = f"{BANDS} Small dots: single runs."

Drawn = Iterator[tuple[str, Figure]]
"""Names of figures, and the figures."""

ACCURACIES = (BY_NAME["overall"], BY_NAME["mean"])


def write(runs: Runs, folder: Path) -> list[Path]:
    """Draws all figures that the runs support into ``folder``; the paths."""
    paths: list[Path] = []
    with figure_style():
        for draw in (against_noise, against_imbalance, joint, critical_differences, recalls, confusions, curves):
            for name, figure in draw(runs):
                paths += save(figure, folder / file_name(name))
    return paths


# --- sweeps --------------------------------------------------------------------------------------------------------


def against_noise(runs: Runs) -> Drawn:
    """Accuracy and memorisation against the share of wrong labels: a row of panels for each kind of noise.

    Kinds without a rate, such as human labels, are hollow markers beside the lines of the other kinds, at the share of
    wrong labels that they have.
    """
    metrics = (*ACCURACIES, BY_NAME["memorised"])
    for context, group in runs.frame.groupby("context", sort=False):
        swept, fixed = _kinds_of_noise(group)
        if not swept and not (fixed and (group["family"] == "").any()):
            continue
        top = 100 * group["realised_rate"].max()
        figure, axes = grid(max(len(swept), 1), 3, 4.2, room_for(runs.rows), sharey="col")
        for row, family in zip(axes, swept or [""], strict=True):
            part = group[group["family"].isin(["", family])]
            for ax, metric in zip(row, metrics, strict=True):
                lines(ax, runs, part, metric, x="realised_rate", by="noise_rate")
                for other in fixed:
                    hollow(ax, runs, group[group["family"] == other], metric, other)
                ax.set_title(plain(f"{family} noise") if len(swept) > 1 else "")
                ax.set_xlabel(sentence_case(f"{runs.wrong} in the training set (%)"))
                ax.set_xlim(-0.05 * top, 1.05 * top)
        about = f"{swept[0]} label noise" if len(swept) == 1 else "label noise"
        below = [DOTS] if _several(group) else []
        if fixed:
            below.append(f"Hollow markers: {' and '.join(fixed)} labels, at the share of {runs.wrong} that they have.")
        finish(figure, runs, group, _title(f"Results{runs.data} under {about}, last epoch", context), " ".join(below))
        yield joined_text("noise", context), figure


def _title(text: str, condition: str) -> str:
    return f"{text}: {condition}" if condition else text


def _several(group: pd.DataFrame) -> bool:
    """Whether any cell has several runs."""
    return bool(group.groupby(["row", "condition"]).size().max() > 1)


def _kinds_of_noise(group: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The kinds of noise with several rates (clean labels count as one), and those without a rate."""
    noisy = group[group["family"] != ""]
    rates = noisy.groupby("family")["noise_rate"].agg(["nunique", "max"])
    has_clean = (group["family"] == "").any()
    fixed = [family for family in unique(noisy, "family") if rates.at[family, "max"] == 0]
    others = [family for family in unique(noisy, "family") if family not in fixed]
    return [family for family in others if rates.at[family, "nunique"] + has_clean > 1], fixed


def against_imbalance(runs: Runs) -> Drawn:
    """Accuracy against the imbalance factor, one figure for each noise."""
    for setting, group in runs.frame.groupby("setting", sort=False):
        factors = sorted(group["imbalance_factor"].unique())
        if len(factors) < 2:
            continue
        figure, axes = grid(1, 2, 4.4, room_for(runs.rows))
        for ax, metric in zip(axes[0], ACCURACIES, strict=True):
            lines(ax, runs, group, metric, x="imbalance_factor", by="imbalance_factor")
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator(factors))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(factors, ["original" if f == 1 else f"{f:g}" for f in factors])
            ax.set_xlabel("Imbalance factor (largest / smallest class)")
        title = _title(f"Accuracy{runs.data} under class imbalance, last epoch", setting)
        finish(figure, runs, group, title, DOTS if _several(group) else "")
        yield joined_text("imbalance", setting), figure


def joint(runs: Runs) -> Drawn:
    """Accuracy over noise rate and imbalance factor, one panel for each method."""
    for base, group in runs.frame.groupby("base", sort=False):
        for family in [f for f in unique(group, "family") if f]:
            part = group[group["family"].isin(["", family])]
            if part["noise_rate"].nunique() < 2 or part["imbalance_factor"].nunique() < 2:
                continue
            if part[part["family"] == family]["imbalance_factor"].nunique() < 2:
                continue
            for metric in ACCURACIES:
                title = _title(f"{metric.title}{runs.data}, {family} noise, last epoch", base)
                name = joined_text(metric.name, f"{family} noise and imbalance", base)
                yield name, _joint(runs, part, metric, title)


def _joint(runs: Runs, part: pd.DataFrame, metric: Metric, title: str) -> Figure:
    shares = part.groupby("noise_rate")["realised_rate"].mean() * 100
    cells = metric.scale * part.groupby(["row", "noise_rate", "imbalance_factor"])[metric.column("last")].mean()
    rows = runs.present(part)
    columns = part["imbalance_factor"].nunique()
    figure, axes = tiles(len(rows), max(0.75 * columns + 1, 2.6), max(0.5 * len(shares) + 0.8, 2.4))
    for ax, row in zip(axes, rows, strict=False):
        values = cells[row].unstack().sort_index().sort_index(axis=1)
        values.index = [f"{shares[rate]:.0f}" for rate in values.index]
        values.columns = [f"{factor:g}" for factor in values.columns]
        heat(ax, values, (cells.min(), cells.max()), ".1f")
        ax.set_title(plain(row))
    bar(figure, axes[: len(rows)], "Accuracy (%)")
    figure.supxlabel("Imbalance factor", fontsize="medium")
    figure.supylabel(sentence_case(f"{runs.wrong} (%)"), fontsize="medium")
    headline(figure, title)
    return figure


# --- one condition -------------------------------------------------------------------------------------------------


def recalls(runs: Runs) -> Drawn:
    """Recall of each class, methods as rows, mean over seeds: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.present(group)
        values = []
        for row in rows:
            found = [record.epochs[-1]["test"]["recall"] for record in group[group["row"] == row]["record"]]
            values.append(100 * np.array(found, dtype=float).mean(0))
        names = runs.class_names(group["dataset"].iloc[0], len(values[0]))
        # a class without test images has no recall in any run of a data set, and stays empty
        means = pd.DataFrame(values, [plain(row) for row in rows], names)
        figure, axes = grid(1, 1, 0.72 * max(len(names), 5) + 2.2, 0.36 * len(rows) + 1.5)
        heat(axes[0][0], means)
        axes[0][0].set_xlabel("Class")
        bar(figure, [axes[0][0]], "Recall (%)")
        headline(figure, f"Recall by class{runs.data}, last epoch: {condition}")
        yield f"recall {condition}", figure


def confusions(runs: Runs) -> Drawn:
    """Confusion matrices of the test set, summed over seeds, each row in per cent: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.present(group)
        matrices = {
            row: np.sum(
                [record.epochs[-1]["test"]["confusion"] for record in group[group["row"] == row]["record"]],
                axis=0,
                dtype=float,
            )
            for row in rows
        }
        size = len(next(iter(matrices.values())))
        names = runs.class_names(group["dataset"].iloc[0], size)
        room = max(size, 7)  # names and title need as much room for three classes as for seven
        figure, axes = tiles(len(rows), 0.36 * room + 0.9, 0.33 * room + 0.8)
        for ax, row in zip(axes, rows, strict=False):
            counts = matrices[row]
            total = counts.sum(1, keepdims=True)
            share = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
            heat(ax, pd.DataFrame(share, names, names), small=True)
            ax.set_title(plain(row))
        for k, ax in enumerate(axes[: len(rows)]):
            ax.tick_params(labelleft=k % across(len(rows)) == 0)
        bar(figure, axes[: len(rows)], "Share of the true class (%)")
        figure.supxlabel("Predicted class", fontsize="medium")
        figure.supylabel("True class", fontsize="medium")
        headline(figure, f"Confusion matrices{runs.data}, test set, last epoch: {condition}")
        yield f"confusion {condition}", figure


# --- epochs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One column of panels of the learning curves."""

    metric: Metric
    read: Callable[[dict[str, Any]], float | None]
    """The value of an epoch."""


CURVES = (
    Curve(BY_NAME["overall"], lambda epoch: epoch["test"]["overall"]),
    Curve(BY_NAME["memorised"], lambda epoch: epoch["train_fit"]["memorised"]),
)


def curves(runs: Runs) -> Drawn:
    """Test accuracy and memorisation after each epoch, a row of panels for each noise."""
    for context, everything in runs.frame.groupby("context", sort=False):
        noises = unique(everything, "noise")
        for first in range(0, len(noises), ROWS):
            group = everything[everything["noise"].isin(noises[first : first + ROWS])]
            number = f"part {first // ROWS + 1}" if len(noises) > ROWS else ""
            figure, longest = _curves(runs, group)
            if longest > 1:
                title = _title(joined_text(f"Learning curves{runs.data}", number), context)
                finish(figure, runs, group, title, BANDS if _several(group) else "")
                yield joined_text("curves", number, context), figure


def _curves(runs: Runs, group: pd.DataFrame) -> tuple[Figure, int]:
    """The panels, and the most epochs that one shows."""
    # clean labels leave nothing to memorise: no panel, and no column if all are clean
    shown = CURVES if group["memorised"].notna().any() else CURVES[:1]
    figure, axes = grid(group["noise"].nunique(), len(shown), 4.4, room_for(runs.rows), sharey="col")
    longest = 0
    for line, (noise, part) in zip(axes, group.groupby("noise", sort=False), strict=True):
        for ax, curve in zip(line, shown, strict=True):
            drawn = 0
            for row in runs.present(part):
                values = [
                    [curve.read(epoch) for epoch in record.epochs] for record in part[part["row"] == row]["record"]
                ]
                drawn = max(drawn, _curve(ax, values, looks(runs.rows)[row], band(runs)))
            ax.set_title(plain(str(noise)))
            ax.set_xlabel("Epoch")
            ax.set_ylabel(curve.metric.label(runs.wrong))
            ax.set_visible(drawn > 0)
            longest = max(longest, drawn)
    return figure, longest


def _curve(ax: Axes, values: Sequence[Sequence[float | None]], look: dict[str, Any], opacity: float) -> int:
    """Draws the runs of one row; the number of epochs drawn."""
    length = min(map(len, values))
    table = 100 * np.array([each[:length] for each in values], dtype=float)
    if np.isnan(table).all():
        return 0
    epochs = np.arange(1, length + 1)
    ax.plot(epochs, table.mean(0), **look, **POINT, markevery=max(1, length // 8))
    if len(table) > 1:
        ax.fill_between(epochs, table.min(0), table.max(0), color=look["color"], alpha=opacity, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return length
