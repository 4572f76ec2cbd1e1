"""The faces whose labels a method trusts least, where the pictures may be shown: drawn ones and the user's own."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from fer_bench.data.catalog import DATASETS
from fer_bench.data.index import load
from fer_bench.data.open import read_manifest
from fer_bench.report.html.rounding import rounded
from fer_bench.store.folder import RunFolder

SHOWN = 24
"""Faces of a gallery: those with the lowest clean score."""

SIDE = 56
"""Largest side of an embedded picture, in pixels."""

FacesShown = Literal["own", "all", "none"]
"""Which pictures may go into the page: of drawn sets and the user's own; of any set; of none."""


def galleries(
    frame: pd.DataFrame, rows: list[str], conditions: list[str], faces: FacesShown
) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
    """The gallery of the first run of each row and condition, the pictures by "dataset/row" as data URIs, and for
    each data set without pictures a line that says why."""
    found: list[dict[str, Any]] = []
    wanted: dict[tuple[str, str, int], set[int]] = {}
    for run in frame.drop_duplicates(["row", "condition"]).to_dict("records"):
        stored = RunFolder(Path(run["path"])).scores()
        if not {"clean_score", "noisy_label", "clean_label", "train_row"} <= stored.keys():
            continue
        lowest = np.argsort(stored["clean_score"], kind="stable")[:SHOWN]
        spec = RunFolder(Path(run["path"])).spec or {}
        found.append(
            {
                "row": rows.index(run["row"]),
                "condition": conditions.index(run["condition"]),
                "seed": int(run["seed"]),
                "dataset": run["dataset"],
                "faces": [int(row) for row in stored["train_row"][lowest]],
                "given": [int(label) for label in stored["noisy_label"][lowest]],
                "true": [int(label) for label in stored["clean_label"][lowest]],
                "score": [rounded(score, 3) for score in stored["clean_score"][lowest]],
                "rate": rounded(100 * float((stored["noisy_label"] != stored["clean_label"]).mean()), 2),
            }
        )
        place = (run["dataset"], str(spec.get("fingerprint", "")), int(run["image_size"]))
        wanted.setdefault(place, set()).update(found[-1]["faces"])
    pictures: dict[str, str] = {}
    reasons = []
    for (dataset, fingerprint, size), numbers in wanted.items():
        reason = withheld(dataset, faces)
        images = None if reason else _pixels(dataset, fingerprint, size, sorted(numbers))
        if images is None:
            reasons.append(reason or f"{dataset}: its decoded images are not in the cache of this machine")
            continue
        pictures |= {f"{dataset}/{row}": _uri(image) for row, image in zip(sorted(numbers), images, strict=True)}
    return found, pictures, list(dict.fromkeys(reasons))


def withheld(dataset: str, faces: FacesShown) -> str:
    """Why the faces of this data set are not shown; "" if they may be. A known set that is not drawn is licensed."""
    entry = DATASETS.get(dataset)
    if faces == "none":
        return f"{dataset}: the page was made without faces"
    if faces == "own" and entry is not None and not entry.drawn:
        return f"{dataset}: its licence does not let its faces be passed on, so they are not in this file"
    return ""


def _pixels(dataset: str, fingerprint: str, size: int, rows: list[int]) -> np.ndarray | None:
    """uint8 [n, 3, s, s] of these rows: from the cache of decoded images, or drawn again; None where neither can be."""
    with suppress(OSError, ValueError):  # it is not in this cache
        cached = load(fingerprint).pixel_file(size)
        if cached.exists:
            return cached.open()[rows]
    entry = DATASETS.get(dataset)
    if entry is None or not entry.drawn:
        return None
    manifest = read_manifest(dataset, None, False)
    if manifest.fingerprint() != fingerprint:
        return None
    order = np.argsort(manifest.ids, kind="stable")
    return manifest.source.pixels(order[rows].tolist(), min(size, SIDE))


def _uri(image: np.ndarray) -> str:
    """uint8 [3, s, s] as a data URI."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=70, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
