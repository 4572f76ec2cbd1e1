"""Any table of images: a csv file or list as it comes, or Parquet; one row for each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.dataset import Manifest, Source
from fer_bench.data.derive import unfit
from fer_bench.data.groups import named_groups
from fer_bench.data.names import TABLE_SUFFIXES, composed, fold_number, image_path, looks_like_split, splits_of
from fer_bench.data.options import AS_IT_IS, ReadOptions
from fer_bench.data.readers.annotations import (
    Annotations,
    Votes,
    annotate,
    count_rows,
    differing_row,
    filled,
    read_votes,
)
from fer_bench.data.readers.columns import KNOWN, Columns, find_columns
from fer_bench.data.readers.common import listed, missing, unique_ids
from fer_bench.data.readers.fer2013 import FILES, row_id
from fer_bench.data.readers.locate import locate
from fer_bench.data.readers.pixels import read_frames
from fer_bench.data.readers.points import read_points
from fer_bench.data.readers.sheet import Sheet, is_embedded, plain, read_sheet, text, whole
from fer_bench.data.sources import ArraySource, FileSource

LAYOUT = """
  <name>.csv (or .tsv, .txt, .parquet) with a row for each image and columns for
    path        image file, relative to the folder of the table or to --data-root
    label       class name or number; the classes are the sorted distinct values
    split       (optional) train, val or test
    group       (optional) the person in the image, who is then in one derived split only
    reference   (optional) a label that is known to be right
    landmarks   (optional) JSON list of [x, y] as fractions of width and height; empty = none found
    id          (optional) unique; the path where there is no such column
