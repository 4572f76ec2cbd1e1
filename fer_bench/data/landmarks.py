"""Landmarks that a detector found, in one file beside the images of a data set.

They are no part of the data set's fingerprint: a run's spec names them only where its method learns from them, so that
adding the file leaves every other run as it is.
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
from fer_bench.data.arrays import read_npz
from fer_bench.data.dataset import Labels
from fer_bench.data.readers.common import require_fractions, unique_ids

FILE = "landmarks.npz"

POINTS = (
    "left brow, outer end", "left brow, middle", "left brow, inner end",
    "right brow, inner end", "right brow, middle", "right brow, outer end",
    "left eye, outer corner", "left eye, centre", "left eye, inner corner",
    "right eye, inner corner", "right eye, centre", "right eye, outer corner",
    "nose, left wing", "nose, tip", "nose, right wing",
    "mouth, left corner", "mouth, centre", "mouth, right corner", "chin",
)  # fmt: skip
"""The 19 points of AFLW, in order; left and right are those of the image."""

LAYOUT = f"""
  {FILE} with the arrays (numpy.savez)
    ids      str [N], as `fer-bench data check` shows them; images that it leaves out have no landmarks
    points   float [N, {len(POINTS)}, 2], (x, y) as fractions of width and height, in the order of AFLW
    found    (optional) bool [N]; without it, a face with NaN among its points was not found
  `fer-bench data landmarks` makes it from the pixels of a detector, of {len(POINTS)} or 68 points
"""

_AFLW_FROM_68: tuple[tuple[int, ...], ...] = (
    (17,), (19,), (21,), (22,), (24,), (26,),
    (36,), (36, 37, 38, 39, 40, 41), (39,), (42,), (42, 43, 44, 45, 46, 47), (45,),
    (31,), (30,), (35,),
    (48,), (62, 66), (54,), (8,),
)  # fmt: skip


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of some images: ``points`` float32 [N, 19, 2] as fractions, 0 where not ``found`` (bool [N])."""

    points: np.ndarray
    found: np.ndarray

    @property
    def digest(self) -> str:
        """sha256 of the values, whatever else the file holds and in whatever order."""
        return hashlib.sha256(self.points.tobytes() + self.found.tobytes()).hexdigest()


def find(dataset: str, root: Path | None, ids: np.ndarray) -> Landmarks | None:
    """The landmarks of the images ``ids`` (str [N]) from the data set's file; None where there is no file.

    DataError names the file and what is wrong with it, also where none of its ids is among ``ids``.
    """
    path = landmarks_path(dataset, root)
    return _match(path, ids) if path is not None and path.is_file() else None


D = TypeVar("D", bound=Labels)


def added(data: D, name_or_path: str, root: Path | None) -> D:
    """The data set with the landmarks of its file, or as it is where there is none.

    DataError as for :func:`find`, and where the data set has landmarks of its own as well.
    """
    given = find(name_or_path, root, data.ids)
    if given is None:
        return data
    if data.landmarks is not None:
        raise DataError(
            f"{landmarks_path(name_or_path, root)}: {data.name} has landmarks of its own; remove one of the two"
        )
    return replace(data, landmarks=given.points, landmarks_ok=given.found, landmarks_file=given.digest)


def landmarks_path(dataset: str, root: Path | None) -> Path | None:
    """Where the file of a data set belongs, whether it is there or not; None for faces that are drawn."""
    folder = catalog.images_folder(dataset, root)
    return None if folder is None else folder / FILE


def write(source: Path, target: Path, ids: np.ndarray, frame: tuple[float, float]) -> Landmarks:
    """Writes ``target`` from what a detector gave for a data set with these ``ids``, and returns what was written.

    ``source`` is as described in LAYOUT, but with 19 or 68 points (iBUG) in pixels of a ``frame`` (width, height);
    without ids in it, its rows are those of the data set, sorted by id. DataError where something does not fit.
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


def from_68(points: np.ndarray) -> np.ndarray:
    """The 19 points of AFLW from the 68 of iBUG 300-W (0-based), [N, 68, 2] -> [N, 19, 2].

    Eye centres are the means of the six points of the eye, the centre of the mouth is that of the inner lips.
    """
    return np.stack([points[:, list(places)].mean(axis=1) for places in _AFLW_FROM_68], axis=1)


def problems(points: np.ndarray, found: np.ndarray) -> list[str]:
    """What looks wrong with landmarks [N, L, 2] as faces, one sentence each: their number, their order, their sides."""
    if points.shape[1] != len(POINTS):
        return [f"landmarks: {points.shape[1]} points a face; methods take {len(POINTS)} in the order of AFLW"]
    if not found.any():
        return ["landmarks: not found in any face"]
    x, y = np.median(points[found], axis=0).T
    sides = [(a, b) for a, b in enumerate(MIRRORED_LANDMARKS) if POINTS[a].find("left") >= 0]
    said = [
        f"landmarks: in the typical face, point {a} ({POINTS[a]}) is not left of point {b} ({POINTS[b]})"
        for a, b in sides
        if x[a] >= x[b]
    ]
    down = ((1, 7), (4, 10), (7, 13), (10, 13), (13, 16), (16, 18))
    said += [
        f"landmarks: in the typical face, point {a} ({POINTS[a]}) is not above point {b} ({POINTS[b]})"
        for a, b in down
        if y[a] >= y[b]
    ]
    if turned := int((points[found, 7, 0] >= points[found, 10, 0]).sum()):
        said.append(f"landmarks: faces whose left eye is not left of the right one: {turned:,}")
    return said


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
    """ids str [N], points float32 [N, 19, 2] and found bool [N] of a file's arrays."""
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


MIRRORED_LANDMARKS = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18)
"""Which of the 19 points (AFLW order: brows, eyes, nose, mouth, chin) a mirrored face has in each place: left and right
change places."""
