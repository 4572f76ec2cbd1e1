"""Decode once: the images of a data set at one size in a memory-mapped uint8 file."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs

from fer_bench.core.errors import DataError
from fer_bench.core.files import checksum, open_log, open_regular, write_atomically

CHUNK = 256
"""Images that are decoded, summed and written together."""

SETTLED = 2.0
"""Seconds since the last write to a file after which another write changes its time of modification."""

SPARE = 64 << 20
"""Bytes that stay free on the disk."""

Decode = Callable[[range], np.ndarray]
"""The images of some rows: uint8 [n, 3, size, size]."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what, done, total) while images are decoded."""


def silent(what: str, done: int, total: int) -> None:
    """Shows no progress."""


def cache_folder() -> Path:
    """``FER_BENCH_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("FER_BENCH_CACHE") or platformdirs.user_cache_dir("fer-bench"))


@dataclass(frozen=True)
class PixelFile:
    """The decoded images of one data set at one size: ``<folder>/images-<size>.npy``, uint8 [count, size, size, 3].

    The sha256 of each chunk of CHUNK images is a line of ``images-<size>.sha256``, written after the chunk. While
    chunks are missing the images are in ``images-<size>.part``. Several processes may fill one file at once: they write
    the same bytes to the same positions.

    Attributes:
        folder: Folder of the data set in the cache.
        count: Number of images.
        size: Side of the images in pixels.
    """

    folder: Path
    count: int
    size: int

    @property
    def path(self) -> Path:
        """The file, which may not exist yet."""
        return self.folder / f"images-{self.size}.npy"

    @property
    def exists(self) -> bool:
        """Whether all images were decoded once."""
        return self.path.exists()

    def open(self) -> np.ndarray:
        """Maps the images from the disk, copy-on-write: uint8 [count, 3, size, size] in channels-last memory."""
        # copy-on-write, because torch takes no read-only arrays
        return np.load(self.path, mmap_mode="c").transpose(0, 3, 1, 2)

    def fill(self, decoder: Callable[[], Decode], name: str, on_progress: OnProgress = silent) -> None:
        """Decodes the chunks that are missing or whose sum is wrong: what a killed process or a bad disk left.

        A file whose sums were right is not summed again while its size, time of modification and inode stay.

        Args:
            decoder: Called once if there is something to decode.
            name: Name of the data set, for messages.
            on_progress: Called with (what, done, total) after each chunk.

        Raises:
            DataError: The disk is full, or the cache is damaged and may not be written.
        """
        current = self.path if self.path.exists() else self._part
        state = _file_state(current)
        if state and _read_text(self._verified) == state:
            return
        read_only = current == self.path and not os.access(current, os.W_OK)  # the cache of somebody else
        file = os.open(current, os.O_RDONLY) if read_only else open_regular(current, os.O_RDWR)
        try:
            with ThreadPoolExecutor(_cores()) as pool:
                wrong = self._wrong_chunks(file, pool)
                if not wrong and current == self.path and os.pread(file, len(self._header), 0) == self._header:
                    self._remember_verified(state)
                    return
                if read_only:
                    raise DataError(f"{current} is damaged and cannot be repaired: there is no permission to write it")
                self._require_space(wrong, name)
                _write_at(file, self._header, 0)
                done = self.count - sum(map(len, wrong))
                for written in pool.map(partial(self._write, file, decoder()), wrong):
                    done += written
                    on_progress(f"decoding {name} at {self.size} px", done, self.count)
        finally:
            os.close(file)
        with suppress(FileNotFoundError):  # another process has finished it
            current.replace(self.path)

    @property
    def _part(self) -> Path:
        return self.path.with_suffix(".part")

    @property
    def _sums(self) -> Path:
        return self.path.with_suffix(".sha256")

    @property
    def _verified(self) -> Path:
        return self.path.with_suffix(".verified")

    @property
    def _header(self) -> bytes:
        buffer = io.BytesIO()
        shape = (self.count, self.size, self.size, 3)
        np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return buffer.getvalue()

    def _chunks(self) -> list[range]:
        return [range(start, min(start + CHUNK, self.count)) for start in range(0, self.count, CHUNK)]

    def _span(self, chunk: range) -> tuple[int, int]:
        """Length and offset of a chunk in the file, in bytes."""
        image = 3 * self.size**2
        return len(chunk) * image, len(self._header) + chunk.start * image

    def _wrong_chunks(self, file: int, pool: ThreadPoolExecutor) -> list[range]:
        """Chunks that are not in the file as their sum says."""
        known = _read_sums(self._sums)

        def is_right(chunk: range) -> bool:
            return chunk.start in known and checksum(os.pread(file, *self._span(chunk))) == known[chunk.start]

        chunks = self._chunks()
        return [chunk for chunk, right in zip(chunks, pool.map(is_right, chunks), strict=True) if not right]

    def _remember_verified(self, state: str) -> None:
        if state and time.time() - self.path.stat().st_mtime > SETTLED:
            with suppress(OSError):  # the cache of somebody else is summed every time
                write_atomically(self._verified, state.encode())

    def _require_space(self, chunks: list[range], name: str) -> None:
        need = sum(self._span(chunk)[0] for chunk in chunks)
        if shutil.disk_usage(self.folder).free < need + SPARE:
            raise DataError(f"no space for the decoded images of {name}: {need >> 20} MiB are needed in {self.folder}")

    def _write(self, file: int, decode: Decode, chunk: range) -> int:
        """Decodes and writes one chunk, then its sum; how many images it has."""
        content = decode(chunk).transpose(0, 2, 3, 1).tobytes()
        _write_at(file, content, self._span(chunk)[1])
        with open_log(self._sums) as lines:
            lines.write(f"{chunk.start} {checksum(content)}\n")
        return len(chunk)


def _file_state(path: Path) -> str:
    """Changes with every write to a file, and when another file takes its place; "" where there is none."""
    with suppress(FileNotFoundError):
        stat = path.stat()
        return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"
    return ""


def _read_text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""


def _read_sums(path: Path) -> dict[int, str]:
    """sha256 by the first image of a chunk. The last line about a chunk counts; a torn line matches no content."""
    known = {}
    for line in _read_text(path).splitlines():
        start, _, digest = line.partition(" ")
        if start.isdigit():
            known[int(start)] = digest
    return known


def _write_at(file: int, content: bytes, offset: int) -> None:
    """Writes all of ``content``; a full disk is an OSError here, where a memory map would end the process."""
    view = memoryview(content)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
