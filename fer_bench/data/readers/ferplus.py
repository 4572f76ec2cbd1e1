"""FERPlus (Barsoum et al., ICMI 2016): ten crowd votes for each face of FER2013, reduced to a majority label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import EMOTIONS
from fer_bench.data.readers import fer2013
from fer_bench.data.readers.common import first_existing
from fer_bench.data.sources import ArraySource

CLASSES = EMOTIONS  # the column order of fer2013new.csv

VOTE_COLUMNS = (*CLASSES, "unknown", "NF")

# 8 classes: the counts of the official reader; 7: counted by this reader, the same without majority contempt
EXPECTED = {
    8: {"train": 25_060, "val": 3_199, "test": 3_153},
    7: {"train": 24_941, "val": 3_186, "test": 3_137},
}

LAYOUT = """
  <root>/fer2013/fer2013.csv        columns emotion,pixels,Usage
  <root>/ferplus/fer2013new.csv     columns Usage,Image name,neutral,...,contempt,unknown,NF, same row order
                                    (also accepted as <root>/fer2013new.csv)
"""


def read(root: Path, classes: int = 8) -> Manifest:
    """Reads the faces whose majority is one of the classes.

    ``votes`` are the annotators' counts over these classes, ``distribution`` their shares, and ``human`` is the
    original FER2013 label of the same face: real label noise.

    Args:
        root: Folder that holds fer2013/ and ferplus/.
        classes: 8, or the 7 basic ones without contempt.

    Raises:
        DataError: The files are not as in LAYOUT.
    """
    faces = fer2013.find(root)
    lists = [root / inner / "fer2013new.csv" for inner in ("ferplus", ".", "fer2013")]
    listed = first_existing(lists, LAYOUT)
    table = fer2013.read_csv(listed, ("Usage", *VOTE_COLUMNS))
    original, split, frames = fer2013.load(faces)
    if len(table) != len(original) or not np.array_equal(fer2013.usage(table, listed), split):
        raise DataError(f"{listed} ({len(table)} rows) and {faces} ({len(original)} rows) must list the same faces")

    votes = np.stack([fer2013.numbers(table, name, listed) for name in VOTE_COLUMNS], axis=1)
    winner = majority(votes)
    kept = np.flatnonzero((winner >= 0) & (winner < classes))
    counts = votes[kept, :classes]
    to_plus = np.array([CLASSES.index(name) for name in fer2013.CLASSES], dtype=np.int64)
    return Manifest(
        name="ferplus" if classes == 7 else f"ferplus{classes}",
        classes=CLASSES[:classes],
        ids=np.array([fer2013.row_id(int(row)) for row in kept], dtype=str),
        split=split[kept],
        label=winner[kept],
        source=ArraySource(frames[kept]),
        votes=counts,
        distribution=(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
        human=to_plus[original[kept]],
        expected=EXPECTED[classes],
        files=[*fer2013.places(root), *lists],
        label_source="reference",
    )


def majority(votes: np.ndarray) -> np.ndarray:
    """Finds the majority by the rule of the official reader (github.com/microsoft/FERPlus).

    A single vote is an outlier and is dropped; then the top column must have more than half of what is left. Columns 8
    (unknown) and 9 (no face) can win.

    Args:
        votes: [N, 10] int64.

    Returns:
        int64 [N], the column that wins, -1 where none does.
    """
    left = np.where(votes <= 1, 0, votes)
    return np.where(2 * left.max(axis=1) > left.sum(axis=1), left.argmax(axis=1), -1)
