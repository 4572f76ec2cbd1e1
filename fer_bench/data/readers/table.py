"""Any csv or Parquet manifest: one row per image with path, label and split."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import class_name, class_order, image_path, splits_of
from fer_bench.data.readers.common import (
    inside,
    missing,
    require_files,
    require_fractions,
    unique_ids,
)
from fer_bench.data.sources import FileSource

SUFFIXES = (".csv", ".parquet")

LAYOUT = """
  <name>.csv or <name>.parquet with the columns
    path        image file, relative to the folder of the table or to --data-root
    label       class name or number; the classes are the sorted distinct values
    split       train, val or test
    landmarks   (optional) JSON list of [x, y] as fractions of width and height; empty = none found
    id          (optional) unique; the path where there is no such column
"""


def read(root: Path, *also: Path) -> Manifest:
    """Reads a table. Rows in errors count from 1, without the header.

    Args:
        root: The csv or Parquet file.
        also: Folders that may hold images that are not beside the table, and that absolute paths may lead into.

    Raises:
        DataError: The table or an image is not as in LAYOUT.
    """
    if not root.is_file():
        raise missing(root, LAYOUT)
    table = _load(root)
    if table.empty:
        raise DataError(f"{root}: holds no rows")

    written = [image_path(_text(value)) for value in table["path"]]
    paths = [inside(root.parent, path, f"{root}, row {row}", also) for row, path in enumerate(written, 1)]
    beside = [root.parent / path for path in written]
    require_files(paths, LAYOUT)
    classes, label = _labels(table["label"], root)
    landmarks, found = _landmarks(table["landmarks"], root) if "landmarks" in table else (None, None)
    return Manifest(
        name=root.stem,
        classes=classes,
        ids=unique_ids([_text(value) for value in table["id"]] if "id" in table else written, root),
        split=_splits(table["split"], root),
        label=label,
        source=FileSource(paths),
        files=[root, *beside, *paths],
        landmarks=landmarks,
        landmarks_ok=found,
    )


def _load(path: Path) -> pd.DataFrame:
    """The rows, with columns that are known to be there, once each."""
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
            names = [str(name).strip() for name in table.columns]
        else:
            names = [_text(name) for name in _csv(path, nrows=1).iloc[0]]
    except Exception as error:  # pyarrow and pandas have no common base class for a damaged file
        raise _damaged(path, error) from error
    _require_columns(names, path)  # before the rows are read: with another separator they do not fit their header
    if path.suffix.lower() != ".parquet":
        try:
            table = _csv(path).iloc[1:]
        except Exception as error:
            raise _damaged(path, error) from error
    return table.set_axis(names, axis=1)


def _csv(path: Path, **options: Any) -> pd.DataFrame:
    """A csv file with its header as the first row: as a header, pandas would rename a second column of one name."""
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None, **options)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a table ({error})")


def _require_columns(names: list[str], path: Path) -> None:
    for name in ("path", "label", "split"):
        if name not in names:
            if {"emotion", "pixels"} <= set(names):
                raise DataError(f"{path}: this is the csv file of FER2013: use --dataset fer2013")
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"{path}: no column {name!r}; found {', '.join(names)}{hint}. Expected:\n{LAYOUT.strip()}")
    for name in ("path", "label", "split", "landmarks", "id"):
        if names.count(name) > 1:
            raise DataError(f"{path}: two columns are called {name!r}")


def _text(value: object) -> str:
    """A cell as text; Parquet numbers lose a trailing .0, and an absent value is empty."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _labels(column: pd.Series, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names, sorted (numbers by value), and labels int64 [N]."""
    names = [class_name(_text(value)) for value in column]
    if "" in names:
        raise DataError(f"{path}, row {names.index('') + 1}: the label is empty")
    classes = class_order(names)
    code = {name: number for number, name in enumerate(classes)}
    return classes, np.array([code[name] for name in names], dtype=np.int64)


def _splits(column: pd.Series, path: Path) -> np.ndarray:
    """Splits of the harness, str [N]; raises DataError naming the first row with another value."""
    words, split = [_text(value) for value in column], []
    known = splits_of(set(words))
    for row, value in enumerate(words, 1):
        name = known.get(value)
        if name is None:
            raise DataError(f"{path}, row {row}: unknown split {value!r}, not one of train, val, test")
        split.append(name)
    for name in ("train", "test"):
        if name not in split:
            raise DataError(f"{path}: no row has split {name!r}")
    return np.array(split, dtype=str)


def _landmarks(column: pd.Series, path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Points float32 [N, L, 2] as fractions and whether each image has them, bool [N]; zeros where it has none."""
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
        text = _text(value)
        if not text:
            return None
        try:
            pairs = json.loads(text)
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
