"""Which folders of a data set are its classes, and what the folders around them mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_bench.core.errors import DataError
from fer_bench.data.names import EMOTIONS, IMAGE_SUFFIXES, TABLE_SUFFIXES, class_name, composed, emotion_in, fold_number
from fer_bench.data.readers.common import listed
from fer_bench.data.walk import files_under, folders_in

PERSONS = 5
"""Folders of persons from which on folders of classes may lie inside of them."""

FOLDS = 3
"""Folds from which on the first one can be the test split."""

FEW = 3
"""Folders up to which they look like splits if all of them hold the same folders."""


@dataclass(frozen=True)
class ClassFolder:
    """A folder with images of one class; ``split`` is "" where the data set has none."""

    folder: Path
    split: str = ""


def inner_classes(folders: Sequence[Path], split: str, ask: bool = True) -> tuple[list[ClassFolder], tuple[str, ...]]:
    """The class folders in the place of ``folders``, and a sentence where they are inside of these.

    Folders of persons (S001/anger) and of folds (fold1/anger) hold the classes. The first fold is the test split.

    Args:
        folders: The folders where classes are expected.
        split: Their split, or "".
        ask: Whether folders that may be something else than classes are an error.

    Raises:
        DataError: It is unclear which folders are the classes.
    """
    inner = {folder: _images_inside(folder) for folder in folders}
    inner = {folder: found for folder, found in inner.items() if found is None or found}
    names = {name for found in inner.values() for name in found or ()}
    sorted_inside = len(inner) > 1 and all(inner.values())
    if sorted_inside and not any(is_class(folder.name) for folder in inner):
        folds = {folder: fold_number(folder.name) for folder in inner}
        if not split and len(set(folds.values()) - {None}) == len(folds) >= FOLDS:
            return _by_fold({folder: number or 0 for folder, number in folds.items()})
        if len(inner) >= PERSONS and all(class_name(name) in EMOTIONS or emotion_in(name) for name in names):
            note = f"the classes are the folders inside of {_slashed(folder.name for folder in inner)}"
            return [ClassFolder(each, split) for folder in inner for each in folders_in(folder)], (note,)
        if ask and not split:
            _require_clear(list(inner), {folder: set(found or ()) for folder, found in inner.items()})
    return [ClassFolder(folder, split) for folder in folders], ()


def _images_inside(folder: Path) -> list[str] | None:
    """Names of the folders in ``folder`` that hold images, in Unicode's form NFC; None if there are images beside."""
    images = (path for path in files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    files = [path.relative_to(folder).parts for path in images]
    return None if any(len(parts) == 1 for parts in files) else sorted({composed(parts[0]) for parts in files})


def is_class(name: str) -> bool:
    """Whether a folder is called like a class of expressions: by a word for one, or by a number."""
    return name.isdecimal() or class_name(name) in EMOTIONS or bool(emotion_in(name))


def _by_fold(folds: Mapping[Path, int]) -> tuple[list[ClassFolder], tuple[str, ...]]:
    ordered = sorted(folds, key=lambda folder: folds[folder])
    splits = dict.fromkeys(ordered, "train") | {ordered[0]: "test"}
    found = [ClassFolder(each, split) for folder, split in splits.items() for each in folders_in(folder)]
    shown = " and ".join(listed([f"{folder.name}/" for folder in ordered]))
    return found, (f"{shown} are {len(folds)} folds; {ordered[0].name} is the test split",)


def _require_clear(folders: Sequence[Path], inner: Mapping[Path, set[str]]) -> None:
    """DataError where a few folders, or folders of numbers, hold the same folders: they may be splits or persons."""
    first = inner[folders[0]]
    same = len(first) > 1 and all(found == first for found in inner.values())
    if same and (len(folders) <= FEW or all(name.isdecimal() for name in first)):
        raise DataError(
            f"{folders[0].parent}: {_slashed(folder.name for folder in folders)} hold the same folders, "
            f"{_slashed(first)}: which are the classes? Splits are called train, val and test: rename them. If "
            f"{folders[0].name}/ is a class, say what the folders in it are: --group-by with an expression for their "
            "names, or --group-by none"
        )


def tables_there(root: Path) -> str:
    """A hint at the tables in a folder whose images are not sorted; "" where there are none."""
    tables = [path.name for path in sorted(root.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()]
    tables = [name for name in tables if not name.startswith(".")]
    if not tables:
        return ""
    there = f"{' and '.join(listed(tables))} {'are' if len(tables) > 1 else 'is'} there"
    return f" {there}: use --dataset {root / tables[0]} if it has the labels."


def _slashed(names: Iterable[str]) -> str:
    return " and ".join(listed([f"{name}/" for name in sorted(names)]))
