"""Checks a data set: counts, images that cannot be decoded or have one colour, copies, landmarks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.spec import HOLD_OUT
from fer_bench.data.dataset import SPLITS, Manifest
from fer_bench.data.points import problems
from fer_bench.data.stratified import nearest_count
from fer_bench.data.twins import SIDE, Thumbnails, find_twins

ONE_COLOUR = 2
"""Levels by which the pixels of an image of one colour may differ: JPEG is not exact."""

_BATCH = 256


class Copy(NamedTuple):
    """One image of a group of duplicates."""

    id: str
    split: str
    label: str


@dataclass(frozen=True)
class Report:
    """What :func:`check` found in one data set.

    Attributes:
        name: Name of the data set.
        classes: Names of its classes.
        counts: Images per split and class, in the order of ``classes``.
        expected: Images per split of the official release, where that is known.
        undecodable: (id, cause) of each image that cannot be decoded.
        duplicates: Groups of images with identical stored content.
        twins: (held-out image, training image) that show the same picture but are stored differently.
        shared: Groups, such as persons, with images in train and in test.
        plain: Ids of images of one colour.
        assumed: How the files were understood and what a run will do with them, one sentence each.
        notes: What the reader left out, one sentence each.
        located: Images with landmarks per split and class; None if the data set has no landmarks.
        misplaced: What looks wrong with the landmarks, one sentence each.
    """

    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    expected: Mapping[str, int]
    undecodable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[Copy, ...], ...]
    twins: tuple[tuple[Copy, Copy], ...] = ()
    shared: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    located: Mapping[str, tuple[int, ...]] | None = None
    misplaced: tuple[str, ...] = ()

    @property
    def across(self) -> tuple[tuple[Copy, ...], ...]:
        """Duplicate groups with members in more than one split: leakage."""
        return tuple(group for group in self.duplicates if len({copy.split for copy in group}) > 1)

    @property
    def within(self) -> tuple[tuple[Copy, ...], ...]:
        """Duplicate groups inside one split."""
        return tuple(group for group in self.duplicates if len({copy.split for copy in group}) == 1)

    @property
    def conflicting(self) -> tuple[tuple[Copy, ...], ...]:
        """Duplicate groups whose members carry different labels."""
        return tuple(group for group in self.duplicates if len({copy.label for copy in group}) > 1)

    @property
    def leaked(self) -> dict[str, int]:
        """Images of "val" and "test" that have an exact copy in train."""
        leaky = [group for group in self.duplicates if any(copy.split == "train" for copy in group)]
        found = Counter(copy.split for group in leaky for copy in group)
        return {split: found[split] for split in ("val", "test")}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every finding as one sentence; empty where the data set is as it should be."""
        found = list(self.notes)
        found += [
            f"{split}: {sum(self.counts[split])} images, expected are {self.expected[split]}"
            for split in SPLITS
            if split in self.expected and sum(self.counts[split]) != self.expected[split]
        ]
        found += [f"{split}: no images" for split in ("train", "test") if not any(self.counts[split])]
        found += [
            f"{split}: no image of class {name}"
            for split in SPLITS
            for name, count in zip(self.classes, self.counts[split], strict=True)
            if not count and any(self.counts[split])
        ]
        if len(self.classes) == 1:
            found.append(f"one class only: {self.classes[0]}")
        if self.undecodable:
            found.append(f"images that cannot be decoded: {len(self.undecodable)}")
        if self.plain:
            found.append(f"images of one colour: {len(self.plain)}, such as {', '.join(self.plain[:3])}")
        found += [
            f"{split}: images with an exact copy in train: {n} (--dedup leaves the copies out of train)"
            for split, n in self.leaked.items()
            if n
        ]
        found += [
            f"{split}: {n} of {sum(self.counts[split])} images have a near copy in train (--dedup near leaves it "
            "out of train)"
            for split, n in Counter(copy.split for copy, _ in self.twins).items()
        ]
        if self.shared:
            found.append(f"groups in train and in test: {len(self.shared)}, such as {', '.join(self.shared[:3])}")
        if self.conflicting:
            found.append(f"groups of identical images with different labels: {len(self.conflicting)}")
        return (*found, *self.misplaced)


