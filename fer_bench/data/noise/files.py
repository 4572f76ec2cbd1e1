"""Readers of confusion matrices and of class probabilities."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.files import read_npz, read_text
from fer_bench.data.match import ImageIndex
from fer_bench.data.names import class_name


def read_matrix(path: Path, classes: Sequence[str]) -> np.ndarray:
    """Reads a confusion matrix from a csv file.

    The header names the classes in any order. Rows come in the order of the header, or begin with their own class name;
    then the header has one more cell at its beginning.

    Args:
        path: The file.
        classes: Class names of the data set; the file may spell them as folders do ("angry" for "anger").

    Returns:
        float64 [C, C] in the order of ``classes``, rows by clean and columns by noisy label.

    Raises:
        DataError: The file is no such matrix.
    """
    table = _read_csv(path)
    named = len(table) > 1 and table.shape[1] == len(classes) + 1
    header = [class_name(cell) for cell in table.iloc[0]]
    names = header[1:] if named else header
    if sorted(names) != sorted(classes):
        raise DataError(f"{path}: the header must name the classes {', '.join(classes)}; it has {', '.join(header)}")
    rows = table.iloc[1:]
    row_names = [class_name(cell) for cell in rows[0]] if named else names
    if sorted(row_names) != sorted(classes) or len(rows) != len(classes):
        raise DataError(f"{path}: one row for each of {', '.join(classes)} is needed, found {len(rows)} rows")
    values = _values(rows.iloc[:, 1:] if named else rows, path)
    return values[np.ix_([row_names.index(name) for name in classes], [names.index(name) for name in classes])]


def read_probabilities(path: Path, ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Reads class probabilities of images.

    Args:
        path: An .npz file with ``ids`` [M] and ``probabilities`` [M, C] in the order of ``classes``, or a csv file with
            the header ``id,<class>,<class>,…``.
        ids: [N] str, the images wanted.
        classes: Class names of the data set.

    Returns:
        float64 [N, C].

    Raises:
        DataError: The file holds no such probabilities, or lacks an image.
    """
    names, values = _npz(path) if path.suffix == ".npz" else _csv(path, classes)
    if values.shape != (len(names), len(classes)) or not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(f"{path}: probabilities must be finite, not negative and [{len(names)}, {len(classes)}]")
    rows = ImageIndex(names).rows(map(str, ids))
    require_listed(path, ids, rows >= 0, names[0] if names else "")
    return values[rows]


def require_listed(path: Path, ids: np.ndarray, listed: np.ndarray, example: str) -> None:
    """Raises DataError unless all images are in a file.

    Args:
        path: The file.
        ids: [N] str, the images wanted.
        listed: [N] bool, whether the file has them.
        example: A name that the file uses.
    """
    if not listed.all():
        missing = [str(name) for name in ids[~listed]]
        raise DataError(
            f"{path}: {len(missing)} of {len(ids)} training images are not in it, for example "
            f"{', '.join(missing[:3])} (the file has names such as {example})"
        )


def _npz(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = read_npz(path)
    if not {"ids", "probabilities"} <= arrays.keys():
        raise DataError(f"{path}: expected an npz file with 'ids' and 'probabilities', found {', '.join(arrays)}")
    try:
        return [str(name) for name in arrays["ids"]], arrays["probabilities"].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: 'probabilities' are no numbers ({error})") from error


def _csv(path: Path, classes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    table = _read_csv(path)
    header = [class_name(cell) for cell in table.iloc[0]]
    if sorted(header[1:]) != sorted(classes):
        raise DataError(f"{path}: the header must be id,{','.join(classes)}; it is {','.join(header)}")
    columns = [header.index(name, 1) for name in classes]
    return table.iloc[1:, 0].tolist(), _values(table.iloc[1:, columns], path)


def _read_csv(path: Path) -> pd.DataFrame:
    """A csv file as text, its header as the first row: pandas would rename a second column of one name."""
    text = read_text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        table = pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    except ValueError as error:  # pandas has its own errors for a damaged file; all are ValueErrors
        raise DataError(f"{path}: is not a csv file ({error})") from error
    if len(table) < 2:
        raise DataError(f"{path}: expected a csv file with a header and rows")
    return table.apply(lambda column: column.str.strip())


def _values(table: pd.DataFrame, path: Path) -> np.ndarray:
    wanted = f"{path}: every row needs {table.shape[1]} finite numbers, none negative"
    try:
        values = table.to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{wanted} ({error})") from error
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(wanted)
    return values
