"""Readers of confusion matrices and of class probabilities."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.files import read_npz
from fer_bench.data.match import AMBIGUOUS, ImageIndex
from fer_bench.data.noise.lines import list_lines
from fer_bench.data.noise.words import as_classes


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
    header = as_classes(table.iloc[0].tolist(), classes)
    names = header[1:] if named else header
    if sorted(names) != sorted(classes):
        raise DataError(f"{path}: the header must name the classes {', '.join(classes)}; it has {', '.join(header)}")
    rows = table.iloc[1:]
    row_names = as_classes(rows[0].tolist(), classes) if named else names
    if sorted(row_names) != sorted(classes) or len(rows) != len(classes):
        raise DataError(f"{path}: one row for each of {', '.join(classes)} is needed, found {len(rows)} rows")
    values = _values(rows.iloc[:, 1:] if named else rows, path)
    return values[np.ix_([row_names.index(name) for name in classes], [names.index(name) for name in classes])]


def read_probabilities(
    path: Path, ids: np.ndarray, classes: Sequence[str], among: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Reads class probabilities of images.

    Args:
        path: An .npz file with ``ids`` [M] and ``probabilities`` [M, C] in the order of ``classes``, or a csv file with
            the header ``id,<class>,<class>,…``.
        ids: [N] str, the images wanted.
        classes: Class names of the data set.
        among: The images that a name in the file may mean: those of the data set, and then those of its training
            images, for names that several images of the data set have. By default ``ids``.

    Returns:
        float64 [N, C].

    Raises:
        DataError: The file holds no such probabilities, has an image twice, or lacks one.
    """
    names, values = _npz(path) if path.suffix == ".npz" else _csv(path, classes)
    if values.shape != (len(names), len(classes)):
        raise DataError(f"{path}: probabilities must be finite, not negative and [{len(names)}, {len(classes)}]")
    among = among or (ids,)
    images = _images(names, among)
    row_of: dict[str, int] = {}
    for row, image in enumerate(images):
        if image and row_of.setdefault(image, row) != row:
            first = row_of[image]
            raise DataError(
                f"{path}, row {row + 1}: the image is listed twice: {names[row]!r}, as {names[first]!r} in row "
                f"{first + 1}"
            )
    _require_named(path, ids, row_of, names, among[-1])
    # all that the noise may use, so that an error does not depend on which images are held out
    _require_probabilities(path, names, values, sorted(row_of[name] for name in map(str, among[-1]) if name in row_of))
    return values[[row_of[str(name)] for name in ids]]


def _images(names: Sequence[str], among: Sequence[np.ndarray]) -> list[str]:
    """The id of the image that each name means, "" if it means none; a name means one image only."""
    found = [""] * len(names)
    left = np.arange(len(names))
    for ids in among:
        rows = ImageIndex(ids).rows(names[row] for row in left.tolist())
        for row, image in zip(left[rows >= 0].tolist(), rows[rows >= 0].tolist(), strict=True):
            found[row] = str(ids[image])
        left = left[rows == AMBIGUOUS]
    return found


def _require_named(
    path: Path, ids: np.ndarray, row_of: dict[str, int], names: Sequence[str], among: np.ndarray
) -> None:
    """DataError unless all images have a row; a row that several images could have is shown."""
    listed = np.array([str(name) in row_of for name in ids], dtype=bool)
    if not listed.all():
        several = np.flatnonzero(ImageIndex(among).rows(names) == AMBIGUOUS)
        if len(several):
            row = int(several[0])
            raise DataError(
                f"{path}, row {row + 1}: several images are called {names[row]!r}, and a row is for one image: write "
                f"longer paths, such as {ids[~listed][0]}"
            )
    require_listed(path, ids, listed, names[0] if names else "")


def _require_probabilities(path: Path, names: Sequence[str], values: np.ndarray, rows: Sequence[int]) -> None:
    """DataError for a row of numbers that are no probabilities, such as logits, percent, or zeros."""
    # numbers with three decimals sum to 1 up to half a thousandth for each class
    tolerance = max(1e-3, 5e-4 * values.shape[1])
    for row in rows:
        total = values[row].sum()
        if not (np.isfinite(values[row]) & (values[row] >= 0)).all() or abs(total - 1) > tolerance + 1e-9:
            shown = ", ".join(f"{value:g}" for value in values[row][:8])
            raise DataError(
                f"{path}, row {row + 1} ({names[row]}): probabilities must be finite, not negative and sum to 1, found "
                f"{shown} with the sum {total:g}; logits need a softmax first"
            )


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
    header = as_classes(table.iloc[0].tolist(), classes)
    if sorted(header[1:]) != sorted(classes):
        raise DataError(f"{path}: the header must be id,{','.join(classes)}; it is {','.join(header)}")
    columns = [header.index(name, 1) for name in classes]
    return table.iloc[1:, 0].tolist(), _values(table.iloc[1:, columns], path)


def _read_csv(path: Path) -> pd.DataFrame:
    """A csv file as text, its header as the first row: pandas would rename a second column of one name."""
    text = "\n".join(line for _, line in list_lines(path))
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
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"{path}: every row needs {table.shape[1]} finite numbers, none negative "
            f"({table.iat[row, column]!r} in row {row + 1})"
        )
    return values
