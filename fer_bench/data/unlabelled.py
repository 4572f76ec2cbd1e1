"""A folder of faces without labels, for methods that learn from such."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.data.cache import Faces, Progress, build_pixels, open_cached
from fer_bench.data.images import SUFFIXES, FileSource
from fer_bench.data.manifest import DataError, Manifest
from fer_bench.data.readers._common import images_under


def open_unlabelled(folder: Path, size: int, say: Progress) -> Faces:
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
