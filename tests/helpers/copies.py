"""A small data set with copies within and across its splits."""

from __future__ import annotations

import numpy as np

from fer_bench.data.dataset import Manifest
from fer_bench.data.sources import ArraySource

CLASSES = ("fear", "happiness", "neutral")
Row = tuple[str, str, int, int]
ROWS: list[Row] = [  # id, split, label, grey value (the same value is the same image)
    ("a", "train", 0, 10),
    ("b", "train", 1, 20),
    ("c", "train", 1, 20),  # copy within train
    ("d", "train", 2, 30),  # copy in val
    ("e", "train", 2, 40),  # copy in test, other label
    ("f", "val", 2, 30),
    ("g", "val", 0, 50),  # copy in test
    ("h", "test", 0, 50),
    ("i", "test", 1, 40),
    ("j", "test", 2, 60),
]


def manifest(rows: list[Row] = ROWS) -> Manifest:
    """A data set of these rows, whose images are noise that the grey value draws."""
    ids, split, label, value = zip(*rows, strict=True)
    frames = np.stack([np.random.default_rng(each).integers(0, 256, (9, 9), dtype=np.uint8) for each in value])
    expected = {"train": 5, "val": 3, "test": 3}
    return Manifest(
        "tiny", CLASSES, np.array(ids), np.array(split), np.array(label, dtype=np.int64), source=ArraySource(frames),
        expected=expected,
    )  # fmt: skip
