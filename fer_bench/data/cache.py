"""Decode once: a memory-mapped uint8 array per data set and image size, keyed by the fingerprint of the data."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs

from fer_bench.core.errors import DataError
from fer_bench.core.files import checksum, write_atomically
from fer_bench.data.dataset import Dataset, Manifest, pixel_file

ANNOTATIONS = ("landmarks", "landmarks_ok", "distribution", "votes", "human")

CHUNK = 256

SETTLED = 2.0
"""Seconds since the last write to a file after which another one would change its time."""

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) while a cache is built."""


def cache_folder() -> Path:
    """``FER_BENCH_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("FER_BENCH_CACHE") or platformdirs.user_cache_dir("fer-bench"))


def open_cached(what: str, files: Sequence[Path], read: Callable[[], Manifest]) -> tuple[Dataset, Manifest | None]:
    """What ``read`` gives, from the cache where ``files`` are unchanged (then the manifest is None)."""
    signature = _signature(what, files)
    pointer = cache_folder() / "index" / f"{signature}.json"
    with suppress(OSError, ValueError, KeyError):  # absent or damaged: read again
        return _load(cache_folder() / json.loads(pointer.read_bytes())["fingerprint"][:16]), None
    manifest = read()
    faces = _save(manifest)
    write_atomically(pointer, json.dumps({"fingerprint": faces.fingerprint, "dataset": manifest.name}).encode())
    return faces, manifest


def build_pixels(
    faces: Dataset, manifest: Manifest | None, reopen: Callable[[], Manifest], size: int, say: Progress
) -> None:
    """Sees to it that every image at ``size`` is decoded in the cache, and that none of its bytes has changed.

    A file that was found right is not read again while its size, time and place on the disk stay as they were.
    Otherwise the sha256 of each chunk of CHUNK images is compared with that in ``images-<size>.sha256``, in a line that
    is written after the chunk: what a killed process left, or a disk garbled, is decoded again and nothing else. Until
    all are there the file is called ``.part``. Several processes may build at once: they write the same bytes to the
    same places.
    """
    path = pixel_file(faces.folder, size)
    sums, part = path.with_suffix(".sha256"), path if path.exists() else path.with_suffix(".part")
    verified, found = path.with_suffix(".verified"), _identity(part)
    if found and _read_text(verified) == found:
        return
    header, image = _npy_header((len(faces.ids), size, size, 3)), 3 * size * size
    starts = range(0, len(faces.ids), CHUNK)
    places = {start: len(header) + start * image for start in starts}
    lengths = {start: min(CHUNK, len(faces.ids) - start) * image for start in starts}
    known = _read_sums(sums)
    readable_only = path.exists() and not os.access(path, os.W_OK)  # a cache of somebody else
    file = os.open(part, os.O_RDONLY if readable_only else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with ThreadPoolExecutor(_cores()) as pool:

            def whole(start: int) -> bool:
                return start in known and checksum(os.pread(file, lengths[start], places[start])) == known[start]

            right = os.pread(file, len(header), 0) == header
            todo = [start for start, good in zip(starts, pool.map(whole, starts), strict=True) if not good]
            if not todo and right and part == path:
                if found and time.time() - path.stat().st_mtime > SETTLED:
                    with suppress(OSError):  # a cache of somebody else is read every time
                        write_atomically(verified, found.encode())
                return
            if readable_only:
                raise DataError(f"{path} is damaged and cannot be mended: there is no permission to write it")
            need = sum(lengths[start] for start in todo)
            if shutil.disk_usage(faces.folder).free < need + (64 << 20):
                raise DataError(
                    f"no space for the decoded images of {faces.name}: {need >> 20} MiB are needed in {faces.folder}"
                )
            manifest = manifest or reopen()
            rows, source = np.argsort(manifest.ids, kind="stable"), manifest.source
            _write_at(file, header, 0)

            def decode(start: int) -> None:
                images = source.pixels(rows[start : start + CHUNK].tolist(), size)
                content = images.transpose(0, 2, 3, 1).tobytes()
                _write_at(file, content, places[start])
                with sums.open("a") as lines:
                    lines.write(f"{start} {checksum(content)}\n")

            for count, _ in enumerate(pool.map(decode, todo), len(starts) - len(todo) + 1):
                say(f"decoding {faces.name} at {size} px", min(count * CHUNK, len(rows)), len(rows))
    finally:
        os.close(file)
    with suppress(FileNotFoundError):  # another process has finished it
        part.replace(path)


def _identity(path: Path) -> str:
    """Changes with every write to a file, and when another one takes its place; "" where there is none."""
    with suppress(FileNotFoundError):
        stat = path.stat()
        return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
    return ""


def _read_text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""


def _npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _read_sums(path: Path) -> dict[int, str]:
    """sha256 by first image of a chunk; the last line about a chunk counts, and a torn one says nothing."""
    known = {}
    for line in _read_text(path).splitlines():
        start, _, digest = line.partition(" ")
        if start.isdigit():
            known[int(start)] = digest
    return known


def _write_at(file: int, content: bytes, place: int) -> None:
    """Writes all of ``content``; a full disk is an OSError here, where a memory map would end the process."""
    view = memoryview(content)
    while view:
        count = os.pwrite(file, view, place)
        view, place = view[count:], place + count


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _signature(what: str, files: Sequence[Path]) -> str:
    """A hash of what the stored files look like from outside, and of the code that reads or draws them."""
    total = hashlib.sha256(what.encode())
    for file in files:
        stat = file.stat()
        total.update(f"{file.resolve()}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(source.read_bytes())
    return total.hexdigest()[:32]


def _save(manifest: Manifest) -> Dataset:
    order = np.argsort(manifest.ids, kind="stable")
    fingerprint = manifest.fingerprint()
    folder = cache_folder() / fingerprint[:16]
    arrays = {name: getattr(manifest, name) for name in ("ids", "split", "label", *ANNOTATIONS)}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value[order] for name, value in arrays.items() if value is not None})
    meta = {
        "name": manifest.name,
        "classes": manifest.classes,
        "fingerprint": fingerprint,
        "sha256": checksum(buffer.getvalue()),
    }
    write_atomically(folder / "faces.npz", buffer.getvalue())
    write_atomically(folder / "faces.json", json.dumps(meta).encode())
    return _load(folder)


def _load(folder: Path) -> Dataset:
    """What :func:`_save` wrote. OSError or ValueError where it is missing or not as it was written."""
    meta = json.loads((folder / "faces.json").read_bytes())
    content = (folder / "faces.npz").read_bytes()
    if meta.get("sha256") != checksum(content):
        raise ValueError(f"{folder / 'faces.npz'} was changed")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Dataset(meta["name"], tuple(meta["classes"]), meta["fingerprint"], folder=folder, **arrays)
