"""Figures from finished runs. Only what the runs support is drawn; every figure is one png and one pdf."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from fer_bench.files import write_atomically
from fer_bench.report.conditions import arrange, row_order, unique
from fer_bench.report.tables import class_names
from fer_bench.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

DPI = 150
MARKERS = "osD^vPX<>ph*8dHosD^"
LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
COLOURS = (0, 1, 2, 3, 4, 9, 5, 7, 6, 8)
"""Seaborn's colour-blind palette, its two palest colours last."""
ROWS = 4
"""Panels on top of each other before the next figure begins."""
BAND = "Lines: mean over seeds. Bands: lowest to highest seed. Small dots: single runs."
TEST = "Test accuracy, last epoch"

Drawn = Iterator[tuple[str, Figure]]


@dataclass(frozen=True)
class Panel:
    """One measured column of the runs, as a fraction."""

    column: str
    title: str
    label: str


OVERALL = Panel("test_overall", "Overall accuracy", "Test accuracy, %")
MEAN = Panel("test_mean", "Mean accuracy over classes", "Mean class accuracy, %")
MEMORISED = Panel("memorised", "Wrong training labels memorised", "Wrong labels memorised, %")


@dataclass(frozen=True)
class Runs:
    """Arranged runs, the look of each row, and their records, each read once."""

    frame: pd.DataFrame
    rows: list[str]
    classes: Mapping[str, Sequence[str]]
    _records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def records(self, path: str) -> list[dict[str, Any]]:
        if path not in self._records:
            self._records[path] = RunFolder(Path(path)).epochs()
        return self._records[path]

    @cached_property
    def looks(self) -> dict[str, dict[str, Any]]:
        """Colour, marker and dashes of a row: the same in all figures. Colours return after ten rows with other dashes,
        markers do not return before."""
        palette = sns.color_palette("colorblind", 10)
        return {
            row: {
                "color": palette[COLOURS[k % 10]],
                "marker": MARKERS[k % len(MARKERS)],
                "linestyle": LINES[k // 10 % len(LINES)],
            }
            for k, row in enumerate(self.rows)
        }

    def among(self, frame: pd.DataFrame) -> list[str]:
        present = set(frame["row"])
        return [row for row in self.rows if row in present]


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
    with sns.axes_style("ticks"), sns.plotting_context("notebook", font_scale=0.85), matplotlib.rc_context(
        {"axes.titlesize": "medium", "axes.titleweight": "bold", "pdf.fonttype": 42, "legend.frameon": False}
    ):
        for draw in (against_noise, against_imbalance, joint, recalls, confusions, curves):
            for name, figure in draw(given):
                paths += _save(figure, folder / "plots" / _file(name))
    return paths


# --- sweeps --------------------------------------------------------------------------------------------------------


def against_noise(runs: Runs) -> Drawn:
    """Accuracy and memorisation against the share of wrong labels: a row of panels for each kind of noise.

    Kinds without a rate (human labels) have one point, the share that their data have: hollow markers, beside the
    lines of the other kinds.
    """
    for context, group in runs.frame.groupby("context", sort=False):
        noisy = group[group["family"] != ""]
        points = noisy.groupby("family")["noise_rate"].agg(["nunique", "max"])
        has_clean = (group["family"] == "").any()
        fixed = [f for f in unique(noisy, "family") if points.at[f, "max"] == 0]
        swept = [f for f in unique(noisy, "family") if f not in fixed and points.at[f, "nunique"] + has_clean > 1]
        if not swept and not (fixed and has_clean):
            continue
        for panels, title in (((OVERALL, MEAN), TEST), ((MEMORISED,), "Memorised at the last epoch")):
            height = max(len(swept), 1)
            figure, axes = _grid(height, len(panels), 4.4, 3.3)
            for line, family in zip(axes, swept or [""], strict=True):
                for ax, panel in zip(line, panels, strict=True):
                    part = group[group["family"].isin(["", family])]
                    if panel is MEMORISED:
                        part = part[part["family"] != ""]
                    _lines(ax, runs, part, "realised_rate", panel, by="noise_rate", scale=100)
                    for other in fixed:
                        _points(ax, runs, group[group["family"] == other], panel, str(other))
                    ax.set_title(_plain(panel.title + (f", {family} noise" if family and height > 1 else "")))
                    ax.set_xlabel("Wrong training labels, %")
            about = f"{swept[0]} noise" if len(swept) == 1 else "by kind of noise" if swept else ""
            _finish(figure, runs, group, _join(title, about, context), BAND)
            yield _join("memorised" if panels[0] is MEMORISED else "accuracy", "noise", context), figure


def against_imbalance(runs: Runs) -> Drawn:
    """Accuracy against the imbalance factor, one figure for each noise."""
    for setting, group in runs.frame.groupby("setting", sort=False):
        factors = sorted(group["imbalance_factor"].unique())
        if len(factors) < 2:
            continue
        figure, axes = _grid(1, 2, 4.4, 3.3)
        for ax, panel in zip(axes[0], (OVERALL, MEAN), strict=True):
            _lines(ax, runs, group, "imbalance_factor", panel, by="imbalance_factor")
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator(factors))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticks(factors, ["as it is" if f == 1 else f"{f:g}" for f in factors])
            ax.set_xlabel("Imbalance factor (largest to smallest class)")
            ax.set_title(panel.title)
        _finish(figure, runs, group, _join(TEST, "", setting), BAND)
        yield _join("accuracy", "imbalance", setting), figure


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
                    _join(panel.column.removeprefix("test_"), f"{family} noise and imbalance", base),
                    _joint(runs, part, panel, _join(f"{panel.title}, last epoch, %", f"{family} noise", base)),
                )


