"""Files: atomic writing, checksums, and reading of many at a time."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

FIRST, READERS = 32, 16
"""Items that are tried without threads, and threads after that."""

ATTEMPTS = 5

T = TypeVar("T")

R = TypeVar("R")

Content = bytes | Callable[[BinaryIO], object]
"""Content of a file: its bytes, or a function that writes them, for content that does not fit into memory."""


def write_atomically(path: Path, content: Content, parts: Path | None = None) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part of it.

    The content is written to a temporary file, flushed to the disk and renamed.

    Args:
        path: The file; its folder is made.
        content: Bytes, or a function that writes into the open file.
        parts: Folder of the temporary file, on the same file system; None for that of ``path``.

    Raises:
        OSError: There is no space or no permission; the old file stays.
    """
    if parts is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = (parts or path.parent) / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with named(path), part.open("xb") as handle:
            content(handle) if callable(content) else handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def open_log(path: Path) -> TextIO:
    """Opens a text file for appending, written line by line, as :func:`open_regular` does."""
    number = open_regular(path, os.O_WRONLY | os.O_APPEND)
    return os.fdopen(number, "a", buffering=1, encoding="utf-8", errors="backslashreplace")


def open_regular(path: Path, mode: int) -> int:
    """Opens a file for writing in place. It is made if it is not there.

    In a folder that others can write, a link or a pipe may lie in its place and lead to another file. Such a thing is
    removed: only a regular file with one name is opened.

    Args:
        path: The file.
        mode: Flags of ``os.open`` for the kind of writing.

    Returns:
        The file descriptor.
    """
    flags = mode | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(ATTEMPTS):
        try:
            number = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # a link; a pipe that nobody reads
                raise
        else:
            found = os.fstat(number)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                return number
            os.close(number)
        path.unlink(missing_ok=True)
    raise OSError(errno.ELOOP, "another program replaces the file again and again", str(path))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Adds the file name to an OSError: a write that fails for lack of space does not give it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def parse_json(content: bytes) -> Any:
    """A JSON value. ValueError where the text is damaged."""
    import orjson

    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # perhaps a name that is not UTF-8, which orjson refuses
        try:
            return json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


class BoundedGzip(gzip.GzipFile):
    """The content of a gzip file, of which nobody reads more than ``largest`` bytes at once.

    A tar archive is read through it, so that a header of the archive cannot ask for more memory than that.
    """

    def __init__(self, path: Path, largest: int) -> None:
        super().__init__(path)
        self.largest = largest

    def read(self, size: int | None = -1) -> bytes:
        """Reads ``size`` bytes. EOFError, as of a damaged file, for too many."""
        if size is None or not 0 <= size <= self.largest:
            raise EOFError("a header of impossible size")
        return super().read(size)


def checksum(content: bytes | memoryview) -> str:
    """The sha256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_checksum(path: Path) -> str:
    """The sha256 of a file's content in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Applies ``work`` to every item, in threads if the first items show that it mostly waits for files.

    A network folder serves many requests at a time, each with a delay. On a local disk threads would compete for
    Python's lock, which makes reading twice as slow.

    Returns:
        The results, in the order of the items.
    """
    items = list(items)
    wall, busy = time.perf_counter(), time.thread_time()
    found = [work(item) for item in items[:FIRST]]
    if time.perf_counter() - wall < 2 * (time.thread_time() - busy):
        return found + [work(item) for item in items[FIRST:]]
    with ThreadPoolExecutor(READERS) as readers:
        return found + list(readers.map(work, items[FIRST:]))
