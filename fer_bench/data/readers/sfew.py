"""SFEW 2.0, static facial expressions in the wild (Dhall et al., ICMI 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.text import counted
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import IMAGE_SUFFIXES, class_name
from fer_bench.data.readers.common import images_under, listed, missing, other_files, unique_ids
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under, folders_in

FOLDERS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")

CLASSES = tuple(class_name(folder) for folder in FOLDERS)

EXPECTED: dict[str, int] = {}  # whole frames and aligned faces are released with different counts

LAYOUT = """
  <root>/sfew/Train/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*
  <root>/sfew/Val/{the same seven}/*     (a Test folder may be there: its labels are not public and it is not read)
"""


def _inner(folder: Path, name: str) -> Path:
    """The folder of this name, in any letters; it may be in a folder of its own, such as Train_Aligned_Faces."""
    places = [folder, *(folders_in(folder) if folder.is_dir() else [])]
    found = [each for place in places if place.is_dir() for each in folders_in(place)]
    return next((each for each in found if each.name.casefold() == name.casefold()), folder / name)


def read(root: Path) -> Manifest:
    """Reads SFEW. The official validation set is the test split, because the labels of the test set are not public.

    Raises:
        DataError: A class folder is missing.
    """
    base = root / "sfew"
    ids, paths, splits, labels = [], [], [], []
    for part, split in (("Train", "train"), ("Val", "test")):
        for label, name in enumerate(FOLDERS):
            folder = _inner(_inner(base, part), name)
            if not folder.is_dir():
                raise missing(folder, LAYOUT)
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
        folders=[base],
        notes=tuple(_left_out(base, paths)),
    )


def _left_out(base: Path, used: Sequence[Path]) -> list[str]:
    """What lies in the folder and is not read, besides the test set, whose labels are not public."""
    there = [path for path in files_under(base) if not path.relative_to(base).parts[0].casefold().startswith("test")]
    rest = sorted(set(there).difference(used))
    strays = [path.relative_to(base).as_posix() for path in rest if path.suffix.lower() in IMAGE_SUFFIXES]
    classes = {path.parent for path in used}
    others = other_files(path for path in rest if not classes.isdisjoint(path.parents))
    outside = f"{counted(len(strays), 'image')} outside of the class folders left out: {', '.join(listed(strays))}"
    return [*([outside] if strays else []), *others]
