"""Files: written so that a reader sees the old content or the new, never a part; summed; read many at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

FIRST, READERS = 32, 16

T = TypeVar("T")

R = TypeVar("R")

Content = bytes | Callable[[BinaryIO], object]
"""Of a file: its bytes, or what writes them into the open file, for content that need not be in memory as a whole."""


def write_atomically(path: Path, content: Content, parts: Path | None = None) -> None:
    """Writes a part, flushes it to disk and renames it. OSError (no space, no permission) leaves the old file.

    The part lies beside ``path``, whose folder is made, or in the folder ``parts`` of the same file system.
    """
    if parts is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = (parts or path.parent) / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with named(path), part.open("wb") as handle:
            content(handle) if callable(content) else handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An OSError in it names a file: a write that fails for want of space does not say where."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def checksum(content: bytes | memoryview) -> str:
    """The sha256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_checksum(path: Path) -> str:
    """The sha256 of a file's content in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``work`` of every item, in their order; by threads if the first items show that it mostly waits for files.

    A folder on a network answers many questions at a time, each of them late. On a disk threads would only take
    Python's lock from one another, which makes reading twice as slow.
    """
    items = list(items)
    wall, busy = time.perf_counter(), time.thread_time()
    found = [work(item) for item in items[:FIRST]]
    if time.perf_counter() - wall < 2 * (time.thread_time() - busy):
        return found + [work(item) for item in items[FIRST:]]
    with ThreadPoolExecutor(READERS) as readers:
        return found + list(readers.map(work, items[FIRST:]))