def check(manifest: Manifest) -> Report:
    """Counts, decodes and hashes every image. A damaged image is reported and does not stop the check."""
    seen = _Seen({}, [], [], [])
    copies: dict[bytes, list[int]] = defaultdict(list)
    order = np.argsort(manifest.ids, kind="stable").tolist()
    for start in range(0, len(order), _BATCH):
        before = len(seen.sound)
        seen.look(manifest, order[start : start + _BATCH])
        sound = seen.sound[before:]
        for row, content in zip(sound, manifest.source.digest(sound), strict=True):
            copies[content].append(row)
    duplicates = [rows for rows in copies.values() if len(rows) > 1]
    leaked = {row for rows in duplicates if "train" in manifest.split[rows] for row in rows}
    return Report(
        name=manifest.name,
        classes=manifest.classes,
        counts={split: tuple(_counts(manifest, split).tolist()) for split in SPLITS},
        expected=manifest.expected,
        undecodable=tuple((str(manifest.ids[row]), cause) for row, cause in seen.broken.items()),
        duplicates=tuple(tuple(_copy(manifest, row) for row in rows) for rows in duplicates),
        twins=tuple(_twins(manifest, seen, leaked)),
        shared=_shared(manifest),
        plain=tuple(str(manifest.ids[row]) for row in seen.plain),
        assumed=(*manifest.assumed, *_hold_out(manifest)),
        notes=manifest.notes,
        **_landmarks(manifest),
    )


@dataclass
class _Seen:
    """What was seen of images: causes of damage by row, rows of one colour, and thumbnails of all sound rows."""

    broken: dict[int, str]
    plain: list[int]
    sound: list[int]
    thumbnails: list[Thumbnails]

    def look(self, manifest: Manifest, rows: list[int]) -> None:
        """Decodes images; one by one only where the whole batch fails."""
        try:
            images = manifest.source.pixels(rows, SIDE)
        except DataError as error:
            if len(rows) == 1:
                self.broken[rows[0]] = str(error)
            else:
                for row in rows:
                    self.look(manifest, [row])
            return
        levels = np.ptp(images.reshape(len(rows), 3, -1), axis=2).max(axis=1)
        self.plain += [row for row, reach in zip(rows, levels, strict=True) if reach <= ONE_COLOUR]
        self.sound += rows
        self.thumbnails.append(Thumbnails.of(images))


def _twins(manifest: Manifest, seen: _Seen, leaked: set[int]) -> Iterator[tuple[Copy, Copy]]:
    """Held-out images that show the picture of a training image; images with an exact copy there are left out."""
    rows = np.array(seen.sound, dtype=np.int64)
    held_out = np.array([manifest.split[row] != "train" and row not in leaked for row in seen.sound], dtype=bool)
    train = manifest.split[rows] == "train"
    if not held_out.any() or not train.any():
        return
    thumbnails = Thumbnails.joined(seen.thumbnails)
    found = find_twins(thumbnails.take(np.flatnonzero(held_out)), thumbnails.take(np.flatnonzero(train)))
    for row, twin in zip(rows[held_out], found, strict=True):
        if twin >= 0:
            yield _copy(manifest, row), _copy(manifest, rows[train][twin])


def _shared(manifest: Manifest) -> tuple[str, ...]:
    """The groups that have images in train and in test."""
    if manifest.group is None:
        return ()
    train, test = (set(manifest.group[manifest.split == split].tolist()) for split in ("train", "test"))
    return tuple(sorted(train & test))


def _hold_out(manifest: Manifest) -> tuple[str, ...]:
    """What runs do where there is no validation split."""
    count = int((manifest.split == "train").sum())
    if not count or (manifest.split == "val").any():
        return ()
    held = nearest_count(HOLD_OUT, count)
    return (f"no validation split: a run holds out {held:,} of the {count:,} training images (--val none: none)",)


def _counts(manifest: Manifest, split: str) -> np.ndarray:
    return np.bincount(manifest.label[manifest.split == split], minlength=len(manifest.classes))


def _landmarks(manifest: Manifest) -> dict[str, Any]:
    """The fields of a report on landmarks."""
    if manifest.landmarks is None or manifest.landmarks_ok is None:
        return {}
    has = manifest.subset(manifest.landmarks_ok)
    return {
        "located": {split: tuple(_counts(has, split).tolist()) for split in SPLITS},
        "misplaced": tuple(problems(manifest.landmarks, manifest.landmarks_ok)),
    }


def _copy(manifest: Manifest, row: int | np.int64) -> Copy:
    return Copy(str(manifest.ids[row]), str(manifest.split[row]), manifest.classes[manifest.label[row]])
