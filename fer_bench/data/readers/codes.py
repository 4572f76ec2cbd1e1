"""Images whose file names say what they show, as in JAFFE, KDEF and RaFD: in one folder, or in one for each person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import IMAGE_SUFFIXES, class_name, class_order
from fer_bench.data.patterns import PATTERNS, Pattern
from fer_bench.data.readers.common import images_under, listed, other_files, printable, unique_ids
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under


def read(root: Path, folders: Sequence[Path]) -> Manifest | None:
    """Reads a folder whose images are in no class folders; None where they are, or where their names say nothing.

    Args:
        root: The folder.
        folders: The folders in it.

    Raises:
        DataError: The folders are persons, and the names do not say what the images show.
    """
    pattern = _of_folders(folders) if folders else _of_files(root)
    if pattern is None:
        return None
    paths = images_under(root)
    words = [pattern.expression(path.stem) for path in paths]
    if None in words:
        if not folders:
            return None
        shown = " and ".join(listed([f"{folder.name}/" for folder in folders]))
        raise DataError(
            f"{root}: {shown} are the persons of {pattern.title}, not classes, and the file names do not say what is "
            "shown. Put the images into one folder for each class, or write a table with columns path,label,group"
        )
    names = [class_name(word) for word in words if word]
    classes = class_order(names)
    return Manifest(
        name=printable(root.resolve().name),
        classes=classes,
        ids=unique_ids((path.relative_to(root).as_posix() for path in paths), root),
        split=np.full(len(paths), "", dtype="<U5"),
        label=np.array([classes.index(name) for name in names], dtype=np.int64),
        source=FileSource(paths),
        files=paths,
        folders=[root],
        assumed=(f"labels by file names as in {pattern.title}",),
        notes=tuple(other_files(files_under(root))),
    )


def _of_files(root: Path) -> Pattern | None:
    """The pattern with labels of the first image."""
    stems = [path.stem for path in files_under(root) if path.suffix.lower() in IMAGE_SUFFIXES][:1]
    return next((pattern for pattern in PATTERNS for stem in stems if pattern.expression(stem)), None)


def _of_folders(folders: Sequence[Path]) -> Pattern | None:
    """The pattern by which each folder holds one person and is called so; None for other folders."""
    first = [next((path.stem for path in files_under(folder)), "") for folder in folders]
    for pattern in PATTERNS:
        persons = [pattern.person(stem) for stem in first]
        named = [person and person in folder.name for person, folder in zip(persons, folders, strict=True)]
        if len(folders) > 1 and all(named) and len(set(persons)) == len(folders):
            return pattern
    return None
