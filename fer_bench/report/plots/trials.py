"""The plot of a tuning: accuracy on noisy validation labels against test accuracy, one point for each trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from fer_bench.report.plots.style import figure_style, headline, plain, save, tiles
from fer_bench.report.trials import Outcome, outcome
from fer_bench.sweep.trials import Trial, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS: dict[str, dict[str, Any]] = {
    "default": {"marker": "D", "color": "#0173b2", "s": 46},
    "tuned": {"marker": "*", "color": "#d55e00", "s": 130},
    "oracle": {"marker": "o", "facecolors": "none", "edgecolors": "black", "s": 110},
}
"""Looks of the three trials that the table shows; the others are grey dots."""


def write(trials: Trials, folder: Path) -> list[Path]:
    """Draws the plot into a folder, if there are trials enough; the paths."""
    with figure_style():
        figure = validation_against_test(trials)
        return save(figure, folder / "trials") if figure else []


def validation_against_test(trials: Trials) -> Figure | None:
    """A panel for each method with two complete trials or more; None if there is none.

    Both axes are what trials are chosen by: means over conditions and studies.
    """
    shown = {method: [trial for trial in each if trial.complete] for method, each in trials.items()}
    shown = {method: each for method, each in shown.items() if len(each) > 1}
    if not shown:
        return None
    figure, axes = tiles(len(shown), 3.2, 3.0)
    for ax, (method, each) in zip(axes, shown.items(), strict=False):
        _panel(ax, each, outcome(each))
        ax.set_title(plain(method))
    handles = [Line2D([], [], linestyle="", **_handle(name), label=name) for name in POINTS]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(POINTS))
    headline(figure, "Trials: noisy validation against test accuracy")
    return figure


def _panel(ax: Axes, trials: Sequence[Trial], found: Outcome) -> None:
    points = {trial.number: (100 * trial.score("val"), 100 * trial.score("test")) for trial in trials}
    validation, test = zip(*points.values(), strict=True)
    ax.scatter(validation, test, s=16, color="0.6", linewidths=0, zorder=2)
    for (_, look), trial in zip(POINTS.items(), found.columns, strict=True):
        if trial is not None:
            x, y = points[trial.number]
            ax.scatter([x], [y], zorder=3, **look)
    ax.set_xlabel("Noisy validation accuracy (%)")
    ax.set_ylabel("Test accuracy (%)")


def _handle(name: str) -> dict[str, Any]:
    look = POINTS[name]
    return {
        "marker": look["marker"],
        "markersize": look["s"] ** 0.5,
        "color": look.get("color", look.get("edgecolors")),
        "markerfacecolor": look.get("facecolors", look.get("color")),
    }
