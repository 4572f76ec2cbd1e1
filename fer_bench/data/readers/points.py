"""Landmarks in the cells of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.readers.common import require_fractions
from fer_bench.data.readers.sheet import text


def read_points(column: Sequence[object], path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Points float32 [N, L, 2] as fractions and whether each image has them, bool [N]; zeros if it has none."""
    points = [_points(value, path, row) for row, value in enumerate(column, 1)]
    sizes = {len(each): row for row, each in enumerate(points, 1) if each is not None}
    if not sizes:
        return None, None
    if len(sizes) > 1:
        counts = ", ".join(f"{size} in row {row}" for size, row in sorted(sizes.items()))
        raise DataError(f"{path}: every image must have the same number of landmarks, found {counts}")
    blank = np.zeros((next(iter(sizes)), 2), dtype=np.float32)
    found = np.array([each is not None for each in points])
    return np.stack([blank if each is None else each for each in points]), found


def _points(value: object, path: Path, row: int) -> np.ndarray | None:
    """One cell as float32 [L, 2], or None where it is empty. Parquet may hold the lists themselves."""
    pairs: Any = value
    if not isinstance(value, (list, np.ndarray)):
        written = text(value)
        if not written:
            return None
        try:
            pairs = json.loads(written)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, row {row}: landmarks are no JSON list ({error})") from error
    try:
        points = np.array([list(pair) for pair in pairs], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, row {row}: landmarks must be a list of [x, y] pairs ({error})") from error
    if points.size == 0:
        return None
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"{path}, row {row}: landmarks must be a list of finite [x, y] pairs")
    require_fractions(points, f"{path}, row {row}")
    return points
