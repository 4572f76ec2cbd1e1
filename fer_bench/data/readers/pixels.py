"""Grey images as numbers in the cells of a table, as in FER2013."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError


def read_frames(column: Sequence[str], path: Path, side: int | None = None) -> np.ndarray:
    """Square images from cells of numbers with blanks between them: uint8 [N, side, side].

    Args:
        column: The cells.
        path: The file, for messages.
        side: Side of the images in pixels; None takes that of the first one.

    Raises:
        DataError: A cell holds something else. Rows in messages count from 0.
    """
    first = _plain(column[0]).split()
    in_colour = 3 * (side or math.isqrt(len(first) // 3)) ** 2
    side = side or math.isqrt(len(first))
    if len(first) == in_colour != side * side:
        raise DataError(f"{path}: its pixels are grey, one number each; {len(first)} numbers are pixels in colour")
    frames = np.empty((len(column), side, side), dtype=np.uint8)
    with warnings.catch_warnings():
        # numpy only warns when it stops at something that is no number; the length check would miss a bad last one
        warnings.simplefilter("error", DeprecationWarning)
        for row, text in enumerate(column):
            frames[row] = _frame(text, side, f"{path}, data row {row}")
    return frames


def _plain(text: str) -> str:
    """The numbers with blanks between them, where they are written as a list: "[0, 255]"."""
    return text.strip("[] ").replace(",", " ") if "," in text else text


def _frame(text: str, side: int, where: str) -> np.ndarray:
    try:
        values = np.fromstring(_plain(text), dtype=np.int16, sep=" ")
    except (DeprecationWarning, ValueError) as error:
        raise DataError(f"{where}: pixels hold something that is not a number") from error
    if not side or len(values) != side * side or values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: not {side * side} pixels of 0 to 255 but {len(values)} values")
    return values.reshape(side, side)
