"""The data sets that were read before: labels and annotations by fingerprint, found by the state of the files.

Reading a data set means reading all its bytes, because its fingerprint is a hash of them. What was read is kept in
``<cache>/<fingerprint>/``, and ``<cache>/index/`` remembers from which files. These are known by what shows a change
without reading them: where they are once all links are followed, inode, size, and the times of modification and of
change of status. Labels found this way are those of the files that are there now, whoever filled the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.core.files import checksum, write_atomically
from fer_bench.data.cache import cache_folder
from fer_bench.data.dataset import Dataset, Manifest
from fer_bench.data.walk import files_under

TICK = 0.02
"""Seconds after which a file system gives a later time to a change."""


@dataclass(frozen=True)
class Watched:
    """The files and folders that a data set was read from.

    files    names by folder, sorted; a name of a file that was looked for and was not there may be among them
    folders  folders whose content decided which files were read
    """

    files: dict[str, list[str]]
    folders: list[str]

    @classmethod
    def of(cls, manifest: Manifest) -> Watched:
        """What a manifest names."""
        paths = sorted({os.path.split(path.absolute()) for path in manifest.files})
        files = {folder: [name for _, name in group] for folder, group in groupby(paths, lambda path: path[0])}
        return cls(files, sorted({str(folder.absolute()) for folder in manifest.folders}))

    def state(self) -> tuple[str, float]:
        """A hash of the state of all files, and the time of the latest change in seconds since 1970."""
        total, latest = hashlib.sha256(), 0.0
        for folder, names in self.files.items():
            total.update(os.fsencode(f"\x1d{os.path.realpath(folder)}"))
            for name in names:
                found = _stat(Path(folder, name))
                total.update(os.fsencode(f"\x1f{name}\x1e") + str(found).encode())
                latest = max(latest, *(each / 1e9 for each in found[2:]))
        for folder in self.folders:
            total.update(os.fsencode(f"\x1d{os.path.realpath(folder)}"))
            for path in _listing(Path(folder)):
                total.update(os.fsencode(f"\x1f{path}"))
        return total.hexdigest(), latest


def find(key: str) -> Dataset | None:
    """The data set that was read under ``key``; None where there is none, or its files are not what they were."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: it is read again
        entry = json.loads(_entry(key).read_bytes())
        watched = Watched(entry["files"], entry["folders"])
        if watched.files and watched.state()[0] == entry["state"]:
            assumed, notes = tuple(entry["assumed"]), tuple(entry["notes"])
            return replace(load(entry["fingerprint"]), assumed=assumed, notes=notes, **entry["sources"])
    return None


def settle() -> float:
    """Waits until what was written before now has a time of its own; the time from which on a change shows."""
    time.sleep(TICK)
    return time.time()


def store(key: str, manifest: Manifest, started: float) -> Dataset:
    """Keeps what was read under ``key``. ``started`` is the time of :func:`settle` before the reading began.

    Files that were changed since then are read again the next time: what was read may be the old content.
    """
    dataset = _save(manifest)
    sources: dict[str, Any] = {"label_source": manifest.label_source, "split_source": manifest.split_source}
    watched = Watched.of(manifest)
    state, latest = watched.state()
    if watched.files and latest < started - TICK / 2:
        told = {"assumed": manifest.assumed, "notes": manifest.notes, "sources": sources}
        entry = {"fingerprint": dataset.fingerprint, "state": state, **told, **asdict(watched)}
        with suppress(PermissionError):  # the cache of somebody else: it is read every time
            write_atomically(_entry(key), json.dumps(entry).encode())
    return replace(dataset, assumed=manifest.assumed, notes=manifest.notes, **sources)


def load(fingerprint: str) -> Dataset:
    """The labels and annotations with this fingerprint. OSError or ValueError where they are missing or damaged."""
    folder = _folder(fingerprint)
    meta = json.loads((folder / "dataset.json").read_bytes())
    content = (folder / "dataset.npz").read_bytes()
    if meta.get("fingerprint") != fingerprint or meta.get("sha256") != checksum(content):
        raise ValueError(f"{folder / 'dataset.npz'} was changed")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
    return Dataset(
        name=meta["name"],
        classes=tuple(meta["classes"]),
        fingerprint=fingerprint,
        folder=folder,
        **arrays,
    )


def _save(manifest: Manifest) -> Dataset:
    fingerprint = manifest.fingerprint()
    with suppress(OSError, ValueError, KeyError):  # absent or damaged
        return load(fingerprint)
    folder = _folder(fingerprint)
    buffer = io.BytesIO()
    np.savez(buffer, **manifest.take(np.argsort(manifest.ids, kind="stable")).arrays())  # type: ignore[arg-type]
    meta = {
        "name": manifest.name,
        "classes": manifest.classes,
        "fingerprint": fingerprint,
        "sha256": checksum(buffer.getvalue()),
    }
    write_atomically(folder / "dataset.npz", buffer.getvalue())
    write_atomically(folder / "dataset.json", json.dumps(meta).encode())
    return load(fingerprint)


def _folder(fingerprint: str) -> Path:
    return cache_folder() / fingerprint[:16]


def _entry(key: str) -> Path:
    return cache_folder() / "index" / f"{key}.json"


def _stat(path: Path) -> tuple[int, int, int, int]:
    """Inode, size, and the times of modification and of change of status in nanoseconds; zeros where nothing is."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _listing(folder: Path) -> Iterable[str]:
    try:
        return [os.path.relpath(path, folder) for path in files_under(folder)] if folder.is_dir() else ["?"]
    except DataError:
        return ["?"]
