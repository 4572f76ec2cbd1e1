"""What a data set is: ids, labels, splits, annotations, and a source of pixels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.cache import Decode, OnProgress, PixelFile, silent

SPLITS = ("train", "val", "test")

LabelSource = Literal["reference", "given"]

SplitSource = Literal["official", "derived", "derived by group"]
"""The data set's own split, or a test split that was derived from it, without or with regard to groups."""


class Source(Protocol):
    """Where pixels come from: image files, the rows of a csv file, or a renderer."""

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        """Decodes images of some rows: uint8 [n, 3, size, size], RGB. DataError names a file that is damaged."""
        ...

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        """Hashes the stored content of some rows (before any resizing), for fingerprints and duplicates."""
        ...


@dataclass(frozen=True, eq=False)
class Labels:
    """Everything that is known of the images of a data set, apart from their pixels. Arrays have one entry per image.

    Attributes:
        name: Name of the data set.
        classes: Names of its C classes.
        ids: [N] str, unique. They do not depend on where the data are stored: noise and sub-sampling are drawn by them.
        split: [N] str, "train", "val" or "test". Without "val" a part of train is held out.
        label: [N] int64 in [0, C).
        landmarks: [N, L, 2] float32, (x, y) as a fraction of width and height; None if there are none. Methods take 19
            points in the order of AFLW.
        landmarks_ok: [N] bool, whether landmarks were found; None if there are none at all.
        distribution: [N, C] float32, the shares of the classes in the votes of annotators or in a drawn mixture; rows
            sum to 1. None if that is not known.
        votes: [N, C] int64, votes of annotators; None if there are none.
        human: [N] int64 in [-1, C), a second, noisier human label of the same image, -1 for none of the classes; None
            if there is none.
        group: [N] str, who or what an image shows (a person, a video): images of one group resemble each other. None if
            that is not known.
        landmarks_file: sha256 of landmarks from a file of their own, which are not in the fingerprint; else "".
        label_source: "reference" if ``label`` is known to be right (drawn faces, a majority of annotators), "given" if
            it may have errors that nobody knows.
        split_source: Where ``split`` comes from.
    """

    name: str
    classes: tuple[str, ...]
    ids: np.ndarray
    split: np.ndarray
    label: np.ndarray
    landmarks: np.ndarray | None = None
    landmarks_ok: np.ndarray | None = None
    distribution: np.ndarray | None = None
    votes: np.ndarray | None = None
    human: np.ndarray | None = None
    group: np.ndarray | None = None
    landmarks_file: str = ""
    label_source: LabelSource = "given"
    split_source: SplitSource = "official"

    def __len__(self) -> int:
        return len(self.ids)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are not None, by the names of their fields."""
        found = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split, int64, sorted by id, so that file order changes nothing downstream."""
        rows = np.flatnonzero(self.split == split)
        return rows[np.argsort(self.ids[rows], kind="stable")]

    def take(self, rows: np.ndarray) -> Self:
        """The same data set with some rows (int64 [n]) only, in their order."""
        return replace(self, **{name: value[rows] for name, value in self.arrays().items()})


ANNOTATIONS = ("landmarks", "landmarks_ok", "distribution", "votes", "human")
"""The optional arrays of :class:`Labels` that describe single images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifest(Labels):
    """A data set as its reader found it, undecoded. Rows come in any order, and nothing depends on it.

    Attributes:
        source: Pixels by row.
        expected: Images per split of the official release, where that is known.
        files: Every file that was read or looked for, images included. They decide whether the data set has changed.
        folders: Every folder whose content decides which files are read.
        assumed: How the reader understood what the files leave open, one sentence each.
        notes: What the reader left out, one sentence each.
    """

    source: Source
    expected: Mapping[str, int] = field(default_factory=dict)
    files: Sequence[Path] = ()
    folders: Sequence[Path] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def subset(self, keep: np.ndarray) -> Manifest:
        """Keeps the rows where ``keep`` [N] (bool) is True."""
        rows = np.flatnonzero(keep)
        return replace(self.take(rows), source=_Rows(self.source, rows))

    @property
    def image_files(self) -> list[Path] | None:
        """The file of each row's image; None where the images are no files of their own."""
        source: Any = self.source
        rows = np.arange(len(self))
        while isinstance(source, _Rows):
            source, rows = source.source, source.kept[rows]
        paths: Sequence[Path] | None = getattr(source, "paths", None)
        return None if paths is None else [paths[int(row)] for row in rows]

    def fingerprint(self) -> str:
        """sha256 of classes, ids, splits, labels, annotations and image contents; the same in any file order."""
        total = hashlib.sha256("\x1f".join((self.name, *self.classes)).encode())
        order = np.argsort(self.ids, kind="stable")
        for row, content in zip(order, self.source.digest(list(order)), strict=True):
            total.update(f"{self.ids[row]}\x1f{self.split[row]}\x1f{self.label[row]}".encode() + content)
        apart = ("landmarks", "landmarks_ok") if self.landmarks_file else ()
        for name in ANNOTATIONS:
            values = None if name in apart else getattr(self, name)
            total.update(b"-" if values is None else np.ascontiguousarray(values[order]).tobytes())
        if self.group is not None:
            total.update("\x1f".join(self.group[order]).encode())
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(Labels):
    """A data set as the harness uses it: its rows are sorted by id, and it decodes its images into the cache.

    Attributes:
        fingerprint: sha256 of the content: :meth:`Manifest.fingerprint`.
        folder: Where the decoded images are.
        read: Reads the files again where images must be decoded; None if all images are decoded already.
        assumed: How the reader understood what the files leave open, one sentence each.
        notes: What the reader left out, one sentence each.
    """

    fingerprint: str
    folder: Path
    read: Callable[[], Manifest] | None = field(default=None, repr=False)
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def pixels(self, size: int) -> np.ndarray:
        """Opens all images at one size; they are decoded first if they are not in the cache.

        Args:
            size: Side of the images in pixels.

        Returns:
            uint8 [N, 3, size, size], RGB, in channels-last memory, mapped from the disk.

        Raises:
            DataError: An image cannot be decoded; the message names it.
        """
        file = self.pixel_file(size)
        if not file.exists:
            self.decode(size)
        return file.open()

    def decode(self, size: int, on_progress: OnProgress = silent) -> None:
        """Makes sure that all images are in the cache at one size, and that their bytes are as they were written.

        Args:
            size: Side of the images in pixels.
            on_progress: Called with (what, done, total) while images are decoded.

        Raises:
            DataError: An image cannot be decoded, or there is no space for the images.
        """
        self.pixel_file(size).fill(partial(self._decoder, size), self.name, on_progress)

    def _decoder(self, size: int) -> Decode:
        if self.read is None:
            raise DataError(f"the decoded images of {self.name} at {size} px are not in the cache ({self.folder})")
        manifest = self.read()
        order = np.argsort(manifest.ids, kind="stable")
        if not np.array_equal(manifest.ids[order], self.ids):
            raise DataError(f"the files of {self.name} were changed after it was opened; open it again")
        return lambda rows: manifest.source.pixels(order[rows.start : rows.stop].tolist(), size)

    def pixel_file(self, size: int) -> PixelFile:
        """The file of the decoded images at ``size``."""
        return PixelFile(self.folder, len(self), size)
