"""Who is in an image, and the test split of data that have none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from fer_bench.core.errors import DataError, SpecError
from fer_bench.core.seeds import uniform_by_id
from fer_bench.data.dataset import Manifest
from fer_bench.data.groups import named_groups, whole_groups
from fer_bench.data.names import class_name, fold_number, looks_like_split, splits_of
from fer_bench.data.patterns import PATTERNS

TEST_SHARE = 0.2

FEWEST = 5
"""Groups that a split by groups needs."""

NEAR = (0.5, 2.0)
"""How much less or more than its share a part of whole groups may be."""


def complete(manifest: Manifest, group_by: str = "") -> Manifest:
    """Adds who is in each image, where that can be known, and a test split where there is none.

    Args:
        manifest: From the reader of a folder or table; without splits, all of its ``split`` is "".
        group_by: As in :class:`fer_bench.data.options.ReadOptions`.

    Raises:
        DataError: The images cannot be divided into parts of whole groups, which ``group_by`` asks for.
        SpecError: ``group_by`` is no regular expression, or matches no image.
    """
    derived = not (manifest.split != "").any()
    group, notes = _choose_groups(manifest, group_by, derived)
    manifest = replace(manifest, group=group, assumed=(*manifest.assumed, *notes))
    return _with_split(manifest) if derived else manifest


def _with_split(manifest: Manifest) -> Manifest:
    """The manifest with a derived test split: the same for every run and in any order of the files."""
    group = manifest.group
    if group is None:
        test, how = _by_class(manifest.ids, manifest.label), "a fifth of each class"
        if len(test) > 1 and not test.any():
            raise DataError(
                f"{manifest.name}: each of its {len(test):,} images has a class of its own, such as "
                f"{manifest.classes[0]}, so there is no test split; is that what says the expression?"
            )
    else:
        test = whole_groups(manifest.label, group, TEST_SHARE, "folder/split")
        how = f"{len(np.unique(group[test])):,} of {len(np.unique(group)):,} groups"
    return replace(
        manifest,
        split=np.where(test, "test", "train"),
        split_source="derived" if group is None else "derived by group",
        assumed=(*manifest.assumed, f"no test split: {test.sum():,} of {len(test):,} images are taken for it, {how}"),
    )


def _by_class(ids: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The fifth of each class whose ids hash lowest: bool [N]."""
    test = np.zeros(len(ids), dtype=bool)
    position = uniform_by_id(0, "folder/split", ids)[:, 0]
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        held_out = max(round(TEST_SHARE * len(rows)), int(len(rows) > 1))
        test[rows[np.argsort(position[rows], kind="stable")[:held_out]]] = True
    return test


# --- who is in an image ----------------------------------------------------------------------------------------------


def _choose_groups(manifest: Manifest, group_by: str, derived: bool) -> tuple[np.ndarray | None, list[str]]:
    """The first kind of groups that the images can be divided by, or None; and what is to be said of it."""
    notes: list[str] = []
    for candidate in _candidates(manifest, group_by):
        why = _useless(manifest, candidate.group, derived) if group_by else unfit(manifest, candidate.group, derived)
        if not why:
            used = f"images of one group, by {candidate.origin}, stay together"
            return candidate.group, [*notes, *candidate.merged, used]
        if group_by:
            raise DataError(f"{manifest.name}: its images cannot be divided by {candidate.origin}: {why}")
        notes.append(f"{candidate.origin} not used to keep images of one person together: {why}")
    return None, notes


class _Candidate(NamedTuple):
    """The group of each image, what tells it, and a sentence where groups are written in several ways."""

    group: np.ndarray
    origin: str
    merged: tuple[str, ...] = ()


def _candidates(manifest: Manifest, group_by: str) -> Iterator[_Candidate]:
    """What may tell the group of each image: a column, an expression, names of files, sub-folders."""
    if group_by == "none":
        return
    if manifest.group is not None:
        yield _Candidate(manifest.group, "the column of groups")
    elif group_by:
        yield _by_regex(manifest.ids, group_by)
    if group_by:
        return
    stems = [PurePosixPath(name).name for name in manifest.ids]
    for pattern in PATTERNS:
        found = [pattern.person(stem) for stem in stems]
        if 2 * sum(name is not None for name in found) >= len(found):
            yield _named(found, manifest.ids, f"file names as in {pattern.title}")
            return
    folders = _folders(manifest)
    if len(set(folders) - {None}) > 1 and 10 * sum(name is not None for name in folders) >= 9 * len(folders):
        yield _named(folders, manifest.ids, "sub-folders")


def _by_regex(ids: np.ndarray, regex: str) -> _Candidate:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise SpecError(f"--group-by {regex}: neither a column nor a regular expression ({error})") from None
    found = [match and match[min(1, pattern.groups)] for match in map(pattern.search, ids)]
    if not any(found):
        raise SpecError(f"--group-by {regex}: no column, and no id such as {ids[0]} matches it")
    return _named(found, ids, f"--group-by {regex}")


def _named(found: Sequence[str | None], ids: np.ndarray, origin: str) -> _Candidate:
    group, merged = named_groups(found, ids)
    return _Candidate(group, origin, merged)


def _folders(manifest: Manifest) -> list[str | None]:
    """The folder of each image below that of its class."""
    classes = {name.casefold() for name in manifest.classes}
    found = []
    for name in manifest.ids:
        folders = PurePosixPath(name).parts[:-1]
        folders = folders[1:] if folders and fold_number(folders[0]) is not None else folders
        below = [part for part in folders if class_name(part).casefold() not in classes and not _is_split(part)]
        found.append(below[0] if below and len(below) < len(folders) else None)
    return found


def _is_split(name: str) -> bool:
    return bool(splits_of([name])) or looks_like_split(name)


def unfit(manifest: Manifest, group: np.ndarray, derived: bool) -> str:
    """Why groups that the user did not name cannot keep the images of one person together; "" if they can.

    Args:
        manifest: The images.
        group: [N] str.
        derived: Whether the test split is derived, too.
    """
    return _useless(manifest, group, derived) or _unlikely(group)


def _unlikely(group: np.ndarray) -> str:
    """Why groups that the user did not name cannot be the people in the images; "" if they can.

    A column of users may hold those who labelled the images.
    """
    names, counts = np.unique(group, return_counts=True)
    most = int(counts.argmax())
    if 2 * counts[most] <= len(group):
        return ""
    return f"{counts[most]:,} of {len(group):,} images are of {str(names[most])!r}"


def _useless(manifest: Manifest, group: np.ndarray, derived: bool) -> str:
    """Why the images cannot be divided into parts of whole groups; "" if they can."""
    rows = np.arange(len(group)) if derived else manifest.rows("train")
    names, counts = np.unique(group[rows], return_counts=True)
    if len(names) < FEWEST:
        return f"there {'are' if len(names) > 1 else 'is'} only {len(names)}"
    label = manifest.label[rows]
    part = whole_groups(label, group[rows], TEST_SHARE, "folder/split")
    share = part.mean() / TEST_SHARE
    if not NEAR[0] <= share <= NEAR[1]:
        return f"{counts.max():,} of {len(rows):,} images are of {str(names[counts.argmax()])!r}"
    classes = len(manifest.classes)
    has_two = np.array([len(np.unique(group[rows][label == number])) > 1 for number in range(classes)])
    empty = has_two & (np.bincount(label[part], minlength=classes) == 0)
    return f"no part of them has an image of {manifest.classes[int(empty.argmax())]}" if empty.any() else ""
