"""The training faces whose labels a method trusts least, with their pictures where these may be shown."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from fer_bench.core.files import checksum
from fer_bench.data.catalog import DATASETS
from fer_bench.data.index import load
from fer_bench.data.open import read_manifest
from fer_bench.report.arrange import Runs
from fer_bench.report.html.rounding import rounded
from fer_bench.store.label_scores import SCORES, USUAL, label_scores
from fer_bench.store.records import Record

SHOWN = 24
"""Faces of a gallery: those with the lowest scores of their labels."""

SIDE = 56
"""Largest side of an embedded picture, in pixels."""

FacesShown = Literal["own", "all", "none"]
"""Which pictures may go into the page: of drawn sets and the user's own; of any set; of none."""


@dataclass(frozen=True)
class Pictures:
    """The pictures that galleries need, all from one data set at one size."""

    dataset: str
    fingerprint: str
    size: int


def galleries(runs: Runs, faces: FacesShown) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
    """The galleries, their pictures, and why pictures are missing.

    Returns:
        The gallery of the first run of each row and condition; the pictures by "dataset/row" as data URIs; and a line
        for each data set without pictures that says why.
    """
    found: list[dict[str, Any]] = []
    wanted: dict[Pictures, set[int]] = {}
    for run in runs.frame.drop_duplicates(["row", "condition"]).to_dict("records"):
        gallery = _gallery(run["record"])
        if gallery is None:
            continue
        where = {"row": runs.rows.index(run["row"]), "condition": runs.conditions.index(run["condition"])}
        found.append({**where, "seed": int(run["seed"]), "dataset": run["dataset"], **gallery})
        pictures = Pictures(run["dataset"], run["record"].spec["fingerprint"], int(run["image_size"]))
        wanted.setdefault(pictures, set()).update(gallery["faces"])
    _add_agreement(found)
    uris: dict[str, str] = {}
    reasons = []
    for pictures, numbers in wanted.items():
        dataset, chosen = pictures.dataset, sorted(numbers)
        reason = withheld(dataset, faces)
        images = None if reason else _pixels(pictures, chosen)
        if images is None:
            reasons.append(reason or f"{dataset}: its decoded images are not in the cache of this machine.")
            continue
        uris |= {f"{dataset}/{row}": _uri(image) for row, image in zip(chosen, images, strict=True)}
    return found, uris, list(dict.fromkeys(reasons))


def _gallery(record: Record) -> dict[str, Any] | None:
    """The faces with the lowest scores of their labels, by the score ``by``; None without scores.

    ``rate`` is the share of wrong labels in per cent, None if it is not known which labels are wrong.
    """
    scores = record.scores()
    if not {"clean_score", "noisy_label", "clean_label", "train_row"} <= scores.keys():
        return None
    noisy_label, clean_label = scores["noisy_label"], scores["clean_label"]
    detection_by = record.final.get("detection_by", "loss")
    # a run of an early version kept one score only
    known = label_scores(scores, detection_by) or {detection_by.replace("method", "own"): scores["clean_score"]}
    by, score = next((SCORES[name], known[name]) for name in USUAL if name in known)
    lowest = np.argsort(score, kind="stable")[:SHOWN]
    ids = scores.get("train_id")
    return {
        "faces": [int(row) for row in scores["train_row"][lowest]],
        "noisy_label": [int(label) for label in noisy_label[lowest]],
        "clean_label": [int(label) for label in clean_label[lowest]],
        "score": [rounded(value, 3) for value in score[lowest]],
        "rate": rounded(100 * float((noisy_label != clean_label).mean()), 2) if record.errors_known else None,
        "by": by,
        "suggested": _suggested(scores, lowest),
        "id": [] if ids is None else [str(name) for name in ids[lowest]],
        "labels": checksum(scores["train_row"].tobytes() + noisy_label.tobytes()),
    }


def _suggested(scores: Mapping[str, np.ndarray], rows: np.ndarray) -> list[int]:
    """The most probable class besides the label of each face; empty in runs that did not keep what it comes from."""
    if "train_logits" not in scores:
        return []
    logits = scores["train_logits"][rows].astype(float)
    logits[np.arange(len(rows)), scores["noisy_label"][rows]] = -np.inf
    return [int(number) for number in logits.argmax(axis=1)]


def _add_agreement(found: list[dict[str, Any]]) -> None:
    """Adds to each gallery, in how many ``of`` all with the same training labels each face is (``rows``)."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for gallery in found:
        groups.setdefault((gallery["dataset"], gallery.pop("labels")), []).append(gallery)
    for group in groups.values():
        counts = Counter(face for gallery in group for face in gallery["faces"])
        for gallery in group:
            gallery |= {"rows": [counts[face] for face in gallery["faces"]], "of": len(group)}


def withheld(dataset: str, faces: FacesShown) -> str:
    """Why the faces of this data set are not shown; "" if they may be.

    Known data sets have a licence that forbids to pass their faces on, except those that fer-bench draws.
    """
    entry = DATASETS.get(dataset)
    if faces == "none":
        return f"{dataset}: the page was made without faces."
    if faces == "own" and entry is not None and not entry.drawn:
        return f"{dataset}: its licence does not allow its faces to be passed on, so they are not in this file."
    return ""


def _pixels(pictures: Pictures, rows: list[int]) -> np.ndarray | None:
    """The images of these rows, uint8 [n, 3, s, s], from the cache or drawn again; None where neither is possible."""
    with suppress(OSError, ValueError):  # it is not in this cache
        cached = load(pictures.fingerprint).pixel_file(pictures.size)
        if cached.exists:
            return cached.open()[rows]
    entry = DATASETS.get(pictures.dataset)
    if entry is None or not entry.drawn:
        return None
    manifest = read_manifest(pictures.dataset)
    if manifest.fingerprint() != pictures.fingerprint:
        return None
    order = np.argsort(manifest.ids, kind="stable")
    return manifest.source.pixels(order[rows].tolist(), min(pictures.size, SIDE))


def _uri(image: np.ndarray) -> str:
    """An image, uint8 [3, s, s], as a data URI."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=70, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
