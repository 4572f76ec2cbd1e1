"""SFEW 2.0, static facial expressions in the wild (Dhall et al., ICMI 2015)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.data.dataset import Manifest
from fer_bench.data.names import class_name
from fer_bench.data.readers.common import images_under, missing, unique_ids
from fer_bench.data.sources import FileSource

FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")

CLASSES = tuple(class_name(folder) for folder in FOLDERS)

EXPECTED: dict[str, int] = {}  # whole frames and aligned faces are released with different counts

LAYOUT = """
  <root>/sfew/Train/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*
  <root>/sfew/Val/{the same seven}/*     (a Test folder may be there: its labels are not public and it is not read)
"""


def read(root: Path) -> Manifest:
    """Reads SFEW. The official validation set is the test split, because the labels of the test set are not public.

    Raises:
        DataError: A class folder is missing.
    """
    base = root / "sfew"
    ids, paths, splits, labels, folders = [], [], [], [], []
    for part, split in (("Train", "train"), ("Val", "test")):
        for label, name in enumerate(FOLDERS):
            folder = base / part / name
            if not folder.is_dir():
                raise missing(folder, LAYOUT)
            folders.append(folder)
            for path in images_under(folder):
                ids.append(path.relative_to(base).as_posix())
                paths.append(path)
                splits.append(split)
                labels.append(label)
    return Manifest(
        name="sfew",
        classes=CLASSES,
        ids=unique_ids(ids, base),
        split=np.array(splits, dtype=str),
        label=np.array(labels, dtype=np.int64),
        source=FileSource(paths),
        expected=EXPECTED,
        files=paths,
        folders=folders,
    )
