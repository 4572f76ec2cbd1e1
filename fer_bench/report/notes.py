"""The notes below a table: definitions, budget, and where the numbers come from. Each is a sentence or two."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.spec import weights_name
from fer_bench.core.text import counted
from fer_bench.data.catalog import DATASETS
from fer_bench.data.splits import describe_sizes
from fer_bench.report.arrange import Runs
from fer_bench.report.measures import View
from fer_bench.report.rendering import MISSING, value_range
from fer_bench.report.training_data import Draw, head_tail_notes
from fer_bench.report.wording import GIVEN, no_reference_note, sentence_case
from fer_bench.store.frame import trained_with
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

FEW = 3
"""Commits that a note names."""


def gaps(runs: Runs) -> list[str]:
    """What is missing or uneven in this table."""
    sizes = runs.frame.groupby(["row", "condition"]).size()
    found = []
    if len(sizes) < len(runs.rows) * len(runs.conditions):
        found.append(f"{MISSING}: there is no finished run.")
    if sizes.nunique() > 1:
        found.append("Cells have different numbers of runs, so the means of a column are not over the same seeds.")
    if runs.repeats:
        found.append(
            f"{counted(runs.repeats, 'run')} with noise rate 0 repeated a clean run of the same seeds and "
            f"{'is' if runs.repeats == 1 else 'are'} not counted twice."
        )
    return found


def definitions(runs: Runs, view: View, draws: Sequence[Draw]) -> list[str]:
    """What the numbers are."""
    chosen = [SELECTIONS[key] for key in dict.fromkeys(view.selections)]
    found = [
        selection.description if len(chosen) == 1 else f"{sentence_case(selection.title)}: {selection.description}"
        for selection in chosen
    ]
    frame, shown = runs.frame, {metric.name for metric in view.chosen}
    found += [*_conditions(frame), *_by_data(frame)]
    if frame.groupby(["row", "condition"]).size().max() > 1:
        found += [_seeds(frame), _spread(view)]
    if "gap" in shown:
        found.append(
            "Gap to the oracle epoch: overall accuracy of the epoch that is best on the test set minus that of the "
            "reported epoch."
        )
    if "memorised" in shown and frame["memorised"].notna().any():
        found.append(
            f"Memorised {runs.wrong}: share of the {runs.wrong} of the training set that the network predicts, after "
            "the last epoch."
        )
    if shown & {"head", "tail"}:
        found += head_tail_notes(draws)
    found += _detection(shown, runs)
    given = frame.loc[frame["labels"] == GIVEN, "dataset"]
    if len(given):
        found.append(no_reference_note(sorted({Path(name).name for name in given})))
    return found


def _detection(shown: Collection[str], runs: Runs) -> list[str]:
    """What the measures of detection are, if any is shown."""
    measures = [name for name in shown if name.startswith("detection_")]
    if not measures:
        return []
    found = [
        f"Detection: how well {runs.wrong} are ranked below {runs.correct}, by the method's own score of clean "
        "labels if it has one, and by the loss of the trained network otherwise, unless another score is named."
    ]
    if any("missed" in name for name in measures):
        found.append(
            f"Missed {runs.wrong}: their share that is not found if as many labels are checked as there are "
            f"{runs.wrong}, those with the lowest scores."
        )
    return found


def _conditions(frame: pd.DataFrame) -> list[str]:
    """What the names of the conditions mean."""
    parts = []
    if (frame["family"] != "").any():
        parts.append("the kind and rate of label noise")
    if (frame["imbalance"] != "").any():
        parts.append("the kind and factor (largest over smallest class) of class imbalance")
    return [f"Conditions name {' and '.join(parts)} of the training set."] if parts else []


def _by_data(frame: pd.DataFrame) -> list[str]:
    """The settings that follow the data set, which no name of a condition repeats."""
    texts = dict(zip(frame["data"], frame["data_settings"], strict=True))
    if not any(texts.values()):
        return []
    return [f"Settings by data set: {'; '.join(f'{data}: {text}' for data, text in sorted(texts.items()))}."]


def _seeds(frame: pd.DataFrame) -> str:
    """What tells the runs of a cell apart, where a cell has several."""
    seeds = "the training seed (initial weights, batch order, augmentation)"
    draws = values_text(frame, "data_seed")
    if frame["data_seed"].nunique() == 1:
        return f"Runs of a cell differ in {seeds} and share one draw of the training data (data seed {draws})."
    draw = f"the draw of the training data (noise, imbalance, subset, held-out images; data seeds {draws})"
    if frame["seed"].nunique() == 1:
        return f"Runs of a cell differ in {draw} and share the training seed {values_text(frame, 'seed')}."
    return f"Runs of a cell differ in {seeds} and in {draw}."


def _spread(view: View) -> str:
    if view.spread == "sd":
        return "±: standard deviation over runs, with divisor n - 1."
    name = "Student's t" if view.interval == "t" else "BCa bootstrap with 9,999 resamples"
    return f"Brackets: 95 % interval of the mean over runs ({name})."


def training(frame: pd.DataFrame) -> str:
    """What the runs were trained with."""
    images = value_range(frame["train_images"], lambda v: f"{v:,.0f}")
    weights = ", ".join(weights_name(name) for name in sorted(frame["pretrained"].unique()))
    text = (
        f"Training: {images} images, {epochs_text(frame)}, batch size "
        f"{values_text(frame, 'batch_size')}, {values_text(frame, 'optimizer')}, {_learning_rate(frame)}, "
        f"{values_text(frame, 'schedule')} schedule. Backbone: "
        f"{values_text(frame, 'backbone')} from {weights}, images of {values_text(frame, 'image_size')} px"
    )
    if set(frame["precision"]) != {"float32"}:
        text += f", forward passes in {values_text(frame, 'precision').replace(', ', ' or ')}"
    if frame["compile"].any():
        text += ", compiled" if frame["compile"].all() else ", compiled in some runs"
    return f"{text}."


def own_recipes(frame: pd.DataFrame) -> list[str]:
    """The settings of the recipe that single methods have for themselves; nothing where all methods share them."""
    found = {
        f"{row}: {', '.join(f'{name} {value:g}' for name, value in own.items())}": None
        for row, text in frame[["row", "own_recipe"]].drop_duplicates().itertuples(index=False)
        if (own := json.loads(text))
    }
    return [f"Settings of the recipe by row: {'; '.join(found)}."] if found else []


def _learning_rate(frame: pd.DataFrame) -> str:
    if "own_recipe" not in frame:
        return f"learning rate {values_text(frame, 'lr')}"
    own = {text: "lr" in json.loads(text) for text in frame["own_recipe"].unique()}
    shared = frame[~frame["own_recipe"].map(own)]
    if shared.empty:
        return "learning rates by row"
    other = "" if len(shared) == len(frame) else " unless a row has its own"
    return f"learning rate {values_text(shared, 'lr')}{other}"


def splits(records: Iterable[Record]) -> list[str]:
    """How many images of each data set were trained, selected and tested on; nothing for runs that did not store it."""
    found, derived = [], set()
    for dataset, sizes in split_sizes(records).items():
        derived |= {each["source"] for each in sizes}
        text = f"Images of {Path(dataset).name}: {describe_sizes(sizes)}."
        if dataset in DATASETS and any(each["held_out"] for each in sizes):
            text += " Published numbers come from training on the held-out images too, as --val none does."
        found.append(text)
    if derived - {"official"}:
        found.append("Derived: the data set has no test split, so one was taken from it, the same in every run.")
    if "derived by group" in derived:
        found.append("By group: no person (or other group of similar images) is in both training and test images.")
    return found


def split_sizes(records: Iterable[Record]) -> dict[str, list[dict[str, Any]]]:
    """The different ``Splits.sizes`` of the runs of each data set."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        sizes = record.final.get("splits")
        if sizes is not None and sizes not in found.setdefault(record.spec["dataset"], []):
            found[record.spec["dataset"]].append(sizes)
    return dict(sorted(found.items()))


