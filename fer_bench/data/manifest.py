"""What a data set is to the harness: ids, labels, splits and a source of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

SPLITS = ("train", "val", "test")
MIRRORED_LANDMARKS = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18)
"""Which of the 19 points (AFLW order: brows, eyes, nose, mouth, chin) a mirrored face has in each place: left and right
change places."""


class DataError(Exception):
    """The data are missing, damaged or not in the expected layout; the message names the file and what to do."""


class Source(Protocol):
    """Where pixels come from: image files, the rows of a csv file, or a renderer."""

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        """Decoded images of these rows, resized: uint8 [n, 3, size, size], RGB. Raises DataError naming the file."""
        ...

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        """A hash of the stored content of each row (before any resizing), for fingerprints and duplicate checks."""
        ...


@dataclass(frozen=True)
class Manifest:
    """One data set, undecoded. Arrays have one entry per image, in any order; nothing here depends on that order.

    ids           [N] str, unique; independent of where the data are stored (noise and sub-sampling hang on them)
    split         [N] str, one of "train", "val", "test"; no "val" means that the harness carves one from train
    label         [N] int64 in [0, C): the reference ("true") labels
    source        pixels by row
    landmarks     [N, L, 2] float32, (x, y) as a fraction of width and height, or None; methods that need landmarks take
                  19 of them in AFLW order
    landmarks_ok  [N] bool, False where no landmarks were found; None when there are none at all
    distribution  [N, C] float32, rows sum to 1: how annotators (or the generator) share the label, or None
    votes         [N, C] int64, annotator counts per class, or None
    human         [N] int64 in [-1, C): a second, noisier human label of the same image, -1 = not one of the classes
    expected      images per split that the official release holds, where it is known
    landmarks_file  digest of landmarks that come from a file of their own: the fingerprint does not hold these
    """

    name: str
    classes: tuple[str, ...]
    ids: np.ndarray
    split: np.ndarray
    label: np.ndarray
    source: Source
    landmarks: np.ndarray | None = None
    landmarks_ok: np.ndarray | None = None
    distribution: np.ndarray | None = None
    votes: np.ndarray | None = None
    human: np.ndarray | None = None
    expected: Mapping[str, int] = field(default_factory=dict)
    landmarks_file: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split, int64, sorted by id, so that file order changes nothing downstream."""
        rows = np.flatnonzero(self.split == split)
        return rows[np.argsort(self.ids[rows], kind="stable")]

    def subset(self, keep: np.ndarray) -> Manifest:
        """The manifest without the rows where ``keep`` [N] (bool) is False."""
        rows = np.flatnonzero(keep)
        parts: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows]
            for name in ("ids", "split", "label", "landmarks", "landmarks_ok", "distribution", "votes", "human")
        }
        return replace(self, source=_Rows(self.source, rows), **parts)

    def fingerprint(self) -> str:
        """sha256 over classes, ids, splits, labels, annotations and image contents; the same in any file order."""
        total = hashlib.sha256("\x1f".join((self.name, *self.classes)).encode())
        order = np.argsort(self.ids, kind="stable")
        for row, content in zip(order, self.source.digest(list(order)), strict=True):
            total.update(f"{self.ids[row]}\x1f{self.split[row]}\x1f{self.label[row]}".encode() + content)
        located = (None, None) if self.landmarks_file else (self.landmarks, self.landmarks_ok)
        for extra in (*located, self.distribution, self.votes, self.human):
            total.update(b"-" if extra is None else np.ascontiguousarray(extra[order]).tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class _Rows:
    """A source that shows only some rows of another one."""

    source: Source
    kept: np.ndarray

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        return self.source.pixels(self.kept[np.asarray(rows, dtype=np.int64)].tolist(), size)

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        return self.source.digest(self.kept[np.asarray(rows, dtype=np.int64)].tolist())
