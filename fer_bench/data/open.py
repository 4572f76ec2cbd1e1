"""Opens a data set by name or path, from the cache where its files are unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data import landmarks
from fer_bench.data.cache import Progress, build_pixels, open_cached
from fer_bench.data.catalog import data_files, open_manifest
from fer_bench.data.dataset import Dataset, Manifest
from fer_bench.data.duplicates import dedup as without_duplicates
from fer_bench.data.readers._common import images_under
from fer_bench.data.sources import SUFFIXES, FileSource


def open_dataset(dataset: str, root: Path | None, dedup: bool = False) -> tuple[Dataset, Manifest | None]:
    """A data set by name or path, from the cache where its files are unchanged (then the manifest is None).

    "Unchanged" is judged by names, sizes and times of the files; the fingerprint itself depends on contents only.
    """
    faces, manifest = open_cached(
        f"{dataset}\x1f{dedup}", data_files(dataset, root), lambda: read_manifest(dataset, root, dedup)
    )
    return landmarks.added(faces, dataset, root), manifest


def read_manifest(dataset: str, root: Path | None, dedup: bool) -> Manifest:
    """The undecoded data set; with ``dedup``, without training images that are copies of held-out ones."""
    manifest = open_manifest(dataset, root)
    return without_duplicates(manifest).manifest if dedup else manifest


def open_unlabelled(folder: Path, size: int, say: Progress) -> Dataset:
    """All images under ``folder``, decoded at ``size`` into the cache; the names of sub-folders mean nothing.

    Each counts as a training image of one class, "face". DataError where there is no folder or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"--unlabelled {folder}: no such folder")
    paths = images_under(folder, SUFFIXES)
    if not paths:
        raise DataError(f"--unlabelled {folder}: no image in it ({', '.join(SUFFIXES)})")

    def read() -> Manifest:
        return Manifest(
            name=folder.resolve().name,
            classes=("face",),
            ids=np.array([path.relative_to(folder).as_posix() for path in paths]),
            split=np.full(len(paths), "train"),
            label=np.zeros(len(paths), dtype=np.int64),
            source=FileSource(paths),
        )

    faces, manifest = open_cached("unlabelled", paths, read)
    build_pixels(faces, manifest, read, size, say)
    return faces
