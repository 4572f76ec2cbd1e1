"""Images whose file names say what they show, as in JAFFE, KDEF and RaFD: in one folder, or in one for each person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import IMAGE_SUFFIXES, class_name, class_order, emotion_in
from fer_bench.data.patterns import PATTERNS, Pattern
from fer_bench.data.readers.common import images_under, listed, other_files, printable, unique_ids
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under

NAMED = 0.9
"""Share of the folders that must be called like their persons."""

MUTE = 0.01
"""Share of the images that may be called otherwise; they are left out, and the notes say so."""


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
    found = {path: pattern.expression(path.stem) for path in images_under(root)}
    mute = [path.relative_to(root).as_posix() for path, word in found.items() if not word]
    if len(mute) > MUTE * len(found):
        if not folders:
            return None
        shown = " and ".join(listed([f"{folder.name}/" for folder in folders]))
        raise DataError(
            f"{root}: {shown} are the persons of {pattern.title}, not classes, and file names, such as {mute[0]}, do "
            "not say what is shown. Put the images into one folder for each class, or write a table with columns "
            "path,label,group"
        )
    paths = [path for path, word in found.items() if word]
    names = [class_name(word) for word in found.values() if word]
    left_out = f"{counted(len(mute), 'image')} left out whose names do not say what is shown: {', '.join(listed(mute))}"
    classes = class_order(names)
    return Manifest(
        name=printable(root.resolve().name),
        classes=classes,
        ids=unique_ids((path.relative_to(root).as_posix() for path in paths), root),
        split=np.full(len(paths), "", dtype="<U5"),
        label=np.array([classes.index(name) for name in names], dtype=np.int64),
        source=FileSource(paths),
        files=list(found),
        folders=[root],
        assumed=(f"labels by file names as in {pattern.title}",),
        notes=(*([left_out] if mute else []), *other_files(files_under(root))),
    )


def _of_files(root: Path) -> Pattern | None:
    """The pattern with labels of the first image."""
    stem = next(_stems(root), "")
    return next((pattern for pattern in PATTERNS if pattern.expression(stem)), None)


def _of_folders(folders: Sequence[Path]) -> Pattern | None:
    """The pattern by which folders hold one person each and are called so; None for other folders.

    Several folders may hold sessions of one person if the names of the images begin with those of the folders, as in
    KDEF (AF01, BF01). Folders without images say nothing, and a few may be called otherwise.
    """
    if any(emotion_in(folder.name) for folder in folders):
        return None
    first = {folder.name.casefold(): stem for folder in folders for stem in islice(_stems(folder), 1)}
    for pattern in PATTERNS:
        persons = {name: pattern.person(stem) or "" for name, stem in first.items()}
        named = {name: person for name, person in persons.items() if person and person.casefold() in name}
        if len(named) < 2 or len(named) < NAMED * len(first):
            continue
        if len(set(named.values())) == len(named) or all(first[name].casefold().startswith(name) for name in named):
            return pattern
    return None


def _stems(folder: Path) -> Iterator[str]:
    """The names of the images under a folder without their suffixes."""
    return (path.stem for path in files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
