"""The one walker over folders of images: it serves the readers and the identity of a data set alike.

Links are followed, each folder is visited once, and a link to a folder that holds it is passed over. Hidden files and
folders, the folders that systems and tools leave behind, and fer-bench's own results are no part of a data set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fer_bench.core.errors import DataError

SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders that archives, network drives and operating systems add beside the data."""

RESULTS_FOLDERS = ("reproduce", "runs", "sweeps")

_Visited = set[tuple[int, int]]


def files_under(folder: Path) -> list[Path]:
    """The files at any depth under ``folder``, sorted; a link that leads nowhere is among them.

    DataError where a folder cannot be read: images would be missing without a word.
    """
    return sorted(_walk(folder, _parents(folder)))


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in ``folder``, sorted. DataError where it cannot be read."""
    visited = _parents(folder)
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir() and _identity(entry) not in visited]


def is_results_folder(folder: Path) -> bool:
    """Whether ``folder`` is one of the folders that fer-bench itself writes into its folder of results."""
    if folder.name not in RESULTS_FOLDERS:
        return False
    written = ("runs/*/*/*/spec.json", "sweeps/*/sweep.json")
    return any(True for pattern in written for _ in folder.parent.glob(pattern))


def _walk(folder: Path, visited: _Visited) -> Iterator[Path]:
    entries = _entries(folder)
    yield from (Path(entry.path) for entry in entries if entry.is_file() or _is_broken(entry))
    # a folder comes before the links to it, so that its images keep its name
    for entry in sorted((entry for entry in entries if entry.is_dir()), key=os.DirEntry.is_symlink):
        identity = _identity(entry)
        if identity not in visited:
            visited.add(identity)
            yield from _walk(Path(entry.path), visited)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and may belong to a data set, sorted by name."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS]
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return sorted((entry for entry in entries if not _is_ours(entry)), key=lambda entry: entry.name)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is a folder of results or holds nothing else."""
    if not entry.is_dir():
        return False
    folder = Path(entry.path)
    if folder.name in RESULTS_FOLDERS:
        return is_results_folder(folder)
    inner = [folder / name for name in RESULTS_FOLDERS if (folder / name).is_dir()]
    return bool(inner) and is_results_folder(inner[0]) and {each.name for each in inner} >= set(_visible_names(folder))


def _visible_names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if not each.name.startswith(".")]


def _is_broken(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    stat = Path(entry.path).stat()
    return stat.st_dev, stat.st_ino


def _parents(folder: Path) -> _Visited:
    """The folder and all that hold it."""
    real = folder.resolve()
    stats = (each.stat() for each in (real, *real.parents))
    return {(stat.st_dev, stat.st_ino) for stat in stats}
