"""The one walker over folders of images: the readers and the identity of a data set use it.

Links are followed, each folder is visited once, and a link to a folder that holds it is passed over. Hidden files and
folders, the folders that systems and tools leave behind, and fer-bench's own results are no part of a data set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fer_bench.core.errors import DataError

SYSTEM_FOLDERS = {
    "__macosx", "__pycache__", "@eadir", "@__thumb", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
    "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "network trash folder",
    "temporary items",
}  # fmt: skip
"""Folders that archives, network drives and operating systems add beside the data, in small letters."""

SYSTEM_FILES = {"thumbs.db", "desktop.ini", "icon\r", "ehthumbs.db"}
"""Files that operating systems add beside the images, in small letters."""

RESULTS_FOLDERS = ("reproduce", "runs", "sweeps")
"""Folders that fer-bench writes into its folder of results."""

_Visited = set[tuple[int, int]]


def files_under(folder: Path) -> list[Path]:
    """The files at any depth under ``folder``, sorted; a link that leads nowhere is among them.

    DataError where a folder cannot be read: images would be missing without a word.
    """
    return sorted(_walk(folder, _parents(folder)))


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in ``folder``, sorted. DataError where it cannot be read."""
    visited = _parents(folder)
    return sorted(inner for inner in _split(folder)[1] if _identity(inner) not in visited)


def is_results_folder(folder: Path) -> bool:
    """Whether ``folder`` is one of the folders that fer-bench itself writes into its folder of results."""
    if folder.name not in RESULTS_FOLDERS:
        return False
    written = ("runs/*/*/*/spec.json", "sweeps/*/sweep.json")
    return any(True for pattern in written for _ in folder.parent.glob(pattern))


def _walk(folder: Path, visited: _Visited) -> Iterator[Path]:
    files, folders = _split(folder)
    yield from files
    for inner in folders:
        identity = _identity(inner)
        if identity not in visited:
            visited.add(identity)
            yield from _walk(inner, visited)


def _split(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders that may belong to a data set; a folder comes before the links, so that its name is used."""
    files: list[Path] = []
    folders: list[Path] = []
    links: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FOLDERS | SYSTEM_FILES:
                    continue
                if entry.is_symlink():
                    (links if path.is_dir() else files).append(path)
                elif entry.is_dir():
                    folders.append(path)
                elif entry.is_file():
                    files.append(path)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return files, [inner for inner in (*folders, *links) if not _is_ours(inner)]


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a folder of results or holds nothing else."""
    if folder.name in RESULTS_FOLDERS:
        return is_results_folder(folder)
    inner = [folder / name for name in RESULTS_FOLDERS if (folder / name).is_dir()]
    if not inner or not is_results_folder(inner[0]):
        return False
    return {each.name for each in folder.iterdir() if not each.name.startswith(".")} <= {each.name for each in inner}


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _parents(folder: Path) -> _Visited:
    """The folder and all that hold it; nothing where there is no such folder."""
    real = folder.resolve()
    return {_identity(each) for each in (real, *real.parents)} if real.exists() else set()