def _joint(runs: Runs, part: pd.DataFrame, panel: Panel, title: str) -> Figure:
    shares = part.groupby("noise_rate")["realised_rate"].mean() * 100
    cells = 100 * part.groupby(["row", "noise_rate", "imbalance_factor"])[panel.column].mean()
    rows = runs.among(part)
    figure, axes = _tiles(len(rows), 0.75 * part["imbalance_factor"].nunique() + 1, 0.5 * len(shares) + 0.8)
    for k, row in enumerate(rows):
        values = cells[row].unstack().sort_index().sort_index(axis=1)
        values.index = [f"{shares[rate]:.0f}" for rate in values.index]
        values.columns = [f"{factor:g}" for factor in values.columns]
        _heat(axes[k], values, vmin=cells.min(), vmax=cells.max(), form=".1f")
        axes[k].set_title(_plain(row))
        axes[k].set_xlabel("Imbalance factor")
        axes[k].set_ylabel("Wrong labels, %")
    _bar(figure, axes[: len(rows)], panel.label)
    _title(figure, title)
    return figure


# --- one condition -------------------------------------------------------------------------------------------------


def recalls(runs: Runs) -> Drawn:
    """Recall of each class, methods as rows, mean over seeds: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.among(group)
        values = [
            np.array([runs.records(path)[-1]["test"]["recall"] for path in group[group["row"] == row]["path"]], dtype=float)
            for row in rows
        ]
        names = class_names(runs.classes, group["dataset"].iloc[0], values[0].shape[1])
        # a class without test images is None in every run of a data set, and stays empty
        means = pd.DataFrame([100 * each.mean(0) for each in values], index=[_plain(row) for row in rows], columns=names)
        figure, axes = _grid(1, 1, 0.72 * len(names) + 2.2, 0.36 * len(rows) + 1.5)
        _heat(axes[0][0], means, vmin=0, vmax=100, form=".0f")
        axes[0][0].set_xlabel("Class")
        _bar(figure, [axes[0][0]], "Recall, %")
        _title(figure, _join("Recall by class, last epoch", "", condition))
        yield _join("recall", "", condition), figure


def confusions(runs: Runs) -> Drawn:
    """Confusion matrices of the test set, summed over seeds, each row in per cent: one figure for each condition."""
    import pandas as pd

    for condition, group in runs.frame.groupby("condition", sort=False):
        rows = runs.among(group)
        size = len(runs.records(group["path"].iloc[0])[-1]["test"]["confusion"])
        names = class_names(runs.classes, group["dataset"].iloc[0], size)
        figure, axes = _tiles(len(rows), 0.36 * size + 0.9, 0.33 * size + 0.8)
        for ax, row in zip(axes, rows, strict=False):
            paths = group[group["row"] == row]["path"]
            counts = np.sum([runs.records(path)[-1]["test"]["confusion"] for path in paths], axis=0, dtype=float)
            total = counts.sum(1, keepdims=True)
            share = np.divide(100 * counts, total, out=np.full_like(counts, np.nan), where=total > 0)
            _heat(ax, pd.DataFrame(share, names, names), vmin=0, vmax=100, form=".0f", small=True)
            ax.set_title(_plain(row))
        for k, ax in enumerate(axes[: len(rows)]):
            ax.tick_params(labelleft=k % _across(len(rows)) == 0)
        _bar(figure, axes[: len(rows)], "Share of the true class, %")
        figure.supxlabel("Predicted class", fontsize="medium")
        figure.supylabel("True class", fontsize="medium")
        _title(figure, _join("Confusion of the test set, last epoch", "", condition))
        yield _join("confusion", "", condition), figure


def curves(runs: Runs) -> Drawn:
    """Test accuracy and memorisation after each epoch, a row of panels for each noise."""
    reads: tuple[tuple[str, str, Callable[[dict[str, Any]], Any]], ...] = (
        ("Overall accuracy", "Test accuracy, %", lambda record: record["test"]["overall"]),
        (MEMORISED.title, MEMORISED.label, lambda record: record["train_fit"]["memorised"]),
    )
    for context, everything in runs.frame.groupby("context", sort=False):
        noises = unique(everything, "noise")
        for first in range(0, len(noises), ROWS):
            group = everything[everything["noise"].isin(noises[first : first + ROWS])]
            # a condition with clean labels has nothing to memorise: its panel is left out, and a figure's column too
            across = 2 if group["memorised"].notna().any() else 1
            figure, axes = _grid(group["noise"].nunique(), across, 4.4, 2.9)
            longest = 0
            for line, (noise, part) in zip(axes, group.groupby("noise", sort=False), strict=True):
                for ax, (title, label, read) in zip(line, reads[:across], strict=True):
                    drawn = 0
                    for row in runs.among(part):
                        paths = part[part["row"] == row]["path"]
                        drawn = max(drawn, _curve(ax, [[read(r) for r in runs.records(p)] for p in paths], runs.looks[row]))
                    longest = max(longest, drawn)
                    ax.set_title(_plain(f"{title}, {noise}"))
                    ax.set_xlabel("Epoch")
                    ax.set_ylabel(label)
                    ax.set_visible(drawn > 0)
            part = f"part {first // ROWS + 1}" if len(noises) > ROWS else ""
            if longest > 1:
                bands = "Lines: mean over seeds. Bands: lowest to highest seed."
                _finish(figure, runs, group, _join("Learning curves", part, context), bands)
                yield _join("curves", part, context), figure


def _curve(ax: Axes, values: list[list[Any]], look: dict[str, Any]) -> int:
    """Draws one row's runs; the number of epochs drawn."""
    length = min(map(len, values))
    table = 100 * np.array([each[:length] for each in values], dtype=float)
    if np.isnan(table).all():
        return 0
    epochs = np.arange(1, length + 1)
    every = max(1, length // 8)
    ax.plot(epochs, table.mean(0), **look, markersize=5, markevery=every, markeredgecolor="white", linewidth=1.5)
    if len(table) > 1:
        ax.fill_between(epochs, table.min(0), table.max(0), color=look["color"], alpha=0.12, linewidth=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return length


# --- pieces --------------------------------------------------------------------------------------------------------


def _lines(ax: Axes, runs: Runs, part: pd.DataFrame, x: str, panel: Panel, *, by: str, scale: float = 1) -> None:
    """Mean, range and single runs of each row against column ``x``; runs with one value of ``by`` are one point."""
    for row in runs.among(part):
        mine = part[(part["row"] == row) & part[panel.column].notna()]
        if mine.empty:
            continue
        look = runs.looks[row]
        points = mine.groupby(by).agg(x=(x, "mean"), y=(panel.column, "mean"), low=(panel.column, "min"), high=(panel.column, "max"))
        ax.scatter(scale * mine[x], 100 * mine[panel.column], s=7, color=look["color"], alpha=0.6, linewidths=0, zorder=2)
        ax.plot(scale * points["x"], 100 * points["y"], **look, markersize=6.5, markeredgecolor="white", linewidth=1.6)
        if (points["high"] > points["low"]).any():
            low, high = 100 * points["low"], 100 * points["high"]
            ax.fill_between(scale * points["x"], low, high, color=look["color"], alpha=0.12, linewidth=0)
    ax.set_ylabel(panel.label)


def _points(ax: Axes, runs: Runs, part: pd.DataFrame, panel: Panel, name: str) -> None:
    """A kind of noise without a rate: a hollow marker for each row at the share of wrong labels that it has."""
    place = 100 * part["realised_rate"].mean()
    for row in runs.among(part):
        mine = part[part["row"] == row][panel.column].dropna()
        look = runs.looks[row]
        ax.plot(
            [place], [100 * mine.mean()], color=look["color"], marker=look["marker"], markersize=7,
            markerfacecolor="white", markeredgewidth=1.5, linestyle="",
        )  # fmt: skip
    ax.axvline(place, color="0.8", linewidth=0.8, linestyle=":", zorder=0)
    ax.annotate(
        _plain(name), (place, 0.01), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
        color="0.4", fontsize="small",
    )  # fmt: skip
    ax.set_ylabel(panel.label)


def _heat(ax: Axes, values: pd.DataFrame, *, vmin: float, vmax: float, form: str, small: bool = False) -> None:
    few = values.shape[1] <= 12
    sns.heatmap(
        values, ax=ax, vmin=vmin, vmax=vmax, cmap="viridis", cbar=False, annot=few, fmt=form, linewidths=0.5,
        xticklabels=True, yticklabels=True, annot_kws={"size": "x-small" if small else "small"},
    )  # fmt: skip
    ax.tick_params(length=0)
    ax.tick_params(axis="x", rotation=45 if max(len(str(c)) for c in values.columns) > 4 else 0)
    ax.tick_params(axis="y", rotation=0)
    for label in ax.get_xticklabels():
        if label.get_rotation():
            label.set(ha="right", rotation_mode="anchor")
    ax.set(xlabel="", ylabel="")


def _bar(figure: Figure, axes: Sequence[Axes], label: str) -> None:
    """One colour bar for all panels, which share their scale."""
    bar = figure.colorbar(axes[0].collections[0], ax=list(axes), shrink=0.8, aspect=25, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of its own, known to no window manager: nothing has to be closed."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        sns.despine(ax=ax)
        ax.grid(axis="y", color="0.92", linewidth=0.8)
        ax.set_axisbelow(True)
    return figure, axes


def _across(number: int) -> int:
    return min(number, 4)


def _tiles(number: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels in reading order; those beyond ``number`` are hidden."""
    across = _across(number)
    figure, axes = _grid(-(-number // across), across, width, height)
    for ax in axes.flat[number:]:
        ax.set_visible(False)
    return figure, list(axes.flat)


def _finish(figure: Figure, runs: Runs, part: pd.DataFrame, title: str, about: str) -> None:
    """Legend beside the panels, title above, and what lines and bands are below."""
    handles = [
        Line2D([], [], **runs.looks[row], label=_plain(row), markersize=6.5, markeredgecolor="white", linewidth=1.6)
        for row in runs.among(part)
    ]
    figure.legend(handles=handles, loc="outside right upper")
    if part.groupby(["row", "condition"]).size().max() > 1:
        figure.supxlabel(about, fontsize="small", color="0.4")
    _title(figure, title)


def _title(figure: Figure, text: str) -> None:
    """Broken at the width of the figure, so that a long condition is never cut."""
    import textwrap

    lines = textwrap.wrap(text, max(20, int(figure.get_figwidth() * 10)))
    figure.suptitle("\n".join(map(_plain, lines)), fontsize="large", fontweight="bold")


def _join(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _plain(text: str) -> str:
    """Text without mathematics: a dollar in a name is a dollar."""
    return text.replace("$", r"\$")


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower()


def _save(figure: Figure, path: Path) -> list[Path]:
    """As png and pdf, without a date: equal runs make equal files."""
    paths = []
    for suffix, options in ((".png", {"dpi": DPI}), (".pdf", {"metadata": {"CreationDate": None}})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], **options)  # type: ignore[arg-type]
        paths.append(path.with_name(path.name + suffix))
        write_atomically(paths[-1], buffer.getvalue())
    return paths
