"""The training images whose labels methods trust least, from the scores that every run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_bench.core.errors import DataError, FerBenchError, SpecError, StoreError, nearest, require
from fer_bench.core.spec import restore
from fer_bench.core.text import counted
from fer_bench.data import index
from fer_bench.data.catalog import DATASETS
from fer_bench.data.open import open_dataset
from fer_bench.data.options import AS_IT_IS, ReadOptions
from fer_bench.report.wording import GIVEN, wrong_labels
from fer_bench.store.label_scores import SCORES, USUAL, label_scores
from fer_bench.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_TOP = 100
"""Images that are listed without another wish."""


@dataclass(frozen=True)
class Place:
    """Where the images of a data set are looked for: as for ``fer_bench.data.open.open_dataset``."""

    dataset: str = ""
    root: Path | None = None
    options: ReadOptions = AS_IT_IS


@dataclass(frozen=True)
class Suspects:
    """The training images whose labels are trusted least.

    Attributes:
        lines: One row for each image, the most suspected first. ``rank`` (from 1), ``id``, ``path`` ("" if it is not
            known), ``label`` (the one that the runs were trained with), ``suggested`` (the most probable other class),
            ``probability`` (of that class, mean over runs), ``score``, and ``named_by_runs`` of ``runs`` and
            ``named_by_methods`` of ``methods``. Where noise was injected also ``reference`` (the reference label) or
            ``label_before_noise``.
        title: What is listed, one sentence.
        notes: What the columns mean and what is known of the labels, one sentence each.
    """

    lines: pd.DataFrame
    title: str
    notes: tuple[str, ...]


Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Ranking:
    """How one run ranks its training images.

    Attributes:
        record: The run.
        name: Name of the score.
        score: float64 [N], see ``label_scores``.
        order: int64 [N], the images from the least trusted one on.
        probability: float64 [N, C], what the trained method answers.
    """

    record: Record
    name: str
    score: np.ndarray
    order: np.ndarray
    probability: np.ndarray

    @property
    def place(self) -> np.ndarray:
        """float64 [N]: the place of each image in the order, as a share of the images; equal scores share a place."""
        from scipy.stats import rankdata

        return rankdata(self.score) / len(self.score)


def find_suspects(
    records: Sequence[Record],
    classes: Sequence[str],
    *,
    score: str = "",
    top: int | None = None,
    budget: float | None = None,
    condition: str = "",
    place: Place = Place(),
) -> Suspects:
    """Ranks the training images of some runs by how little their labels are trusted.

    Several runs are ranked by the mean over methods of the mean over runs of an image's place, so that no method counts
    more because it has more seeds.

    Args:
        records: Finished runs, at least one, trained with the same labels on the same images.
        classes: Names of the classes.
        score: A name of ``SCORES``; "" for the first of ``USUAL`` that a run has.
        top: Number of images; DEFAULT_TOP if ``budget`` is not given either.
        budget: Share of the training images in (0, 1], in place of ``top``.
        condition: Takes only the runs of this condition, as messages name it.
        place: Where the images are, for their paths.

    Raises:
        SpecError: An argument is wrong, the runs have different training labels, or none of them has the score.
        StoreError: The arrays of a run are not on this machine, or are damaged.
        DataError: ``place`` names other data than the runs were trained on.
    """
    require(not score or score in SCORES, f"--score {score!r}{nearest(score, SCORES)}")
    require(top is None or budget is None, "--top and --budget: give one of them")
    require(top is None or top > 0, f"--top {top}: 1 image or more")
    require(budget is None or 0 < budget <= 1, f"--budget {budget}: a share of the images, above 0 and at most 1")
    runs = _with_arrays(_of_condition(records, condition))
    _require_same_labels(runs)
    rankings, left = _rankings(runs, score)
    arrays = runs[0][1]
    images = len(arrays["noisy_label"])
    count = min(images, (top or DEFAULT_TOP) if budget is None else max(1, round(budget * images)))
    several = len(rankings) > 1
    trust = _mean_place(rankings) if several else rankings[0].score
    chosen = np.argsort(trust, kind="stable")[:count]
    lines = _lines(rankings, classes, arrays, chosen)
    lines["score"] = trust[chosen]
    ids, paths = _images(runs[0][0], arrays, place)
    lines.insert(1, "id", ids[chosen])
    lines.insert(2, "path", [""] * count if paths is None else [str(paths[row]) for row in chosen])
    title = f"{count:,} of {images:,} training images, the least trusted labels first"
    return Suspects(lines, title, (*left, *_notes(rankings, arrays, chosen), *_no_paths(runs[0][0], paths)))


# --- which runs -------------------------------------------------------------------------------------------------------


def condition_of(record: Record) -> str:
    """What decides which labels a run is trained with, as text: data set, noise, imbalance, part, draw."""
    spec = restore(record.spec, str(record.folder.path / "spec.json"))
    parts = [spec.dataset, spec.noise.label]
    if spec.imbalance.factor != 1:
        parts.append(f"{spec.imbalance.kind} imbalance {spec.imbalance.factor:g}")
    if spec.train_size is not None:
        parts.append(f"{spec.train_size} images")
    return ", ".join([*parts, f"data seed {spec.data_seed}"])


def _of_condition(records: Sequence[Record], condition: str) -> list[Record]:
    if not condition:
        return list(records)
    named = [(condition_of(record), record) for record in records]
    found = [record for name, record in named if name == condition]
    require(bool(found), f"--condition {condition!r}{nearest(condition, {name for name, _ in named})}")
    return found


def _with_arrays(records: Sequence[Record]) -> list[tuple[Record, Arrays]]:
    """The runs with the arrays of their training images. StoreError where these are not here."""
    runs: list[tuple[Record, Arrays]] = []
    for record in records:
        arrays = record.scores()
        if not {"train_logits", "train_row", "noisy_label", "clean_label", "clean_score"} <= arrays.keys():
            raise StoreError(
                f"{record.folder.path}: the scores of its labels are not on this machine; copy the folder of the run "
                "here, or run the sweep's command again"
            )
        runs.append((record, arrays))
    return runs


def _require_same_labels(runs: Sequence[tuple[Record, Arrays]]) -> None:
    """SpecError that names the conditions, unless all runs have the same training images and labels."""
    draws: dict[tuple[str, bytes, bytes], list[Record]] = {}
    for record, arrays in runs:
        draw = record.spec["fingerprint"], arrays["train_row"].tobytes(), arrays["noisy_label"].tobytes()
        draws.setdefault(draw, []).append(record)
    if len(draws) == 1:
        return
    names = {condition_of(found[0]): len(found) for found in draws.values()}
    if len(names) < len(draws):  # the same words, and the data set itself has changed
        keys = ", ".join(found[0].key for found in draws.values())
        raise SpecError(f"the runs were trained on different data; name runs of one kind, such as one of {keys}")
    listed = "; ".join(f"{name!r} ({counted(count, 'run')})" for name, count in names.items())
    raise SpecError(f"the runs have {len(draws)} sets of training labels; choose one by --condition: {listed}")


def _rankings(runs: Sequence[tuple[Record, Arrays]], score: str) -> tuple[list[_Ranking], list[str]]:
    """The rankings of the runs that have the score, and a line for each method that is left out."""
    from scipy.special import softmax

    rankings: list[_Ranking] = []
    left: dict[str, None] = {}
    known: set[str] = set()
    for record, arrays in runs:
        scores = label_scores(arrays, record.final.get("detection_by", "loss"))
        name = score or next(each for each in USUAL if each in scores)
        known |= scores.keys()
        if name not in scores:
            left[f"Left out: {record.spec['method']} has no {name}."] = None
            continue
        probability = softmax(arrays["train_logits"].astype(np.float64), axis=1)
        rankings.append(_Ranking(record, name, scores[name], np.argsort(scores[name], kind="stable"), probability))
    require(bool(rankings), f"--score {score}: no run has it; there are: {', '.join(n for n in SCORES if n in known)}")
    return rankings, list(left)


# --- which images -----------------------------------------------------------------------------------------------------


def _images(record: Record, arrays: Arrays, place: Place) -> tuple[np.ndarray, list[Path] | None]:
    """Ids of the training images, str [N], and their files; None where the files are not known here."""
    rows, fingerprint = arrays["train_row"], record.spec["fingerprint"]
    paths = None
    if place.dataset:
        paths = _paths(place, fingerprint)
    elif (name := record.spec["dataset"]) in DATASETS or Path(name).is_dir():
        with suppress(FerBenchError, OSError):  # it is not here, or it is another one
            paths = _paths(Place(name, place.root, place.options), fingerprint)
    ids = arrays.get("train_id")
    if ids is None:  # a run of an earlier version
        try:
            ids = index.load(fingerprint).ids[rows]
        except (OSError, ValueError):
            name = record.spec["dataset"]
            message = f"the ids of the images of {name} are not on this machine: say where they are with --dataset"
            raise StoreError(message) from None
    return ids, None if paths is None else [paths[row] for row in rows]


def _paths(place: Place, fingerprint: str) -> list[Path] | None:
    """The files of all images of a data set, by its rows. DataError where it is not the one of this fingerprint."""
    dataset = open_dataset(place.dataset, place.root, place.options)
    if dataset.fingerprint != fingerprint:
        message = "the runs were trained on other data, or with other options of reading"
        raise DataError(f"--dataset {place.dataset}: {message}")
    manifest = None if dataset.read is None else dataset.read()
    files = None if manifest is None else manifest.image_files
    if manifest is None or files is None:
        return None
    return [files[row] for row in np.argsort(manifest.ids, kind="stable")]


# --- what is said of them ---------------------------------------------------------------------------------------------


def _mean_place(rankings: Sequence[_Ranking]) -> np.ndarray:
    """float64 [N]: the place of each image as a share, mean over methods of the mean over their runs."""
    return np.mean([np.mean([each.place for each in group], axis=0) for group in _by_method(rankings)], axis=0)


def _by_method(rankings: Sequence[_Ranking]) -> list[list[_Ranking]]:
    groups: dict[str, list[_Ranking]] = {}
    for ranking in rankings:
        groups.setdefault(ranking.record.spec["method"], []).append(ranking)
    return list(groups.values())


def _lines(rankings: Sequence[_Ranking], classes: Sequence[str], arrays: Arrays, chosen: np.ndarray) -> pd.DataFrame:
    """The columns of :attr:`Suspects.lines` that come from runs, for the images ``chosen`` int64 [n]."""
    import pandas as pd

    names = np.array(classes)
    label = arrays["noisy_label"][chosen]
    probability = np.mean([ranking.probability[chosen] for ranking in rankings], axis=0)
    probability[np.arange(len(chosen)), label] = -1
    suggested = probability.argmax(axis=1)
    columns = {
        "rank": np.arange(1, len(chosen) + 1),
        "label": names[label],
        "suggested": names[suggested],
        "probability": probability[np.arange(len(chosen)), suggested].round(4),
        "score": np.nan,
    }
    groups = _by_method(rankings)
    named = [[np.isin(chosen, ranking.order[: len(chosen)]) for ranking in group] for group in groups]
    columns["named_by_runs"] = np.sum([each for group in named for each in group], axis=0)
    columns["runs"] = len(rankings)
    columns["named_by_methods"] = np.sum([np.mean(group, axis=0) >= 0.5 for group in named], axis=0)
    columns["methods"] = len(groups)
    record = rankings[0].record
    if record.final["realised_rate"] > 0:
        known = "label_before_noise" if _source(record) == GIVEN else "reference"
        columns[known] = names[arrays["clean_label"][chosen]]
    return pd.DataFrame(columns)


def _source(record: Record) -> str:
    return str(record.final.get("labels", "reference"))


def _scores_used(rankings: Sequence[_Ranking]) -> dict[str, list[str]]:
    """The methods that are ranked by each score."""
    found: dict[str, dict[str, None]] = {}
    for ranking in rankings:
        found.setdefault(ranking.name, {})[ranking.record.spec["method"]] = None
    return {name: list(methods) for name, methods in found.items()}


def _notes(rankings: Sequence[_Ranking], arrays: Arrays, chosen: np.ndarray) -> list[str]:
    record, count = rankings[0].record, len(_by_method(rankings))
    by = ", ".join(f"{SCORES[name]} ({', '.join(methods)})" for name, methods in _scores_used(rankings).items())
    notes = [f"Ranked by {by}. suggested: the most probable other class according to the trained method."]
    if len(rankings) > 1:
        notes.append(
            f"score: mean rank of the image among all, from 0 to 1, over {counted(count, 'method')} and "
            f"{counted(len(rankings), 'run')}. runs, methods: how many have the image among their own first "
            f"{len(chosen):,}; a method has it if half of its runs have it."
        )
    wrong = wrong_labels([_source(record)])
    if record.final["realised_rate"] > 0:
        different = arrays["noisy_label"] != arrays["clean_label"]
        found = int(different[chosen].sum())
        notes.append(f"Of these {len(chosen):,} labels, {found:,} are {wrong}; of all, {int(different.sum()):,} are.")
    elif record.errors_known:
        notes.append("The labels are reference labels without injected noise: none is known to be wrong.")
    else:
        notes.append("The labels are as given, and nobody knows which of them are wrong: look at the images.")
    return notes


def _no_paths(record: Record, paths: list[Path] | None) -> list[str]:
    entry = DATASETS.get(record.spec["dataset"])
    if paths is not None or (entry is not None and entry.drawn):
        return []
    return ["The files of the images are not known, only their ids; name the data set with --dataset PATH."]
