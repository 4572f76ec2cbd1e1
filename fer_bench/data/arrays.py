"""The one reader of .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in an .npz file by name; pickled objects are refused. DataError names a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # numpy, zipfile and zlib have no common error for a damaged file
        raise DataError(f"{path}: is no .npz file of arrays ({error})") from error
