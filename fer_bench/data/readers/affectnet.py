"""AffectNet, manually annotated (Mollahosseini, Hasani and Mahoor 2019), 7 or 8 expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.core.files import named
from fer_bench.core.text import counted
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import IMAGE_SUFFIXES, image_path
from fer_bench.data.readers.common import (
    first_existing,
    images_under,
    inside,
    listed,
    missing,
    other_files,
    require_files,
    unique_ids,
)
from fer_bench.data.readers.fer2013 import first_line, numbers, read_csv
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

LAST = 10
"""The last number of an expression: 8 to 10 are none, uncertain and no face."""

EXPECTED: dict[int, dict[str, int]] = {7: {}, 8: {}}  # no count of a release was seen that could be stated here

LAYOUT = """
  <root>/affectnet/training.csv, validation.csv     columns subDirectory_filePath,expression and, where
                                                    the face is to be cropped, face_x,face_y,face_width,
                                                    face_height (also in Manually_Annotated_file_lists/);
                                                    without a header: those of the release, in its order
  <root>/affectnet/Manually_Annotated_Images/<subDirectory_filePath>
or, as later released,
  <root>/affectnet/train_set/images/0.jpg and train_set/annotations/0_exp.npy, the same in val_set/
"""

RELEASED = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
"""Columns of the released lists, in their order."""

SHORT = ("subDirectory_filePath", "expression")

BOX = ("face_x", "face_y", "face_width", "face_height")
"""Columns with the place of the face, in pixels."""


@dataclass
class _Part:
    """One split: ids, image files and labels of equal length, boxes [n, 4] int64 or None, and what it was read from.

    ``listed`` is its list, or None where there is none.
    """

    ids: list[str]
    paths: list[Path]
    label: np.ndarray
    boxes: np.ndarray | None = None
    listed: Path | None = None
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(root: Path, classes: int = 8) -> Manifest:
    """Reads AffectNet. The official validation set is the test split, because the real test set was never released.

    Faces marked none, uncertain or no face (8 to 10), and contempt with 7 classes, are left out.

    Args:
        root: Folder that holds affectnet/.
        classes: 7 or 8.

    Raises:
        DataError: The files are not as in LAYOUT.
    """
    base = root / "affectnet"
    if not base.is_dir():
        raise missing(base, LAYOUT)
    read_split = _folder_split if _part_folder(base, "train").is_dir() else _csv_split
    parts = [read_split(base, split, classes) for split in ("train", "test")]
    _require_alike(base, parts)
    boxes = [part.boxes for part in parts if part.boxes is not None]
    return Manifest(
        name=f"affectnet{classes}",
        classes=CLASSES[:classes],
        ids=unique_ids([name for part in parts for name in part.ids], base),
        split=np.repeat(["train", "test"], [len(part.ids) for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        source=FileSource(
            [path for part in parts for path in part.paths],
            np.concatenate(boxes) if boxes else None,
        ),
        expected=EXPECTED[classes],
        files=[
            *(base / name / "annotations" for names in FOLDERS.values() for name in names),
            *(file for part in parts for file in part.files),
        ],
        folders=[folder for part in parts for folder in part.folders],
        notes=tuple(note for part in parts for note in part.notes),
    )


def _csv_split(base: Path, split: str, classes: int) -> _Part:
    name = {"train": "training.csv", "test": "validation.csv"}[split]
    lists = [base / name, base / "Manually_Annotated_file_lists" / name]
    listed = first_existing(lists, LAYOUT)
    images = first_existing([base / "Manually_Annotated_Images"], LAYOUT)
    header, note = _header(listed)
    table = read_csv(listed, SHORT, header, BOX)
    label = numbers(table, "expression", listed)
    notes = [*note, *_unknown(label, listed.name)]
    kept = (label >= 0) & (label < classes)
    table, label = table[kept].reset_index(drop=True), label[kept]
    ids = [image_path(name) for name in table["subDirectory_filePath"]]
    paths = [inside(images, name, str(listed)) for name in ids]
    require_files(paths, LAYOUT)
    return _Part(ids, paths, label, _boxes(table, listed), listed, files=[*lists, *paths], notes=notes)


def _header(listed: Path) -> tuple[tuple[str, ...] | None, list[str]]:
    """The columns of a list without a header, as ``validation.csv`` is in circulation, and a note that says so.

    None and no note for a list with a header. DataError where the columns cannot be told.
    """
    with named(listed):
        fields = first_line(listed).text.split(",")
    if Path(fields[0].strip().strip('"')).suffix.lower() not in IMAGE_SUFFIXES:
        return None, []
    columns = next((each for each in (RELEASED, SHORT) if len(each) == len(fields)), None)
    if columns is None:
        raise DataError(
            f"{listed}: no header, and {len(fields)} columns, which are neither {','.join(SHORT)} nor the "
            f"{len(RELEASED)} of the release, {','.join(RELEASED)}; write a first line with their names"
        )
    return columns, [f"{listed.name} has no header; its columns are read as {','.join(columns)}"]


def _unknown(label: np.ndarray, where: str) -> list[str]:
    """A sentence that counts the images whose expression AffectNet does not have; none if there are no such images."""
    other = label[(label < 0) | (label > LAST)]
    what = f"{where}: {counted(len(other), 'image')} left out whose expression is not 0 to {LAST}"
    return [f"{what}, such as {other[0]}"] if len(other) else []


def _boxes(table: pd.DataFrame, listed: Path) -> np.ndarray | None:
    absent = [name for name in BOX if name not in table.columns]
    if len(absent) == len(BOX):
        return None
    if absent:
        found = ", ".join(str(name) for name in table.columns)
        raise DataError(
            f"{listed}: no column {absent[0]!r}, which the box of a face needs ({', '.join(BOX)}); found {found}"
        )
    left, top, width, height = (numbers(table, name, listed) for name in BOX)
    return np.stack([left, top, left + width, top + height], axis=1)


def _require_alike(base: Path, parts: Sequence[_Part]) -> None:
    """DataError where one list has boxes and the other has none: one split would show faces, and one whole images."""
    lists = {part.boxes is None: part.listed.relative_to(base) for part in parts if part.listed}
    if len(lists) > 1:
        raise DataError(
            f"{base}: {lists[False]} has the columns {', '.join(BOX)}, and {lists[True]} has none of them, so faces "
            "would be cropped in one split only: add them, or delete them from the other list if its images are cropped"
        )


FOLDERS = {"train": ("train_set", "train"), "test": ("val_set", "val", "valid", "validation", "test")}
"""Names of the folders of the later release; copies in circulation have the short ones."""


def _part_folder(base: Path, split: str) -> Path:
    """The folder of a split: the one that has annotations, else the official one."""
    places = [base / name for name in FOLDERS[split]]
    return next((place for place in places if (place / "annotations").is_dir()), places[0])


def _folder_split(base: Path, split: str, classes: int) -> _Part:
    folder = _part_folder(base, split)
    images, annotations = (first_existing([folder / name], LAYOUT) for name in ("images", "annotations"))
    found = images_under(images)
    marks = [annotations / f"{path.stem}_exp.npy" for path in found]
    labels = np.array([_expression(mark) for mark in marks], dtype=np.int64)
    kept = np.flatnonzero((labels >= 0) & (labels < classes))
    paths = [found[row] for row in kept]
    ids = [f"{folder.name}/{path.name}" for path in paths]
    notes = [*other_files(files_under(images)), *_unknown(labels, folder.name), *_without_image(annotations, marks)]
    return _Part(ids, paths, labels[kept], files=[*found, *marks], folders=[images], notes=notes)


def _without_image(annotations: Path, used: Sequence[Path]) -> list[str]:
    """A sentence that counts the annotations whose image is missing; none if there are no such annotations."""
    there = {path for path in annotations.glob("*_exp.npy") if not path.name.startswith(".")}
    lost = sorted(path.name for path in there.difference(used))
    what = f"{counted(len(lost), 'annotation')} without an image left out"
    return [f"{what}: {', '.join(listed(lost))}"] if lost else []


def _expression(path: Path) -> int:
    if not path.is_file():
        raise missing(path, LAYOUT)
    try:
        return int(np.load(path, allow_pickle=False).item())  # the release stores the number as a string
    except Exception as error:  # numpy has no common error for a damaged file
        raise DataError(f"{path}: does not hold one expression number ({error})") from error
