"""Landmarks that a detector found, in one file beside the images of a data set.

They are not in the fingerprint of the data set. The specification of a run names them only if its method learns from
them, so that adding the file changes no other run.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.files import write_atomically
from fer_bench.data import catalog
from fer_bench.data.dataset import Labels
from fer_bench.data.files import read_npz
from fer_bench.data.points import POINTS, from_68
from fer_bench.data.readers.common import require_fractions, unique_ids

FILE = "landmarks.npz"

LAYOUT = f"""
  {FILE} with the arrays (numpy.savez)
    ids      str [N], as `fer-bench data check` shows them; images that it leaves out have no landmarks
    points   float [N, {len(POINTS)}, 2], (x, y) as fractions of width and height, in the order of AFLW
    found    (optional) bool [N]; without it, a face with NaN among its points was not found
  `fer-bench data landmarks` makes it from the pixels of a detector, of {len(POINTS)} or 68 points
"""


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of some images.

    Attributes:
        points: [N, 19, 2] float32, as fractions of width and height; 0 for images without landmarks.
        found: [N] bool, whether an image has landmarks.
    """

    points: np.ndarray
    found: np.ndarray

    @property
    def digest(self) -> str:
        """sha256 of the values; it does not depend on the order or on other content of the file."""
        return hashlib.sha256(self.points.tobytes() + self.found.tobytes()).hexdigest()


def find(name_or_path: str, root: Path | None, ids: np.ndarray) -> Landmarks | None:
    """Finds the landmarks of images in the file of their data set.

    Args:
        name_or_path: The data set.
        root: Where known data sets are looked for.
        ids: [N] str, the images.

    Returns:
        Landmarks in the order of ``ids``; None if there is no file.

    Raises:
        DataError: The file is damaged or not as expected, or has none of the images.
    """
    path = landmarks_path(name_or_path, root)
    return _match(path, ids) if path is not None and path.is_file() else None


D = TypeVar("D", bound=Labels)


def added(data: D, name_or_path: str, root: Path | None) -> D:
    """Adds the landmarks of its file to a data set, if there is one.

    Raises:
        DataError: As for :func:`find`, or the data set has landmarks of its own as well.
    """
    given = find(name_or_path, root, data.ids)
    if given is None:
        return data
    if data.landmarks is not None:
        raise DataError(
            f"{landmarks_path(name_or_path, root)}: {data.name} has landmarks of its own; remove one of the two"
        )
    return replace(data, landmarks=given.points, landmarks_ok=given.found, landmarks_file=given.digest)


def landmarks_path(name_or_path: str, root: Path | None) -> Path | None:
    """Path of the landmarks file of a data set, whether it exists or not; None for faces that are drawn."""
    folder = catalog.images_folder(name_or_path, root)
    return None if folder is None else folder / FILE


def write(source: Path, target: Path, ids: np.ndarray, frame: tuple[float, float]) -> Landmarks:
    """Writes the landmarks file of a data set.

    Args:
        source: What a detector gave: an .npz file as described in LAYOUT, but with 19 or 68 (iBUG) points in pixels.
            Without ``ids`` in it, its rows are those of the data set, sorted by id.
        target: The file to write.
        ids: [N] str, the images of the data set.
        frame: Width and height, in pixels, of the images that the points were found in.

    Returns:
        What was written, for the images ``ids``.

    Raises:
        DataError: The target exists, or the source is not as described.
    """
    if target.exists():
        raise DataError(f"{target} is there already; remove it to write it again")
    arrays = read_npz(source)
    if "ids" not in arrays:
        count = len(_array(arrays, "points", source))
        if count != len(ids):
            raise DataError(f"{source}: {count} rows and no array 'ids', but the data set has {len(ids)} images")
        arrays["ids"] = np.sort(ids)
    points = _points(arrays, source)
    if points.shape[1] == 68:
        points = from_68(points)
    _require_19(points, source)
    kept = {"ids": arrays["ids"], "points": points / np.array(frame, dtype=np.float32)}
    kept |= {"found": arrays["found"]} if "found" in arrays else {}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
    result = _matched(*_checked(kept, source), ids, source)
    write_atomically(target, buffer.getvalue())
    return result


def _match(path: Path, ids: np.ndarray) -> Landmarks:
    return _matched(*_checked(read_npz(path), path), ids, path)


def _matched(names: np.ndarray, points: np.ndarray, found: np.ndarray, ids: np.ndarray, path: Path) -> Landmarks:
    order = np.argsort(names)
    at = order[np.searchsorted(names, ids, sorter=order).clip(max=len(names) - 1)]
    there = names[at] == ids
    if not there.any():
        raise DataError(
            f"{path}: none of its {len(names)} ids is an image of the data set; "
            f"its first is {str(names[0])!r}, that of the data set {str(ids[0])!r}"
        )
    ok = there & found[at]
    return Landmarks(np.where(ok[:, None, None], points[at], np.float32(0)), ok)


def _checked(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checks the arrays of a file: ids str [N], points float32 [N, 19, 2], found bool [N]."""
    names = _array(arrays, "ids", path)
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
        raise DataError(f"{path}: 'ids' must be strings [N], found {names.dtype} {list(names.shape)}")
    points = _points(arrays, path)
    _require_19(points, path)
    found = arrays.get("found", np.isfinite(points).all(axis=(1, 2)))
    if found.dtype != np.bool_ or found.shape != names.shape or len(points) != len(names):
        raise DataError(
            f"{path}: 'ids' {list(names.shape)}, 'points' {list(points.shape)} and 'found' {found.dtype} "
            f"{list(found.shape)} must be of one length, and 'found' of type bool"
        )
    names = unique_ids(names, path)
    for row in np.flatnonzero(found):
        require_fractions(points[row], f"{path}, {str(names[row])!r}")
    return names, points, found


def _points(arrays: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    points = _array(arrays, "points", path)
    if points.ndim != 3 or points.shape[2] != 2 or points.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: 'points' must be numbers [N, {len(POINTS)}, 2], found {points.dtype} {list(points.shape)}"
        )
    return points.astype(np.float32)


def _require_19(points: np.ndarray, path: Path) -> None:
    if points.shape[1] != len(POINTS):
        raise DataError(
            f"{path}: {points.shape[1]} points a face, but {len(POINTS)} in the order of AFLW are needed; "
            "`fer-bench data landmarks` makes them from 68"
        )


def _array(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        raise DataError(f"{path}: no array {name!r}; found {', '.join(arrays) or 'none'}. Expected:{LAYOUT.rstrip()}")
    return arrays[name]
