"""Readers of text and of .npz files; a damaged file is named."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in an .npz file by name; pickled objects are refused. DataError names a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # numpy, zipfile and zlib have no common error for a damaged file
        raise DataError(f"{path}: not an .npz file of arrays ({error})") from error


_BINARY = {
    b"\x93NUMPY": "an array of NumPy",
    b"PK\x03\x04": "an archive (.npz, .pt, .xlsx or .zip)",
    b"\x1f\x8b": "compressed",
    b"PAR1": "in Parquet",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
"""What files are that are no text, by their first bytes."""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 if it says so. DataError names a file that is missing or no text."""
    try:
        content = path.read_bytes()
        if kind := next((name for start, name in _BINARY.items() if content.startswith(start)), ""):
            raise DataError(f"{path} is no text file: it is {kind}")
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers. DataError as for :func:`read_text`."""
    return [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