"""

FOLDS = 3
"""Distinct numbers from which on numbers in the column of splits are folds."""

LIKE_SIZE = 2.0
"""How many times the smallest part the largest is at most, if parts with numbers are folds."""

YES, NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
"""Cells of a column such as ``is_train``, in small letters."""


def read(root: Path, *also: Path, options: ReadOptions = AS_IT_IS) -> Manifest:
    """Reads a table; rows in messages count from 1, the header not included.

    Columns are found by their names or by ``options.columns``. Images without a label are left out; an image in several
    rows gets the label that most of them say. Where no column names the split, that of every image is "".

    Args:
        root: The file.
        also: Other folders of the images than that of the table.
        options: What the file does not say.

    Raises:
        DataError: A column or an image is missing, or a cell holds what it must not.
    """
    if not root.is_file():
        raise missing(root, LAYOUT)
    sheet = read_sheet(root, KNOWN)
    columns = find_columns(sheet, _told(sheet, options))
    images = _read_images(sheet, columns, also)
    split, split_note = _splits(sheet, columns, images)
    labels = _annotations(sheet, columns, images, options)
    kept, first = labels.kept, images.first
    points, found = _landmarks(sheet, columns)
    manifest = Manifest(
        name=root.stem,
        classes=labels.classes,
        ids=images.ids[kept],
        split=split[kept],
        label=labels.label,
        source=images.source(np.flatnonzero(kept)),
        files=[root, *images.files],
        folders=images.folders,
        landmarks=None if points is None else points[first][kept],
        landmarks_ok=None if found is None else found[first][kept],
        human=labels.human,
        votes=labels.votes,
        distribution=labels.distribution,
        label_source=labels.label_source,
        notes=(*images.notes, *columns.votes.notes, *labels.notes),
    )
    columns, group, group_notes = _choose_groups(sheet, columns, images, kept, manifest)
    said = (*sheet.assumed, *columns.sentence(sheet), *images.assumed, *split_note, *labels.assumed, *group_notes)
    return replace(manifest, group=group, assumed=said)


def _told(sheet: Sheet, options: ReadOptions) -> dict[str, str]:
    """The columns that the options name; ``--group-by`` names one if there is a column of that name."""
    told = dict(options.columns)
    if not options.group_by:
        return told
    if composed(options.group_by) in sheet.names or plain(options.group_by) in map(plain, sheet.names):
        told.setdefault("group", options.group_by)
    else:
        told.setdefault("group", "none")
    return told


# --- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Images:
    """The distinct images of a table.

    Attributes:
        ids: [M] str.
        first: [M] int64, the first row that names each image.
        image: [N] int64, the image of each row.
        paths: [M] files; None where the pixels are in the table.
        frames: uint8 [M, S, S] where the pixels are in the table, or None.
        files, folders, assumed, notes: As in :class:`fer_bench.data.dataset.Manifest`.
    """

    ids: np.ndarray
    first: np.ndarray
    image: np.ndarray
    paths: list[Path] | None = None
    frames: np.ndarray | None = None
    files: Sequence[Path] = ()
    folders: Sequence[Path] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def source(self, rows: np.ndarray) -> Source:
        """The pixels of some images."""
        if self.frames is not None:
            return ArraySource(self.frames[rows])
        assert self.paths is not None
        return FileSource([self.paths[row] for row in rows])


def _read_images(sheet: Sheet, columns: Columns, also: Sequence[Path]) -> _Images:
    if "path" not in columns.roles:
        assert columns.pixels is not None
        return _frames(sheet, columns.pixels)
    number = columns.roles["path"]
    if any(map(is_embedded, sheet.cells.iloc[:, number])):
        raise DataError(
            f"{sheet.path}: the column {sheet.names[number]!r} holds the images themselves; write them to files, and "
            "their names into the column"
        )
    written = [image_path(word) for word in sheet.column(number)]
    names, first, image = np.unique(np.array(written, dtype=object), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    first, image = first[order], np.argsort(order, kind="stable")[image]
    located = locate([written[row] for row in first], sheet.path, also)
    ids, assumed = [written[row] for row in first], located.assumed
    if "id" in columns.roles:
        own = sheet.column(columns.roles["id"])
        if len(set(own)) == len(own):
            ids = [own[row] for row in first]
        else:
            assumed += (f"the column {sheet.names[columns.roles['id']]!r} is not used, as its values repeat",)
    repeated = len(written) - len(names)
    return _Images(
        ids=unique_ids(ids, sheet.path),
        first=first,
        image=image,
        paths=located.paths,
        files=[*(sheet.path.parent / written[row] for row in first), *located.paths],
        folders=located.folders,
        assumed=assumed,
        notes=(f"{counted(repeated, 'row')} about an image that an earlier row names",) if repeated else (),
    )


def _frames(sheet: Sheet, column: int) -> _Images:
    """The images of a table that holds their pixels."""
    if sheet.path.name in FILES:
        hint = f" --data-root {sheet.path.parent.parent}" if sheet.path.parent.name == "fer2013" else ""
        raise DataError(f"{sheet.path}: this is the csv file of FER2013: use --dataset fer2013{hint}")
    cells = [cell if isinstance(cell, (list, np.ndarray)) else text(cell) for cell in sheet.cells.iloc[:, column]]
    frames = read_frames(cells, sheet.path)
    rows = np.arange(len(frames))
    return _Images(np.array([row_id(row) for row in range(len(frames))], dtype=str), rows, rows, frames=frames)


# --- splits and groups -----------------------------------------------------------------------------------------------


def _splits(sheet: Sheet, columns: Columns, images: _Images) -> tuple[np.ndarray, tuple[str, ...]]:
    """The split of each image, "" for all where the table does not say, and a sentence where the column holds folds."""
    if "split" not in columns.roles:
        return np.full(len(images.ids), "", dtype="<U5"), _beside(sheet.path)
    words = [whole(word) for word in sheet.column(columns.roles["split"])]
    column = sheet.names[columns.roles["split"]]
    known, note = _parts(column, words, sheet.path)
    for row, word in enumerate(words, 1):
        if word not in known:
            raise DataError(
                f"{sheet.path}, row {row}: unknown split {word!r}, not one of train, val, test (column {column!r}; "
                "--columns split=none does not use it)"
            )
    split = np.array([known[word] for word in words], dtype=str)
    for row in np.flatnonzero(split != split[images.first][images.image]).tolist():
        name, earlier = str(images.ids[images.image[row]]), images.first[images.image[row]]
        raise DataError(
            f"{sheet.path}, row {row + 1}: {name!r} appears more than once, in {split[row]} and in {split[earlier]} "
            f"(row {earlier + 1})"
        )
    for name in ("train", "test"):
        if name not in split:
            is_held_out = name == "test" and "val" in split
            advice = f": call val {name} if it is what you report, or" if is_held_out else ";"
            raise DataError(
                f"{sheet.path}: no row has split {name!r}{advice} --columns split=none takes a part of all images"
            )
    return split[images.first], note


def _parts(column: str, words: Sequence[str], path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The split of each word that means one, and a sentence where the words are folds."""
    distinct = set(words)
    if plain(column).startswith("is") and {word.casefold() for word in distinct} <= YES | NO:
        yes, no = ("test", "train") if plain(column) == "istest" else ("train", "test")
        return {word: yes if word.casefold() in YES else no for word in distinct}, ()
    numbers = {word: int(word) if word.isdecimal() else fold_number(word) for word in distinct}
    folds = {word: number for word, number in numbers.items() if number is not None}
    if not len(folds) == len(set(folds.values())) == len(numbers) >= FOLDS:
        return splits_of(distinct), ()
    test, *others = sorted(folds, key=lambda word: folds[word])
    if test.isdecimal():
        _require_folds(column, [test, *others], words, path)
    note = f"{column!r} holds {len(folds)} folds; {'fold ' if test.isdecimal() else ''}{test} is the test split"
    return {test: "test"} | dict.fromkeys(others, "train"), (note,)


