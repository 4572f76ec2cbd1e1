"""Figures of arranged runs. A figure is drawn only if the runs support it; each is saved as PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.report.arrange import Runs, joined_text, unique
from fer_bench.report.caption import images_note, means_text
from fer_bench.report.groups import Groups, groups
from fer_bench.report.measures import BY_NAME, Metric
from fer_bench.report.plots import KINDS
from fer_bench.report.plots.critical_difference import critical_differences
from fer_bench.report.plots.curves import Panel, by_epoch, curves_of
from fer_bench.report.plots.dots import accuracy
from fer_bench.report.plots.maps import confusion_maps, joint_grid, recall_map
from fer_bench.report.plots.multiples import multiples
from fer_bench.report.plots.overlay import FEW, overlay
from fer_bench.report.plots.sketch import Sketch, update
from fer_bench.report.wording import sentence_case

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TICKS = 5
"""Most places of an axis that all have a tick."""

SAME = 0.1
"""Percentage points. Where the two accuracies of no run differ by more, because the test set has as many images of each
class, one of them is drawn."""

Sketches = Iterator[Sketch]


def sketches(runs: Runs, kinds: Iterable[str]) -> Sketches:
    """The figures of some kinds (keys of ``FIGURES``) that the runs support, not drawn yet."""
    known = groups(runs)
    for kind, draw in FIGURES.items():
        if kind in kinds:
            yield from draw(runs, known)


def accuracies(runs: Runs) -> list[Metric]:
    """Overall accuracy, and the mean over classes if it is another number."""
    overall, mean = BY_NAME["overall"], BY_NAME["mean"]
    difference = (runs.frame[overall.column("last")] - runs.frame[mean.column("last")]).abs().max()
    return [overall] if 100 * difference <= SAME else [overall, mean]


def comparisons(runs: Runs, known: Groups) -> Sketches:
    """The rows under every condition, the best first."""
    if len(runs.rows) < 2:
        return
    for metric in accuracies(runs):
        draw = partial(accuracy, runs, known, metric, f"{metric.label(runs.wrong)}{runs.data}, last epoch")
        yield Sketch(joined_text("accuracy", _short(metric)), runs.frame, draw, (known, runs.rows, runs.order))


def against_noise(runs: Runs, known: Groups) -> Sketches:
    """Accuracy and memorisation against the share of wrong labels.

    Kinds without a rate, such as human labels, are hollow markers beside the lines of the other kinds, at the share of
    wrong labels that they have.
    """
    for context, group in _groups(runs, "context", "imbalance", ""):
        swept, fixed = _kinds_of_noise(group)
        if not swept and not (fixed and (group["family"] == "").any()):
            continue
        panels = {}
        for metric in (*accuracies(runs), BY_NAME["memorised"]):
            for family in swept or [""]:
                part = group[group["family"].isin(["", family, *fixed]) & group[metric.column("last")].notna()]
                if len(part):
                    name = joined_text(_short(metric), family if len(swept) > 1 else "")
                    panels[name] = partial(_noise_panel, runs, part, metric, family, fixed, len(swept) > 1)
        about = f"{swept[0]} label noise" if len(swept) == 1 else "label noise"
        notes = f"{_runs_shown(group)} "
        if fixed:
            notes += f"Hollow markers: {' and '.join(fixed)} labels, at the share of {runs.wrong} that they have."
        lines = Lines("noise", str(context), "Results", f"{runs.data} under {about}, last epoch", notes, group)
        yield from lines.sketches(runs, known, panels)


def _groups(runs: Runs, column: str, other: str, plain: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs by the values of a column.

    Of many rows under several values of the setting ``other``, only those of its ``plain`` value are shown: a figure
    for each value would be many, and the grids of noise and imbalance have all of them.
    """
    frame = runs.frame
    if len(runs.rows) > FEW and (frame[other] == plain).any():
        frame = frame[frame[other] == plain]
    for value, group in frame.groupby(column, sort=False):
        yield str(value), group


