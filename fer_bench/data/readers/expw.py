"""ExpW, expressions in the wild (Zhang, Luo, Loy and Tang, IJCV 2018)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.seeds import uniform_by_id
from fer_bench.data.dataset import Manifest
from fer_bench.data.files import read_lines
from fer_bench.data.readers.common import first_existing, inside, missing, require_files, unique_ids
from fer_bench.data.sources import FileSource

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

EXPECTED: dict[str, int] = {}  # the split is ours, so no release documents its counts

TEST_SHARE = 0.2

SIDES = 1_000_000
"""Pixels that no side of an image reaches."""

IMAGES = ("image/origin", "origin", "image", "images")
"""Folders that hold the images, the official one first."""

LAYOUT = """
  <root>/expw/label.lst     lines "image_name face_id top left right bottom confidence label", labels 0 to 6
                            (also accepted as <root>/expw/label/label.lst)
  <root>/expw/image/origin/<image_name>
"""


def read(root: Path) -> Manifest:
    """Reads ExpW; faces are cropped by the boxes of the list. There is no official split: 20 % are the test split.

    A hash of an image's name decides its split, so that two faces of one photo are in the same split and nothing else
    matters.

    Raises:
        DataError: The files are not as in LAYOUT.
    """
    base = root / "expw"
    if not base.is_dir():
        raise missing(base, LAYOUT)
    nested = base / "label" / "label.lst"
    listed = nested if nested.is_file() else base / "label.lst"
    if not listed.is_file():
        raise missing(listed, LAYOUT)
    images = first_existing([base / inner for inner in IMAGES], LAYOUT)

    names, paths, faces, boxes, labels = [], [], [], [], []
    for number, line in read_lines(listed):
        try:
            name, face, top, left, right, bottom, _, label = line.split()
            box, expression = [int(left), int(top), int(right), int(bottom)], int(label)
            if max(map(abs, box)) > SIDES:
                raise ValueError(f"box {box} is no box of an image")
            if not 0 <= expression < len(CLASSES):
                raise ValueError(f"label {expression} is not 0 to 6")
        except ValueError as error:
            raise DataError(f"{listed}, line {number}: {error}; expected {LAYOUT.strip().splitlines()[0]}") from error
        names.append(name)
        paths.append(inside(images, name, f"{listed}, line {number}"))
        faces.append(face)
        boxes.append(box)
        labels.append(expression)
    require_files(paths, LAYOUT)
    held_out = uniform_by_id(0, "expw/split", names)[:, 0] < TEST_SHARE
    return Manifest(
        name="expw",
        classes=CLASSES,
        ids=unique_ids((f"{name}#{face}" for name, face in zip(names, faces, strict=True)), listed),
        split=np.where(held_out, "test", "train"),
        label=np.array(labels, dtype=np.int64),
        source=FileSource(paths, np.array(boxes, dtype=np.int64).reshape(-1, 4)),
        expected=EXPECTED,
        files=[nested, listed, *(base / inner for inner in IMAGES), *paths],
    )
