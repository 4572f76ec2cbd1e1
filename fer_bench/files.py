"""Writing files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