def _noise_panel(
    runs: Runs, group: pd.DataFrame, metric: Metric, family: str, fixed: Sequence[str], named: bool
) -> Panel:
    part = group[group["family"].isin(["", family])]
    marks = {}
    for other in fixed:
        found = curves_of(runs, group[group["family"] == other], metric, "realised_rate", "noise_rate")
        marks[other] = {row: (float(curve.x[0]), float(curve.mean[0])) for row, curve in found.items()}
    return Panel(
        metric.label(runs.wrong) + (f", {family} noise" if named else ""),
        sentence_case(f"{runs.wrong} in the training set (%)"),
        metric,
        curves_of(runs, part, metric, "realised_rate", "noise_rate"),
        _shares(part),
        marks={name: each for name, each in marks.items() if each},
    )


def _shares(part: pd.DataFrame) -> list[tuple[float, str]]:
    """Ticks at the shares of wrong labels, in per cent, where there are few enough for that."""
    shares = 100 * part.groupby("noise_rate")["realised_rate"].mean()
    return [(share, f"{share:.0f}") for share in shares] if len(shares) <= TICKS else []


@dataclass(frozen=True)
class Lines:
    """What the panels of a figure of lines have in common: kind, condition, both parts of the title, notes, runs."""

    kind: str
    where: str
    lead: str
    about: str
    notes: str
    runs: pd.DataFrame

    def sketches(self, runs: Runs, known: Groups, panels: Mapping[str, Callable[[], Panel | None]]) -> Sketches:
        """One figure of all panels for few rows, else one of small multiples for each panel."""
        about = (known, self.about, self.notes)
        notes = f"{self.notes} {images_note(self.runs['record'])}".strip()
        if panels and len(runs.rows) <= FEW:
            title = _title(f"{self.lead}{self.about}", self.where)
            made = list(panels.values())
            draw = lambda: overlay([panel() for panel in made], known, title, notes)  # noqa: E731
            yield Sketch(joined_text(self.kind, self.where), self.runs, draw, about)
        elif panels:
            for name, panel in panels.items():
                draw = partial(self._multiples, known, panel, notes)
                yield Sketch(joined_text(self.kind, name, self.where), self.runs, draw, about)

    def _multiples(self, known: Groups, make: Callable[[], Panel | None], notes: str) -> Figure:
        panel = make()
        assert panel is not None
        lead = f"{panel.title}: {self.lead[0].lower()}{self.lead[1:]}"
        title = _title(f"{lead}{self.about}", self.where)
        return multiples(panel, known, title, notes)


def _short(metric: Metric) -> str:
    """The metric in the name of a file; overall accuracy goes without."""
    return "" if metric.name == "overall" else metric.name


def _lines(group: pd.DataFrame) -> str:
    """What lines are, and what is around them."""
    return f"Lines: {means_text(group)}." + " Bands: range over runs." * _several(group)


def _runs_shown(group: pd.DataFrame) -> str:
    dots = _several(group) and group["row"].nunique() <= FEW
    return _lines(group) + " Small dots: single runs." * dots


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


def against_imbalance(runs: Runs, known: Groups) -> Sketches:
    """Accuracy against the imbalance factor, for each noise."""
    for setting, group in _groups(runs, "setting", "noise", "clean"):
        factors = sorted(group["imbalance_factor"].unique())
        if len(factors) < 2:
            continue
        panels = {
            _short(metric): partial(_imbalance_panel, runs, group, metric, factors) for metric in accuracies(runs)
        }
        notes = f"1 is the original data. {_runs_shown(group)}"
        lines = Lines("imbalance", setting, "Results", f"{runs.data} under class imbalance, last epoch", notes, group)
        yield from lines.sketches(runs, known, panels)


def _imbalance_panel(runs: Runs, group: pd.DataFrame, metric: Metric, factors: Sequence[float]) -> Panel:
    curves = curves_of(runs, group, metric, "imbalance_factor", "imbalance_factor")
    ticks = [(factor, f"{factor:g}") for factor in factors]
    x = "Imbalance factor (largest / smallest class)"
    return Panel(metric.label(runs.wrong), x, metric, curves, ticks, log=True)


