"""Any folder of images, one sub-folder per class (the layout of ImageNet and of torchvision's ImageFolder)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.seeds import uniform_by_id
from fer_bench.data.dataset import SPLITS, Manifest
from fer_bench.data.names import class_name, class_order
from fer_bench.data.readers.common import SPLIT_NAMES, images_under, missing, unique_ids
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import folders_in

TEST_SHARE = 0.2

LAYOUT = """
  <path>/{train,val,test}/<class>/*.{jpg,jpeg,png,bmp,webp,tif,tiff}     val is optional
or, without official splits (a stratified 80/20 train/test split is then derived),
  <path>/<class>/*.{jpg,jpeg,png,bmp,webp,tif,tiff}
"""


def read(root: Path) -> Manifest:
    """Classes are the sub-folders in alphabetical order; names of basic emotions become canonical (Happy and happiness
    are one class).

    Without split folders, the fifth of each class whose ids hash lowest is the test split: the same in any file order
    and for every run.
    """
    if not root.is_dir():
        raise missing(root, LAYOUT)
    named = [(child, SPLIT_NAMES.get(child.name.lower())) for child in _folders(root)]
    parts = {child: split for child, split in named if split is not None}
    absent = [split for split in ("train", "test") if parts and split not in parts.values()]
    if absent:
        raise DataError(f"{root / absent[0]} does not exist beside {sorted(parts)[0].name}/. {_expected()}")
    if len(set(parts.values())) < len(parts):
        raise DataError(f"{root}: two folders for one split among {', '.join(sorted(p.name for p in parts))}")

    found = [(split, folder) for part, split in parts.items() for folder in _folders(part)]
    found = found or [("", folder) for folder in _folders(root)]
    classes = class_order(class_name(folder.name) for _, folder in found)
    ids, paths, splits, labels = [], [], [], []
    for split, folder in found:
        for path in images_under(folder):
            ids.append(path.relative_to(root).as_posix())
            paths.append(path)
            splits.append(split)
            labels.append(classes.index(class_name(folder.name)))
    if not ids:
        raise DataError(f"{root}: no image in it. {_expected()}")
    names, label = unique_ids(ids, root), np.array(labels, dtype=np.int64)
    return Manifest(
        name=root.resolve().name,
        classes=classes,
        ids=names,
        split=np.array(splits, dtype=str) if parts else _derived_split(names, label),
        label=label,
        source=FileSource(paths),
        files=paths,
        folders=[root],
    )


def _folders(path: Path) -> list[Path]:
    return folders_in(path)


def _expected() -> str:
    return f"Expected layout:\n{LAYOUT.strip()}"


def _derived_split(ids: np.ndarray, label: np.ndarray) -> np.ndarray:
    train, _, test = SPLITS
    split = np.full(len(ids), train, dtype="<U5")
    place = uniform_by_id(0, "folder/split", ids)[:, 0]
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        held_out = max(round(TEST_SHARE * len(rows)), int(len(rows) > 1))
        split[rows[np.argsort(place[rows], kind="stable")[:held_out]]] = test
    return split