def _require_folds(column: str, numbers: Sequence[str], words: Sequence[str], path: Path) -> None:
    """DataError where numbers may stand for train, val and test: folds are called so, or have about the same size."""
    sizes = Counter(words)
    called = "fold" in plain(column) or plain(column).startswith("cv")
    if called or max(sizes.values()) < LIKE_SIZE * min(sizes.values()):
        return
    shown = ", ".join(listed([f"{number} in {counted(sizes[number], 'row')}" for number in numbers]))
    raise DataError(
        f"{path}: the column {column!r} holds numbers ({shown}), and it is unclear what they mean: write train, val "
        "and test if they are these; if they are folds of cross-validation, call the column 'fold'; --columns "
        "split=none does not use it"
    )


def _beside(path: Path) -> tuple[str, ...]:
    """A sentence where a table is called like a split, and others beside it, which are not read, are so, too."""
    if not looks_like_split(path.stem):
        return ()
    tables = [each for each in path.parent.iterdir() if each.suffix.lower() in TABLE_SUFFIXES and each != path]
    others = sorted(each.name for each in tables if looks_like_split(each.stem))
    return (f"not read: {', '.join(listed(others))}; one table with a column split holds all images",) if others else ()


def _choose_groups(
    sheet: Sheet, columns: Columns, images: _Images, kept: np.ndarray, manifest: Manifest
) -> tuple[Columns, np.ndarray | None, tuple[str, ...]]:
    """Who is in each image, by the first column that can keep persons together; the first of all if none can.

    Args:
        sheet: The table.
        columns: Its columns.
        images: Its images.
        kept: [M] bool, those that have a label.
        manifest: These images, without groups.

    Returns:
        The columns with the one that is used, [n] str, and sentences on columns that are not used and on groups that
        are written in several ways.
    """
    if not columns.groups:
        return columns, None, ()
    found = {number: _groups(sheet, number, images, kept) for number in columns.groups}
    derived = not (manifest.split != "").any()
    notes: list[str] = []
    for number, (group, merged) in found.items() if len(found) > 1 else ():
        why = unfit(manifest, group, derived)
        if not why:
            return columns.grouped_by(number), group, (*notes, *merged)
        notes.append(f"the column {sheet.names[number]!r} not used to keep images of one person together: {why}")
    group, merged = found[columns.groups[0]]
    return columns, group, (*notes[1:], *merged)


def _groups(sheet: Sheet, column: int, images: _Images, kept: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Who is in each image that is kept by a column; an image without a name is its own group."""
    words = sheet.column(column)
    names = [word if says else None for word, says in zip(words, filled(words), strict=True)]
    return named_groups([names[row] for row in images.first[kept]], images.ids[kept])


# --- labels and landmarks --------------------------------------------------------------------------------------------


def _annotations(sheet: Sheet, columns: Columns, images: _Images, options: ReadOptions) -> Annotations:
    """The labels of the distinct images."""
    words = {role: sheet.column(columns.roles[role]) for role in ("label", "reference") if role in columns.roles}
    votes = _votes(sheet, columns)
    if len(images.ids) < len(images.image):
        if votes or "reference" in words:
            again = str(images.ids[np.bincount(images.image) > 1][0])
            raise DataError(f"{sheet.path}: {again!r} appears more than once, beside columns of votes or references")
        votes = count_rows(words.pop("label"), images.image, len(images.ids))
    if votes and not votes.several and "label" in words and "reference" not in words:
        _require_same_labels(sheet, columns.roles["label"], words["label"], votes)
    first = {role: [column[row] for row in images.first] for role, column in words.items()}
    found = annotate(images.ids, first.get("label"), first.get("reference"), votes, options.ties)
    if not found.kept.any():
        raise DataError(f"{sheet.path}: no image has a label")
    return found


def _votes(sheet: Sheet, columns: Columns) -> Votes | None:
    if not columns.votes.classes:
        return None
    counts = {name: sheet.column(number) for name, number in columns.votes.classes.items()}
    return read_votes(counts, [sheet.column(number) for number in columns.votes.no_class])


def _require_same_labels(sheet: Sheet, column: int, label: Sequence[str], votes: Votes) -> None:
    """DataError where a column of labels and columns with one 1 for each image say different things."""
    row = differing_row(label, votes)
    if row is not None:
        name, voted = sheet.names[column], votes.classes[votes.counts[row].argmax()]
        raise DataError(
            f"{sheet.path}, row {row + 1}: the column {name!r} says {label[row]!r}, and the columns of the classes say "
            f"{voted!r}; choose with --columns label={name} or --columns label=none"
        )


def _landmarks(sheet: Sheet, columns: Columns) -> tuple[np.ndarray | None, np.ndarray | None]:
    if "landmarks" not in columns.roles:
        return None, None
    return read_points(sheet.cells.iloc[:, columns.roles["landmarks"]].tolist(), sheet.path)