def joint(runs: Runs, known: Groups) -> Sketches:
    """Accuracy over noise rate and imbalance factor, one panel for each row."""
    for base, group in runs.frame.groupby("base", sort=False):
        for family in [f for f in unique(group, "family") if f]:
            part = group[group["family"].isin(["", family])]
            if part["noise_rate"].nunique() < 2 or part["imbalance_factor"].nunique() < 2:
                continue
            if part[part["family"] == family]["imbalance_factor"].nunique() < 2:
                continue
            for metric in accuracies(runs):
                title = _title(f"{metric.title}{runs.data}: {family} noise and imbalance, last epoch", str(base))
                draw = partial(joint_grid, runs, known, part, metric, title)
                name = joined_text(metric.name, f"{family} noise and imbalance", base)
                yield Sketch(name, part, draw, (known, title))


def ranks(runs: Runs, known: Groups) -> Sketches:
    """Critical-difference diagrams of the accuracies."""
    return critical_differences(runs, known, accuracies(runs))


def recalls(runs: Runs, _: Groups) -> Sketches:
    """Recall of each class: one figure for each condition."""
    for condition, group in runs.frame.groupby("condition", sort=False):
        title = f"Recall by class{runs.data}, last epoch: {condition}"
        yield Sketch(f"recall {condition}", group, partial(recall_map, runs, group, title), runs.classes)


def confusions(runs: Runs, known: Groups) -> Sketches:
    """Confusion matrices: one figure for each condition."""
    for condition, group in runs.frame.groupby("condition", sort=False):
        title = f"Confusion matrices{runs.data}, test set, last epoch: {condition}"
        draw = partial(confusion_maps, runs, known, group, title)
        yield Sketch(f"confusion {condition}", group, draw, (known, runs.classes))


def curves(runs: Runs, known: Groups) -> Sketches:
    """Test accuracy and memorisation after each epoch; of many rows, with the most wrong labels only."""
    for context, everything in _groups(runs, "context", "imbalance", ""):
        noises = unique(everything, "noise")
        panels: dict[str, Callable[[], Panel | None]] = {}
        for noise in noises if len(runs.rows) <= FEW else noises[-1:]:
            part = everything[everything["noise"] == noise]
            if max(len(record.epochs) for record in part["record"]) < 2:
                continue
            for metric in (BY_NAME["overall"], BY_NAME["memorised"]):
                # clean labels leave nothing to memorise
                if metric.name == "overall" or part["memorised"].notna().any():
                    panels[joined_text(_short(metric), noise)] = partial(_epoch_panel, runs, part, metric, noise)
                elif everything["memorised"].notna().any() and len(runs.rows) <= FEW:
                    panels[joined_text(_short(metric), noise)] = _no_panel
        notes = _lines(everything)
        if everything["memorised"].notna().any():
            notes += " Memorised: of a sample of the training images; tables take all."
        lines = Lines("curves", context, "Learning curves", runs.data, notes, everything)
        yield from lines.sketches(runs, known, panels)


def _epoch_panel(runs: Runs, part: pd.DataFrame, metric: Metric, noise: str) -> Panel:
    values = {
        row: [[_read(metric.name, epoch) for epoch in record.epochs] for record in part[part["row"] == row]["record"]]
        for row in runs.present(part)
    }
    return Panel(f"{metric.label(runs.wrong)}, {noise}", "Epoch", metric, by_epoch(values), ends=True)


def _no_panel() -> None:
    """Keeps the place of a panel that has no values."""


def _read(name: str, epoch: dict[str, dict[str, float | None]]) -> float | None:
    return epoch["test"]["overall"] if name == "overall" else epoch["train_fit"]["memorised"]


FIGURES: dict[str, Callable[[Runs, Groups], Sketches]] = {
    "accuracy": comparisons,
    "noise": against_noise,
    "imbalance": against_imbalance,
    "joint": joint,
    "ranks": ranks,
    "recall": recalls,
    "confusion": confusions,
    "curves": curves,
}
"""What sketches the figures of each kind."""


def write(runs: Runs, folder: Path, kinds: Iterable[str] = (), redraw: bool = False) -> list[Path]:
    """Draws the figures of some kinds that are missing or show something else; the paths.

    Figures of the other kinds that show other runs are removed.

    Args:
        runs: Arranged runs.
        folder: Where figures are.
        kinds: Of ``KINDS``; all if there are none.
        redraw: Draws figures that are there, too.
    """
    wanted = tuple(kinds) or KINDS
    others = [kind for kind in KINDS if kind not in wanted]
    return update(sketches(runs, wanted), folder, sketches(runs, others) if others else (), redraw)
