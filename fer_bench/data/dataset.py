"""What a data set is to the harness: ids, labels, splits and a source of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fer_bench.core.errors import DataError

SPLITS = ("train", "val", "test")


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


@dataclass(frozen=True)
class Dataset:
    """A data set as the harness uses it: rows are sorted by id, so that no number depends on the order of files.

    Fields as in ``fer_bench.data.dataset.Manifest``; ``pixels`` opens the decoded images.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    ids: np.ndarray
    split: np.ndarray
    label: np.ndarray
    folder: Path
    landmarks: np.ndarray | None = None
    landmarks_ok: np.ndarray | None = None
    distribution: np.ndarray | None = None
    votes: np.ndarray | None = None
    human: np.ndarray | None = None
    landmarks_file: str = ""
    """Digest of the landmarks where they come from a file beside the images: they are not in ``fingerprint``."""

    def pixels(self, size: int) -> np.ndarray:
        """Decoded images, uint8 [N, 3, size, size] in channels-last memory, mapped from the disk. DataError if
        :func:`build_pixels` has not run."""
        path = pixel_file(self.folder, size)
        if not path.exists():
            raise DataError(f"the decoded images of {self.name} at {size} px are not in the cache ({path})")
        images = np.load(path, mmap_mode="c")  # copy-on-write: torch takes no read-only arrays
        return images.transpose(0, 3, 1, 2)


def pixel_file(folder: Path, size: int) -> Path:
    """Where the decoded images of a data set are: uint8 [N, size, size, 3]."""
    return folder / f"images-{size}.npy"
