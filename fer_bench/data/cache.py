"""Decode once: a memory-mapped uint8 array per data set and image size, keyed by the fingerprint of the data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from fer_bench.data import landmarks
from fer_bench.data.catalog import data_files, open_manifest
from fer_bench.data.check import dedup as without_duplicates
from fer_bench.data.manifest import DataError, Manifest
from fer_bench.files import write_atomically

ANNOTATIONS = ("landmarks", "landmarks_ok", "distribution", "votes", "human")
CHUNK = 256
Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) while a cache is built."""


def cache_folder() -> Path:
    """``FER_BENCH_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("FER_BENCH_CACHE") or platformdirs.user_cache_dir("fer-bench"))


@dataclass(frozen=True)
class Faces:
    """A data set as the harness uses it: rows are sorted by id, so that no number depends on the order of files.

    Fields as in ``fer_bench.data.manifest.Manifest``; ``pixels`` opens the decoded images.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    ids: np.ndarray
    split: np.ndarray
    label: np.ndarray
    folder: Path
    landmarks: np.ndarray | None = None
    landmarks_ok: np.ndarray | None = None
    distribution: np.ndarray | None = None
    votes: np.ndarray | None = None
    human: np.ndarray | None = None
    landmarks_file: str = ""
    """Digest of the landmarks where they come from a file beside the images: they are not in ``fingerprint``."""

    def pixels(self, size: int) -> np.ndarray:
        """Decoded images, uint8 [N, 3, size, size], memory-mapped. DataError if :func:`build_pixels` has not run."""
        path = self.folder / f"pixels-{size}.npy"
        if not path.exists():
            raise DataError(f"the decoded images of {self.name} at {size} px are not in the cache ({path})")
        return np.load(path, mmap_mode="c")  # copy-on-write: torch takes no read-only arrays


def open_faces(dataset: str, root: Path | None, dedup: bool = False) -> tuple[Faces, Manifest | None]:
    """A data set by name or path, from the cache where its files are unchanged (then the manifest is None).

    "Unchanged" is judged by names, sizes and times of the files; the fingerprint itself depends on contents only.
    """
    faces, manifest = open_cached(
        f"{dataset}\x1f{dedup}", data_files(dataset, root), lambda: read_manifest(dataset, root, dedup)
    )
    return landmarks.added(faces, dataset, root), manifest


def open_cached(what: str, files: Sequence[Path], read: Callable[[], Manifest]) -> tuple[Faces, Manifest | None]:
    """What ``read`` gives, from the cache where ``files`` are unchanged (then the manifest is None)."""
    signature = _signature(what, files)
    pointer = cache_folder() / "index" / f"{signature}.json"
    if pointer.exists():
        folder = cache_folder() / json.loads(pointer.read_text())["fingerprint"][:16]
        if (folder / "faces.npz").exists():
            return _load(folder), None
    manifest = read()
    faces = _save(manifest)
    write_atomically(pointer, json.dumps({"fingerprint": faces.fingerprint, "dataset": manifest.name}).encode())
    return faces, manifest


def read_manifest(dataset: str, root: Path | None, dedup: bool) -> Manifest:
    """The undecoded data set; with ``dedup``, without training images that are copies of held-out ones."""
    manifest = open_manifest(dataset, root)
    return without_duplicates(manifest).manifest if dedup else manifest


def build_pixels(
    faces: Faces, manifest: Manifest | None, reopen: Callable[[], Manifest], size: int, say: Progress
) -> None:
    """Decodes every image at ``size`` into the cache, unless that is done. Written beside and renamed when whole."""
    path = faces.folder / f"pixels-{size}.npy"
    if path.exists():
        return
    manifest = manifest or reopen()
    rows = np.argsort(manifest.ids, kind="stable")
    need = len(rows) * 3 * size * size
    if shutil.disk_usage(faces.folder).free < need + (64 << 20):
        raise DataError(
            f"no space for the decoded images of {faces.name}: {need >> 20} MiB are needed in {faces.folder}"
        )
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(rows), 3, size, size))
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            array[start : start + len(chunk)] = manifest.source.pixels(chunk.tolist(), size)
            say(f"decoding {faces.name} at {size} px", min(start + CHUNK, len(rows)), len(rows))
        array.flush()
        del array
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _signature(what: str, files: Sequence[Path]) -> str:
    """A hash of what the stored files look like from outside, and of the code that reads or draws them."""
    total = hashlib.sha256(what.encode())
    for file in files:
        stat = file.stat()
        total.update(f"{file.resolve()}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(source.read_bytes())
    return total.hexdigest()[:32]


def _save(manifest: Manifest) -> Faces:
    order = np.argsort(manifest.ids, kind="stable")
    fingerprint = manifest.fingerprint()
    folder = cache_folder() / fingerprint[:16]
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(manifest, name) for name in ("ids", "split", "label", *ANNOTATIONS)}
    part = folder / f"faces.{os.getpid()}.npz"
    np.savez(part, **{name: value[order] for name, value in arrays.items() if value is not None})
    meta = {"name": manifest.name, "classes": manifest.classes, "fingerprint": fingerprint}
    write_atomically(folder / "faces.json", json.dumps(meta).encode())
    part.replace(folder / "faces.npz")
    return _load(folder)


def _load(folder: Path) -> Faces:
    meta = json.loads((folder / "faces.json").read_text())
    with np.load(folder / "faces.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Faces(meta["name"], tuple(meta["classes"]), meta["fingerprint"], folder=folder, **arrays)