def source(frame: pd.DataFrame) -> str:
    """The versions, commits and devices that trained the runs."""
    versions = ", ".join(trained_with(frame, "version")) or "of unknown version"
    commits = trained_with(frame, "commit")
    changed = " (+: with uncommitted changes)" if any(commit.endswith("+") for commit in commits) else ""
    if len(commits) > FEW:
        text = f"{len(commits)} commits, see runs.csv{changed}"
    elif commits:
        text = f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}{changed}"
    else:
        text = "commit not recorded"
    devices = trained_with(frame, "device")
    where = f" Trained on {' and '.join(devices)}." if devices else ""
    return f"fer-bench {versions}, protocol version {values_text(frame, 'protocol')}, {text}.{where}{_mixed(frame)}"


def _mixed(frame: pd.DataFrame) -> str:
    """What differs between the machines of the runs and can change a number; "" where nothing does."""
    names = {"device": "devices", "torch": "versions of PyTorch", "cpu_capability": "CPU capabilities"}
    found = {name: trained_with(frame, name) for name in names}
    parts = [
        what if name == "device" else f"{what} ({', '.join(found[name])})"
        for name, what in names.items()
        if len(found[name]) > 1
    ]
    if not parts:
        return ""
    text = f" The runs are of different {' and '.join(parts)}, which can move a short training by points."
    return f"{text} Times of different devices cannot be compared." if len(found["device"]) > 1 else text


def epochs_text(frame: pd.DataFrame) -> str:
    """``1 epoch``, ``12 or 14 epochs``."""
    epochs = sorted({int(number) for number in frame["epochs"]})
    return f"{' or '.join(map(str, epochs))} epoch{'s' * (epochs != [1])}"


def values_text(frame: pd.DataFrame, column: str) -> str:
    """The values of a column, sorted, with commas."""
    return ", ".join(str(value) for value in sorted(frame[column].unique(), key=str))
