"""Which image of a data set a name in a list means."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fer_bench.data.names import composed, image_path, without_suffix

UNKNOWN, AMBIGUOUS = -1, -2
"""In place of a row: no image has the name, or several have it."""


class ImageIndex:
    """Finds images by their id, or by the end of a path: lists are written on other machines, in other folders.

    A name means the image whose id has the longest common end with it, part by part. Capital letters, the suffix of the
    format, RAF-DB's ``_aligned`` and the Unicode form may differ. An end that two images share means none of them.

    Args:
        ids: [N] str, the ids of all images of the data set.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._whole = {image_path(str(name)): row for row, name in enumerate(ids)}
        self._ends: dict[str, int] = {}
        for path, row in self._whole.items():
            for end in {*_ends(path), *_ends(without_suffix(path))}:
                self._ends[end] = row if self._ends.get(end, row) == row else AMBIGUOUS

    def rows(self, names: Iterable[str]) -> np.ndarray:
        """The row of each name: int64 [M], UNKNOWN or AMBIGUOUS for a name that means no image."""
        return np.array([self._row(image_path(name)) for name in names], dtype=np.int64)

    def _row(self, path: str) -> int:
        if path in self._whole:
            return self._whole[path]
        ends = (*_ends(path), *_ends(without_suffix(path)))
        return next((self._ends[end] for end in ends if end in self._ends), UNKNOWN)


def _ends(path: str) -> list[str]:
    """The ends of a path in small letters and in the form NFC, from the whole to its last part."""
    parts = composed(path.strip("/").lower()).split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]
