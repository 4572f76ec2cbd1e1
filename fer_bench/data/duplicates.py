"""Training images that are copies of held-out ones."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fer_bench.data.dataset import Manifest


class Deduplicated(NamedTuple):
    """A data set without leaked images.

    Attributes:
        manifest: The rest.
        dropped: Ids that were dropped, by split ("train" and "val").
    """

    manifest: Manifest
    dropped: dict[str, list[str]]


def dedup(manifest: Manifest) -> Deduplicated:
    """Drops training images with an exact copy in val or test, and validation images with one in test.

    Test images stay. Splits that lose images have no expected count in the result.
    """
    content = np.array(manifest.source.digest(range(len(manifest))), dtype=object)
    keep = np.ones(len(manifest), dtype=bool)
    dropped = {}
    for split, later in (("train", ("val", "test")), ("val", ("test",))):
        held_out = set(content[np.isin(manifest.split, later)])
        leaked = [row for row in manifest.rows(split) if content[row] in held_out]
        keep[leaked] = False
        dropped[split] = manifest.ids[leaked].tolist()
    if keep.all():
        return Deduplicated(manifest, dropped)
    kept = manifest.subset(keep)
    known = {split: count for split, count in manifest.expected.items() if not dropped.get(split)}
    return Deduplicated(replace(kept, expected=known), dropped)
