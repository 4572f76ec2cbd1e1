"""What the readers share: errors that say what is missing, and the final checks."""

from __future__ import annotations

import difflib
import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.names import IMAGE_SUFFIXES
from fer_bench.data.walk import files_under

SHOWN = 3
"""Entries of a long list that a message names."""


def missing(path: Path, layout: str) -> DataError:
    """The error for something that should be on disk and is not; it names what is there with a similar name."""
    return DataError(f"{path} does not exist{_near(path)}. Expected layout:{layout.rstrip()}")


def _near(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        return ""
    plain = {"".join(filter(str.isalnum, name.casefold())): name for name in names}
    same = plain.get("".join(filter(str.isalnum, path.name.casefold())))
    near = [same] if same else difflib.get_close_matches(path.name, names, n=2, cutoff=0.6)
    near = near or [name for name in names if path.suffix and name.lower().endswith(path.suffix.lower())][:SHOWN]
    unpack = ": unpack it" if any(name.endswith((".zip", ".gz", ".tar", ".rar", ".7z")) for name in near) else ""
    return f" ({', '.join(near)} {'are' if len(near) > 1 else 'is'} there{unpack})" if near else ""


def first_existing(candidates: Sequence[Path], layout: str) -> Path:
    """The first of several accepted paths; the error names the first, which is the official one."""
    for path in candidates:
        if path.exists():
            return path
    raise missing(candidates[0], layout)


def require_files(paths: Sequence[Path], layout: str) -> None:
    """Raises DataError naming the first absent image and how many are absent."""
    absent = [path for path in paths if not is_file(path)]
    if absent:
        raise DataError(
            f"{absent[0]} does not exist ({len(absent)} of {len(paths)} listed images are missing). "
            f"Expected layout:{layout.rstrip()}"
        )


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that is too long for the file system is none."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def inside(folder: Path, name: str, where: str, roots: Sequence[Path] = ()) -> Path:
    """The path of an image that a list names: under ``folder`` or, if it is not there, under one of ``roots``.

    Links are followed.

    Args:
        folder: Where relative names start from.
        name: What the list says: a relative or absolute path.
        where: The place in the list, for messages.
        roots: Other folders that may hold the images.

    Raises:
        DataError: The name is empty or leads out of all folders, by an absolute path or by "..": a list from elsewhere
            must not have any file of this machine read.
    """
    if not name or "\0" in name:
        raise DataError(f"{where}: the path is {'empty' if not name else f'no path: {name!r}'}")
    homes = [os.path.abspath(home) for home in (folder, *roots)]  # noqa: PTH100  # links are not resolved
    starts = (folder,) if ".." in Path(name).parts else (folder, *roots)  # a way out is meant from one folder only
    inner = [path for start in starts if _is_within(path := start / name, homes)]
    if not inner:
        hint = "; if that is meant, name the folder that holds it with --data-root" if roots else ""
        raise DataError(f"{where}: {name} leads out of {homes[0]}{hint}")
    return next((path for path in inner if len(inner) > 1 and is_file(path)), inner[0])


def _is_within(path: Path, homes: Sequence[str]) -> bool:
    plain = os.path.abspath(path)  # noqa: PTH100  # links are not resolved
    return any(plain == home or plain.startswith(home.rstrip(os.sep) + os.sep) for home in homes)


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
    """Ids as an array [N] of str. DataError where two rows share one, because noise draws hang on them.

    DataError as well for a name that is no Unicode, as archives from other systems leave them.
    """
    listed_ids = list(ids)
    for name in listed_ids:
        if printable(name) != name:
            raise DataError(f"{where}: the name {printable(name)} is not in UTF-8; rename the file")
    names = np.array(listed_ids, dtype=str)
    seen, counts = np.unique(names, return_counts=True)
    if len(seen) < len(names):
        again = seen[counts > 1]
        raise DataError(f"{where}: {len(again)} ids appear more than once, first {str(again[0])!r}")
    return names


def printable(name: str) -> str:
    """A file's name as valid Unicode; bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode(errors="backslashreplace")


def listed(names: Sequence[str]) -> list[str]:
    """The first names of a list, and how many more there are."""
    more = len(names) - SHOWN
    return [*names[:SHOWN], *([f"{more:,} more"] if more > 0 else [])]


def other_files(paths: Iterable[Path]) -> list[str]:
    """A sentence that counts the files that are no images by suffix; none if there are no such files."""
    others = [path.suffix.lower() or "no suffix" for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES]
    kinds = ", ".join(f"{suffix} {count}" for suffix, count in sorted(Counter(others).items()))
    return [f"{counted(len(others), 'file')} with other suffixes left out: {kinds}"] if others else []


def require_fractions(points: np.ndarray, where: str) -> None:
    """Raises DataError unless landmarks are finite and near the image, in fractions of its width and height."""
    if not np.isfinite(points).all():
        raise DataError(f"{where}: landmarks must be finite [x, y] pairs")
    if points.min() < -1 or points.max() > 2:  # a detector may place a point a little outside the image
        raise DataError(
            f"{where}: landmarks must be fractions of width and height, not pixels (found {points.min():g} to "
            f"{points.max():g})"
        )
