"""Any folder of images, one sub-folder per class (the layout of ImageNet and of torchvision's ImageFolder)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import (
    EMOTIONS,
    IMAGE_SUFFIXES,
    class_name,
    class_names,
    class_order,
    doubtful_classes,
    looks_like_split,
    splits_of,
)
from fer_bench.data.readers import codes
from fer_bench.data.readers.common import images_under, listed, missing, other_files, printable, unique_ids
from fer_bench.data.readers.layout import inner_classes, is_class, tables_there
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under, folders_in

LAYOUT = f"""
  <path>/{{train,val,test}}/<class>/<images>     val is optional
or, without official splits (a stratified 80/20 train/test split is then derived),
  <path>/<class>/<images>
with images of the formats {" ".join(IMAGE_SUFFIXES)}
"""

NO_CLASSES = frozenset({"images", "image", "imgs", "img", "aligned", "data"})
"""Names of folders between a split and its images that say that these are not sorted into classes."""


@dataclass
class _Images:
    """The images of a data set, in columns of equal length."""

    paths: list[Path] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


def read(root: Path, ask: bool = True) -> Manifest:
    """Reads a folder of images.

    Classes are the sub-folders in the order of :func:`fer_bench.data.names.class_order`; names of basic emotions become
    canonical (Happy and happiness are one class). Without split folders, the split of every image is "". Images in no
    class folder are read if their names say what they show: :mod:`fer_bench.data.readers.codes`.

    Args:
        root: The folder.
        ask: Whether folders that may be splits or classes are an error.

    Raises:
        DataError: The folder has another layout. Splits that would become classes are such a layout.
    """
    if not root.is_dir():
        raise missing(root, LAYOUT)
    folders = folders_in(root)
    coded = codes.read(root, folders)
    if coded is not None:
        return coded
    parts = _find_splits(root, folders)
    groups = {part: (split, _class_folders(part)) for part, split in parts.items()} or {root: ("", folders)}
    resolved = [inner_classes(inside, split, ask) for split, inside in groups.values()]
    found = [each for each_part, _ in resolved for each in each_part]
    held = {each.folder: images_under(each.folder) for each in found}
    names, merged = class_names(folder.name for folder, paths in held.items() if paths)
    classes = class_order(names.values())
    images = _Images()
    for each in found:
        paths = held[each.folder]
        _require_class(root, each.folder, paths, classes)
        images.paths += paths
        images.splits += [each.split] * len(paths)
        images.classes += [names[each.folder.name] for _ in paths]
    _require_sorted(root, images, classes)
    _require_known(root, images)
    ids = unique_ids((path.relative_to(root).as_posix() for path in images.paths), root)
    label = np.array([classes.index(name) for name in images.classes], dtype=np.int64)
    return Manifest(
        name=printable(root.resolve().name),
        classes=classes,
        ids=ids,
        split=np.array(images.splits, dtype=str),
        label=label,
        source=FileSource(images.paths),
        files=images.paths,
        folders=[root],
        assumed=(*dict.fromkeys(note for _, notes in resolved for note in notes), *merged),
        notes=(*filter(None, [doubtful_classes(classes)]), *_left_out(root, held)),
    )


def _require_sorted(root: Path, images: _Images, classes: Sequence[str]) -> None:
    """DataError where there are no images, or none in a folder for its class."""
    if not images.paths:
        loose = len(images_under(root))
        of_them = "its 1 image is" if loose == 1 else f"its {loose:,} images are"
        where = f"{of_them} in no folder for each class" if loose else "no image in it"
        raise DataError(f"{root}: {where}.{tables_there(root)} {_expected()}")
    if {name.lower() for name in classes} <= NO_CLASSES:
        raise DataError(
            f"{root}: its images are in {_slashed(classes)} and not in one folder for each class."
            f"{tables_there(root)} {_expected()}"
        )


def _require_known(root: Path, images: _Images) -> None:
    """DataError where a folder in train/ only is called like no expression, and all others are: it may be no class.

    Such folders, _unsorted or Thumbnails, hold images of all classes.
    """
    splits: dict[str, set[str]] = {}
    for name, split in zip(images.classes, images.splits, strict=True):
        splits.setdefault(name, set()).add(split)
    doubtful = [name for name, found in splits.items() if found == {"train"} and not is_class(name)]
    others = sorted(splits.keys() - set(doubtful))
    if not doubtful or not others or not all(map(is_class, others)):
        return
    first = next(path for path, name in zip(images.paths, images.classes, strict=True) if name == doubtful[0])
    raise DataError(
        f"{root}: {_slashed(doubtful)} {'are' if len(doubtful) > 1 else 'is'} in the training split only, such as "
        f"{first.relative_to(root)}, and called like no expression, unlike {', '.join(listed(others))}. If it is no "
        "class, move it elsewhere; if it is one, the test split needs images of it"
    )


def _expected() -> str:
    return f"Expected layout:\n{LAYOUT.strip()}"


# --- splits ----------------------------------------------------------------------------------------------------------


def _find_splits(root: Path, folders: Sequence[Path]) -> dict[Path, str]:
    """The folders that are splits; none where the folders are classes. DataError where that is unclear."""
    known = splits_of(folder.name for folder in folders)
    parts = {folder: known[folder.name] for folder in folders if folder.name in known}
    unclear = [folder.name for folder in folders if folder.name not in known and looks_like_split(folder.name)]
    _refuse_affectnet(root, folders)
    if unclear:
        raise DataError(
            f"{root}: {_slashed(unclear)} {'look like splits' if len(unclear) > 1 else 'looks like a split'}; splits "
            "are called train, val and test: rename it, or move it elsewhere"
        )
    if len(set(parts.values())) < len(parts):
        raise DataError(f"{root}: two folders for one split among {', '.join(sorted(part.name for part in parts))}")
    absent = [split for split in ("train", "test") if parts and split not in parts.values()]
    if absent:
        there = _slashed(part.name for part in parts)
        held_out = next((part.name for part, split in parts.items() if split == "val"), "")
        advice = f": rename {held_out}/ to test/ if it is what you report" if held_out and absent == ["test"] else ""
        if there == "train/":
            advice = ": without train/ between, a part of the images becomes the test split"
        others = [folder.name for folder in folders if folder not in parts]
        if others and not advice:
            advice = f": is it {_slashed(others)}? Then rename it"
        raise DataError(f"{root}: there is {there}, but no {absent[0]}/{advice}. {_expected()}")
    return parts


def _refuse_affectnet(root: Path, folders: Sequence[Path]) -> None:
    names = {folder.name for folder in folders}
    if {"train_set", "val_set"} <= names and (root / "train_set" / "images").is_dir():
        raise DataError(
            f"{root}: train_set/ and val_set/ with images/ are AffectNet as it is released, which has its labels in "
            "annotations/: use --dataset affectnet7 or affectnet8, and name the folder that holds affectnet/ with "
            "--data-root"
        )


def _class_folders(part: Path) -> list[Path]:
    """The class folders of a split, perhaps in train/images/. DataError where its images are in no class folder."""
    folders = folders_in(part)
    unsorted = not folders or (len(folders) == 1 and folders[0].name.lower() in NO_CLASSES)
    inner = folders_in(folders[0]) if folders and unsorted else []
    if len(inner) > 1 and not {folder.name.lower() for folder in inner} & NO_CLASSES:
        return inner
    if unsorted and any(path.suffix.lower() in IMAGE_SUFFIXES for path in files_under(part)):
        place = folders[0] if folders else part
        raise DataError(
            f"{place}: its images are not in one folder for each class.{tables_there(part.parent)} {_expected()}"
        )
    return folders


# --- classes ---------------------------------------------------------------------------------------------------------


def _require_class(root: Path, folder: Path, paths: Sequence[Path], classes: Sequence[str]) -> None:
    """DataError for a class folder with folders in it that are called like splits or like other classes."""
    own = class_name(folder.name)
    if paths and looks_like_split(folder.name):
        raise DataError(f"{folder}: it has the name of a split, but is in the place of a class folder. {_expected()}")
    inner = dict.fromkeys(part for path in paths for part in path.relative_to(folder).parts[:-1])
    splits = [name for name in inner if name in splits_of(inner) or looks_like_split(name)]
    if splits:
        alone = len(folders_in(folder.parent)) == 1
        advice = f"If it is the data set, use --dataset {folder}; otherwise put" if alone else "Put"
        raise DataError(
            f"{folder}: there {'are' if len(splits) > 1 else 'is'} {_slashed(splits)} in it, so it is not a class. "
            f"{advice} the splits first. {_expected()}"
        )
    if len(classes) == 1 and len(inner) > 1 and all(path.parent != folder for path in paths):
        raise DataError(
            f"{folder} is the only folder, and its images are in {_slashed(inner)}: use --dataset {folder} if these "
            f"are the classes. {_expected()}"
        )
    named = [name for name in inner if class_name(name) in {*classes, *EMOTIONS} - {own}]
    if named:
        raise DataError(
            f"{folder}: {_slashed(named)} in it {'are' if len(named) > 1 else 'is'} named like a class: is "
            f"{folder.relative_to(root)} one? {_expected()}"
        )


def _slashed(names: Iterable[str]) -> str:
    return " and ".join(listed([f"{name}/" for name in sorted(names)]))


# --- the rest --------------------------------------------------------------------------------------------------------


def _left_out(root: Path, held: Mapping[Path, Sequence[Path]]) -> tuple[str, ...]:
    """What lies in the folder and is no part of the data set; ``held`` are the images by class folder."""
    used = {path for paths in held.values() for path in paths}
    rest = [path for path in files_under(root) if path not in used]
    strays = [path for path in rest if path.suffix.lower() in IMAGE_SUFFIXES]
    if strays:
        real = {path.resolve() for path in used}  # an image may be in the data set by a link
        strays = [path for path in strays if path.resolve() not in real]
    notes = []
    classes = {class_name(folder.name) for folder, paths in held.items() if paths}
    bare = sorted({folder.name for folder in held if class_name(folder.name) not in classes})
    if bare:
        notes.append(f"{counted(len(bare), 'folder')} without an image left out: {', '.join(listed(bare))}")
    if strays:
        names = ", ".join(listed([path.relative_to(root).as_posix() for path in strays]))
        notes.append(f"{counted(len(strays), 'image')} outside of the class folders left out: {names}")
    return (*notes, *other_files(path for path in rest if not held.keys().isdisjoint(path.parents)))
