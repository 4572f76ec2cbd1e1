"""Images that show the same picture: exact copies, other sizes, crops and qualities of it, its mirror image.

Candidates have perceptual hashes that differ in few bits. Twins are the candidates whose grey thumbnails correlate.
Both limits were set on FER2013, where all pairs at the limits that were looked at show one photograph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
"""Side of a thumbnail in pixels."""

BITS = 8
"""Bits of 64 in which the hashes of twins may differ."""

CORRELATION = 0.9
"""The least correlation of the thumbnails of twins."""

BLOCK = 1 << 23
"""Pairs of hashes that are compared together."""


@dataclass(frozen=True)
class Thumbnails:
    """Small grey copies of images, uint8 [N, SIDE, SIDE], and their perceptual hashes, float32 [N, 64] of -1 and 1."""

    grey: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> Thumbnails:
        """Thumbnails of images uint8 [3, S, S]."""
        grey = [np.asarray(_grey(image)) for image in images]
        return cls._hashed(np.stack(grey) if grey else np.zeros((0, SIDE, SIDE), dtype=np.uint8))

    @classmethod
    def joined(cls, parts: Sequence[Thumbnails]) -> Thumbnails:
        """All thumbnails of several parts in order; there is at least one part."""
        return cls(np.concatenate([part.grey for part in parts]), np.concatenate([part.hashes for part in parts]))

    @classmethod
    def _hashed(cls, grey: np.ndarray) -> Thumbnails:
        return cls(grey, np.array([_hash(image) for image in grey], dtype=np.float32).reshape(len(grey), 64))

    def mirrored(self) -> Thumbnails:
        """The thumbnails of the mirror images."""
        return self._hashed(np.ascontiguousarray(self.grey[:, :, ::-1]))

    def take(self, rows: np.ndarray) -> Thumbnails:
        """Some of the thumbnails."""
        return Thumbnails(self.grey[rows], self.hashes[rows])


def find_twins(images: Thumbnails, others: Thumbnails) -> np.ndarray:
    """The number of a twin of each image among ``others``, int64 [N]; -1 where there is none."""
    found = np.full(len(images.hashes), -1, dtype=np.int64)
    for turned in (images, images.mirrored()):
        step = max(1, BLOCK // max(1, len(others.hashes)))
        for start in range(0, len(found), step):
            agreement = turned.hashes[start : start + step] @ others.hashes.T  # 64 less two for each bit that differs
            rows, candidates = np.nonzero(agreement >= 64 - 2 * BITS)
            alike = _correlation(turned.grey[start + rows], others.grey[candidates]) >= CORRELATION
            found[start + rows[alike][::-1]] = candidates[alike][::-1]
    return found


def _grey(image: np.ndarray) -> Any:
    small = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L")
    return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _hash(grey: np.ndarray) -> np.ndarray:
    import imagehash  # slow to import, and only this needs it

    return np.where(imagehash.phash(Image.fromarray(grey)).hash.ravel(), 1.0, -1.0)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of the pixels of each pair: float64 [n]; 0 for an image of one colour."""
    a, b = (x.reshape(len(x), SIDE * SIDE).astype(np.float64) for x in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), size, out=np.zeros(len(a)), where=size > 0)
