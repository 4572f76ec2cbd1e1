"""The plot of a tuning: accuracy on noisy validation labels against test accuracy, one point for each trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fer_bench.report.caption import images_note
from fer_bench.report.palette import LIGHT
from fer_bench.report.plots.sketch import Sketch, update
from fer_bench.report.plots.style import INK, plain, sheet
from fer_bench.report.trials import Outcome, outcome
from fer_bench.sweep.trials import Trial, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS: dict[str, dict[str, Any]] = {
    "default": {"marker": "D", "color": LIGHT[1], "s": 26},
    "tuned": {"marker": "*", "color": LIGHT[2], "s": 70},
    "oracle": {"marker": "o", "facecolors": "none", "edgecolors": INK, "s": 60},
}
"""Looks of the three trials that the table shows; the others are grey dots."""


def write(trials: Trials, names: Mapping[str, str], folder: Path, redraw: bool = False) -> list[Path]:
    """Draws the plot into a folder, if there are trials enough and it is not there; the paths."""
    return update(sketches(trials, names), folder, redraw=redraw)


def sketches(trials: Trials, names: Mapping[str, str] = MappingProxyType({})) -> Iterator[Sketch]:
    """The figure of the methods with two complete trials or more; none if there is no such method.

    ``names`` are what methods are called, by key.
    """
    import pandas as pd

    shown = {method: [trial for trial in each if trial.complete] for method, each in trials.items()}
    single = [names.get(method, method) for method, each in shown.items() if len(each) == 1]
    shown = {method: each for method, each in shown.items() if len(each) > 1}
    if shown:
        runs = [
            (method, str(trial.number), record.key)
            for method, each in shown.items()
            for trial in each
            for record in trial.records
        ]
        named = {method: names.get(method, method) for method in shown}
        draw = partial(validation_against_test, shown, named, single)
        yield Sketch("trials", pd.DataFrame(runs, columns=["row", "condition", "key"]), draw, (named, single))


def validation_against_test(trials: Trials, names: Mapping[str, str], single: Sequence[str] = ()) -> Figure:
    """A panel for each method. Both axes are what trials are chosen by: means over conditions and studies.

    ``single`` names the methods with one trial, which have no panel.
    """
    images = images_note(record for each in trials.values() for trial in each for record in trial.records)
    across = min(4 if len(trials) > 6 else 3, max(2, len(trials)))
    from matplotlib.lines import Line2D

    without = f"One trial only, and no panel: {', '.join(single)}. " if single else ""
    notes = f"Both axes: means over conditions and studies. {without}{images}"
    figure, boxes = sheet(
        -(-len(trials) // across), across, 1.2, title="Trials: noisy validation against test accuracy", notes=notes,
        left=0.62, top=0.5, gap=(0.45, 0.46),
    )  # fmt: skip
    for place, (method, each) in enumerate(trials.items()):
        ax = boxes[place // across][place % across].axes(figure)
        _panel(ax, each, outcome(each))
        ax.set_ylabel("" if place % across else "Test (%)")
        ax.set_xlabel("" if place + across < len(trials) else "Noisy validation (%)")
        ax.set_title(plain(names[method]), loc="left", fontweight="bold")
    handles = [Line2D([], [], linestyle="", **_handle(name), label=name) for name in POINTS]
    top = (boxes[0][0].bottom + boxes[0][0].height + 0.5) / figure.get_figheight()
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, top), ncols=len(POINTS), fontsize=7.5)
    return figure


def _panel(ax: Axes, trials: Sequence[Trial], found: Outcome) -> None:
    points = {trial.number: (100 * trial.score("val"), 100 * trial.score("test")) for trial in trials}
    validation, test = zip(*points.values(), strict=True)
    ax.scatter(validation, test, s=10, color="#b6bac2", linewidths=0, zorder=2)
    for (_, look), trial in zip(POINTS.items(), found.columns, strict=True):
        if trial is not None:
            x, y = points[trial.number]
            ax.scatter([x], [y], zorder=3, **look)
    ax.set(xlim=_room(validation), ylim=_room(test))
    ax.ticklabel_format(useOffset=False)
    ax.locator_params(nbins=4)


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis: at least one percentage point, so that equal trials look equal."""
    middle, half = (max(values) + min(values)) / 2, max(0.56 * (max(values) - min(values)), 0.5)
    return middle - half, middle + half


def _handle(name: str) -> dict[str, Any]:
    look = POINTS[name]
    return {
        "marker": look["marker"],
        "markersize": look["s"] ** 0.5,
        "color": look.get("color", look.get("edgecolors")),
        "markerfacecolor": look.get("facecolors", look.get("color")),
    }
