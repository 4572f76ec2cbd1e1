"""What the readers share: names of splits, errors that say what is missing, and the final checks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.names import IMAGE_SUFFIXES
from fer_bench.data.walk import files_under

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def missing(path: Path, layout: str) -> DataError:
    """The error for something that should be on disk and is not."""
    return DataError(f"{path} does not exist. Expected layout:{layout.rstrip()}")


def first_existing(candidates: Sequence[Path], layout: str) -> Path:
    """The first of several accepted places; the error names the first, which is the official one."""
    for path in candidates:
        if path.exists():
            return path
    raise missing(candidates[0], layout)


def require_files(paths: Sequence[Path], layout: str) -> None:
    """Raises DataError naming the first absent image and how many are absent."""
    absent = [path for path in paths if not _is_file(path)]
    if absent:
        raise DataError(
            f"{absent[0]} does not exist ({len(absent)} of {len(paths)} listed images are missing). "
            f"Expected layout:{layout.rstrip()}"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def inside(folder: Path, name: str, where: str, roots: Sequence[Path] = ()) -> Path:
    """``folder / name``, the place of an image that a list names.

    DataError, beginning with ``where``, if the name is empty or leads out of ``folder`` and of all ``roots`` (by an
    absolute path or by ".."): a list from elsewhere must not have any file of this machine read. Links are followed;
    whoever put them there meant them.
    """
    if not name or "\0" in name:
        raise DataError(f"{where}: the path is {'empty' if not name else f'no path: {name!r}'}")
    path = folder / name
    plain = os.path.abspath(path)  # noqa: PTH100
    homes = [os.path.abspath(home) for home in (folder, *roots)]  # noqa: PTH100
    if not any(plain == home or plain.startswith(home.rstrip(os.sep) + os.sep) for home in homes):
        hint = "; if that is meant, name the folder that holds it with --data-root" if roots else ""
        raise DataError(f"{where}: {name} leads out of {homes[0]}{hint}")
    return path


def images_under(folder: Path) -> list[Path]:
    """Image files at any depth under ``folder``, sorted: :func:`fer_bench.data.walk.files_under`.

    DataError for a link that leads nowhere: the image is missing.
    """
    named = [path for path in files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    for path in named:
        if not path.exists():
            raise DataError(f"{path} is a link that leads nowhere ({path.readlink()})")
    return named


def unique_ids(ids: Iterable[str], where: Path) -> np.ndarray:
    """Ids as an array [N] of str; raises DataError when two rows share one, because noise draws hang on them."""
    names = np.array(list(ids), dtype=str)
    seen, counts = np.unique(names, return_counts=True)
    if len(seen) < len(names):
        again = seen[counts > 1]
        raise DataError(f"{where}: {len(again)} ids appear more than once, first {str(again[0])!r}")
    return names


def require_fractions(points: np.ndarray, where: str) -> None:
    """Raises DataError unless landmarks are finite and near the image, in fractions of its width and height."""
    if not np.isfinite(points).all():
        raise DataError(f"{where}: landmarks must be finite [x, y] pairs")
    if points.min() < -1 or points.max() > 2:  # a detector may place a point a little outside the image
        raise DataError(
            f"{where}: landmarks must be fractions of width and height, not pixels (found {points.min():g} to "
            f"{points.max():g})"
        )


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Non-empty lines of a list file with their line numbers, split at white space."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file ({error})") from error
    return [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
