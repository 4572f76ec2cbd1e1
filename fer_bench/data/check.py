"""Checks a data set: counts, images that cannot be decoded or have one colour, copies, landmarks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import SPLITS, Manifest
from fer_bench.data.points import problems

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
        plain: Ids of images of one colour.
        notes: What the reader left out or assumed, one sentence each.
        located: Images with landmarks per split and class; None if the data set has no landmarks.
        misplaced: What looks wrong with the landmarks, one sentence each.
    """

    name: str
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    expected: Mapping[str, int]
    undecodable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[Copy, ...], ...]
    plain: tuple[str, ...] = ()
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
        if self.conflicting:
            found.append(f"groups of identical images with different labels: {len(self.conflicting)}")
        return (*found, *self.misplaced)


def check(manifest: Manifest) -> Report:
    """Counts, decodes and hashes every image. A damaged image is reported and does not stop the check."""
    broken: dict[int, str] = {}
    plain: list[int] = []
    copies: dict[bytes, list[int]] = defaultdict(list)
    order = np.argsort(manifest.ids, kind="stable").tolist()
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        damaged, one_colour = _decoded(manifest, rows)
        broken |= damaged
        plain += one_colour
        sound = [row for row in rows if row not in broken]
        for row, content in zip(sound, manifest.source.digest(sound), strict=True):
            copies[content].append(row)
    return Report(
        name=manifest.name,
        classes=manifest.classes,
        counts={split: tuple(_counts(manifest, split).tolist()) for split in SPLITS},
        expected=manifest.expected,
        undecodable=tuple((str(manifest.ids[row]), cause) for row, cause in broken.items()),
        duplicates=tuple(tuple(_copy(manifest, row) for row in rows) for rows in copies.values() if len(rows) > 1),
        plain=tuple(str(manifest.ids[row]) for row in plain),
        notes=manifest.notes,
        **_landmarks(manifest),
    )


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


def _copy(manifest: Manifest, row: int) -> Copy:
    return Copy(str(manifest.ids[row]), str(manifest.split[row]), manifest.classes[manifest.label[row]])


def _decoded(manifest: Manifest, rows: list[int]) -> tuple[dict[int, str], list[int]]:
    """Row -> cause for each of ``rows`` that cannot be decoded, and the rows whose images have one colour.

    Images are decoded one by one only where the whole batch fails.
    """
    try:
        images = manifest.source.pixels(rows, 32)
    except DataError as error:
        if len(rows) == 1:
            return {rows[0]: str(error)}, []
        parts = [_decoded(manifest, [row]) for row in rows]
        causes = {row: cause for part, _ in parts for row, cause in part.items()}
        return causes, [row for _, part in parts for row in part]
    reach = np.ptp(images.reshape(len(rows), 3, -1), axis=2).max(axis=1)
    return {}, [row for row, levels in zip(rows, reach, strict=True) if levels <= ONE_COLOUR]
