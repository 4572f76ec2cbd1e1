"""Grey images as numbers in the cells of a table, as in FER2013."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError


def read_frames(column: Sequence[object], path: Path, side: int | None = None) -> np.ndarray:
    """Square images from cells of numbers: uint8 [N, side, side].

    Args:
        column: The cells: text with blanks or commas between the numbers, or, from Parquet, lists of numbers.
        path: The file, for messages.
        side: Side of the images in pixels; None takes that of the first one.

    Raises:
        DataError: A cell holds something else. Rows in messages count from 0.
    """
    first = len(_plain(column[0]).split()) if isinstance(column[0], str) else _flat(column[0]).size
    in_colour = 3 * (side or math.isqrt(first // 3)) ** 2
    side = side or math.isqrt(first)
    if first == in_colour != side * side:
        raise DataError(f"{path}: its pixels are grey, one number each; {first} numbers are pixels in colour")
    frames = np.empty((len(column), side, side), dtype=np.uint8)
    with warnings.catch_warnings():
        # numpy only warns when it stops at something that is no number; the length check would miss a bad last one
        warnings.simplefilter("error", DeprecationWarning)
        for row, cell in enumerate(column):
            frames[row] = _frame(cell, side, f"{path}, data row {row}")
    return frames


def _plain(text: str) -> str:
    """The numbers with blanks between them, where they are written as a list: "[0, 255]"."""
    return text.strip("[] ").replace(",", " ")


def _values(cell: object) -> np.ndarray:
    """The numbers of a cell: [S * S]. ValueError for other words, DeprecationWarning for them in text."""
    if isinstance(cell, str):
        return np.fromstring(_plain(cell), dtype=np.int16, sep=" ")
    values = _flat(cell).astype(np.float64)
    if (values % 1 != 0).any():
        raise ValueError("no whole numbers")
    return values


def _flat(cell: object) -> np.ndarray:
    """A list of numbers, or of rows of them, as one row; empty for anything else."""
    values = np.asarray(cell) if isinstance(cell, (list, np.ndarray)) else np.zeros(0)
    for _ in range(2):  # Parquet gives rows, and the colours of their pixels, as arrays of arrays
        if values.dtype == object and values.size:
            values = np.concatenate([np.ravel(each) for each in values])
    return values.ravel()


def _frame(cell: object, side: int, where: str) -> np.ndarray:
    try:
        values = _values(cell)
    except (DeprecationWarning, ValueError) as error:
        shortened = "; NumPy has shortened it: write all of them" if isinstance(cell, str) and "..." in cell else ""
        raise DataError(f"{where}: pixels hold something that is not a number{shortened}") from error
    if not side or len(values) != side * side or values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: not {side * side} pixels of 0 to 255 but {len(values)} values")
    return values.reshape(side, side)
