"""The caption of a table, from its runs: a table without it is not comparable to any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.spec import weights_name
from fer_bench.report.aggregate import extent
from fer_bench.report.footnotes import Marks
from fer_bench.report.measures import View
from fer_bench.report.significance import Conclusions
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

FEW = 3
"""Commits that a caption names."""


def caption(frame: pd.DataFrame, view: View, conclusions: Conclusions, marks: Marks) -> str:
    sentences = [
        f"Data: {', '.join(sorted({Path(name).name for name in frame['dataset']}))}",
        *_selections(view),
        *_runs(frame, view),
        *(conclusions.sentences() if frame["row"].nunique() > 1 else []),
        *_definitions(frame, view),
        _network(frame),
        budget(frame),
        *marks.legend,
        source(frame),
    ]
    return ". ".join(sentences) + "."


def _selections(view: View) -> list[str]:
    chosen = [SELECTIONS[key] for key in dict.fromkeys(view.selections)]
    if len(chosen) == 1:
        return [chosen[0].description.removesuffix(".")]
    return [f"{selection.title.capitalize()}: {selection.description.removesuffix('.')}" for selection in chosen]


def _runs(frame: pd.DataFrame, view: View) -> list[str]:
    sizes = frame.groupby(["row", "condition"]).size()
    low, high = sizes.min(), sizes.max()
    count = f"n = {high}" if low == high else f"n = {low} to {high} ({high} unless a cell says otherwise)"
    sentences = [f"{count} run{'s' if high > 1 else ''} per cell"]
    if high > 1:
        drawn = frame["data_seed"].nunique() > 1
        seeds = "Runs of a cell differ in their training seed (weights, order, augmentation)"
        data = "and in the draw of the training data (noise, imbalance, part)"
        fixed = f"and share one draw of the training data (data seed {_values(frame, 'data_seed')})"
        sentences.append(f"{seeds} {data if drawn else fixed}")
        name = "Student's t" if view.interval == "t" else "BCa bootstrap, 9,999 resamples"
        sentences.append(
            "Cells: mean ± standard deviation over runs, with divisor n - 1"
            if view.spread == "sd"
            else f"Cells: mean and its 95 % interval over runs ({name})"
        )
    return sentences


def _definitions(frame: pd.DataFrame, view: View) -> list[str]:
    shown = {metric.name for metric in view.chosen}
    sentences = []
    if "memorised" in shown and frame["memorised"].notna().any():
        sentences.append(
            "Memorised: of the wrong training labels, the share that the network predicts at the last epoch"
        )
    if shown & {"head", "tail"} and frame["test_tail"].notna().any():
        sentences.append(
            "Head and tail: mean recall of the classes above and below the median number of training images, counted "
            "by reference label before noise; a class at the median is in neither"
        )
    if shown & {"detection_auroc", "detection_ap"}:
        sentences.append("Detection: the method's own score of a label being right where it has one, else the loss")
    return sentences


def _network(frame: pd.DataFrame) -> str:
    pretrained = ", ".join(weights_name(name) for name in sorted(frame["pretrained"].unique()))
    sizes = _values(frame, "image_size")
    return f"Backbone {_values(frame, 'backbone')}, {pretrained}, images of {sizes} px{arithmetic(frame)}"


def arithmetic(frame: pd.DataFrame) -> str:
    """How the networks computed, as the end of a sentence; "" where all did so in float32, not compiled."""
    text = ""
    if set(frame["precision"]) != {"float32"}:
        text = f", forward passes in {_values(frame, 'precision').replace(', ', ' or ')}"
    if frame["compile"].any():
        text += ", compiled" if frame["compile"].all() else ", compiled in some runs"
    return text


def budget(frame: pd.DataFrame) -> str:
    """What the runs were trained with."""
    images = extent(frame["train_images"], lambda v: f"{v:.0f}")
    return (
        f"Budget: {images} training images, {_values(frame, 'epochs')} epochs, batches of "
        f"{_values(frame, 'batch_size')}, {_values(frame, 'optimizer')} with learning rate {_values(frame, 'lr')}, "
        f"{_values(frame, 'schedule')} schedule"
    )


def source(frame: pd.DataFrame) -> str:
    """The versions and commits that trained the runs."""
    versions = _values(frame[frame["version"] != ""], "version") or "of unknown version"
    commits = [commit for commit in sorted(frame["commit"].unique()) if commit]
    text = f"fer-bench {versions}, protocol version {_values(frame, 'protocol')}"
    if not commits:
        return f"{text}, commit not recorded"
    changed = " (+: with changes that are not in it)" if any(commit.endswith("+") for commit in commits) else ""
    if len(commits) > FEW:
        return f"{text}, {len(commits)} commits, which runs.csv names{changed}"
    return f"{text}, commit{'s' * (len(commits) > 1)} {', '.join(commits)}{changed}"


def _values(frame: pd.DataFrame, column: str) -> str:
    return ", ".join(str(value) for value in sorted(frame[column].unique(), key=str))
