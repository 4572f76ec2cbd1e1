"""Training images that are copies of held-out ones."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fer_bench.data.dataset import Manifest
from fer_bench.data.twins import SIDE, Thumbnails, find_twins

_BATCH = 256


class Deduplicated(NamedTuple):
    """A data set without leaked images.

    Attributes:
        manifest: The rest.
        dropped: Ids that were dropped, by split ("train" and "val").
    """

    manifest: Manifest
    dropped: dict[str, list[str]]


def dedup(manifest: Manifest, near: bool = False) -> Deduplicated:
    """Drops training images with a copy in val or test, and validation images with one in test.

    Test images stay. Splits that lose images have no expected count in the result.

    Args:
        manifest: A data set.
        near: Whether images that show the same picture (:mod:`fer_bench.data.twins`) are copies, or only those of the
            same stored content.
    """
    content = np.array(manifest.source.digest(range(len(manifest))), dtype=object)
    thumbnails = _thumbnails(manifest) if near else None
    keep = np.ones(len(manifest), dtype=bool)
    dropped = {}
    for split, later in (("train", ("val", "test")), ("val", ("test",))):
        held_out = np.flatnonzero(np.isin(manifest.split, later))
        known, rows = set(content[held_out]), manifest.rows(split)
        leaked = np.array([content[row] in known for row in rows], dtype=bool)
        if thumbnails is not None:
            leaked |= find_twins(thumbnails.take(rows), thumbnails.take(held_out)) >= 0
        keep[rows[leaked]] = False
        dropped[split] = manifest.ids[rows[leaked]].tolist()
    if keep.all():
        return Deduplicated(manifest, dropped)
    kept = manifest.subset(keep)
    expected = {split: count for split, count in manifest.expected.items() if not dropped.get(split)}
    left_out = " and ".join(f"{len(ids)} {split} images" for split, ids in dropped.items() if ids)
    note = f"{left_out} left out as {'near ' if near else ''}copies of held-out images"
    return Deduplicated(replace(kept, expected=expected, assumed=(*manifest.assumed, note)), dropped)


def _thumbnails(manifest: Manifest) -> Thumbnails:
    rows = range(len(manifest))
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    return Thumbnails.joined([Thumbnails.of(manifest.source.pixels(list(part), SIDE)) for part in parts])
