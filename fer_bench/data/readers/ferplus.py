"""FERPlus (Barsoum et al., ICMI 2016): ten crowd votes for each face of FER2013, reduced to a majority label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import EMOTIONS
from fer_bench.data.readers import fer2013
from fer_bench.data.readers.common import first_existing
from fer_bench.data.sources import ArraySource

CLASSES = EMOTIONS  # the column order of fer2013new.csv

VOTE_COLUMNS = (*CLASSES, "unknown", "NF")

NAME = "Image name"

DISORDERED = 0.001
"""Share of names that may be out of order: 4 of the 35,714 of the release are."""

FEWEST = 50
"""Faces with a label in both files from which on their agreement says whether the files belong together."""

NEAR_CHANCE = 0.25
"""How far from chance to full agreement the labels of both files must at least be; those of the release are at 0.6."""

# 8 classes: the counts of the official reader; 7: counted by this reader, the same without majority contempt
EXPECTED = {
    8: {"train": 25_060, "val": 3_199, "test": 3_153},
    7: {"train": 24_941, "val": 3_186, "test": 3_137},
}

LAYOUT = """
  <root>/fer2013/fer2013.csv        columns emotion,pixels,Usage
  <root>/ferplus/fer2013new.csv     columns Usage,Image name,neutral,...,contempt,unknown,NF, same row order
                                    as fer2013.csv (also accepted as <root>/fer2013new.csv)
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
    table = fer2013.read_csv(listed, ("Usage", *VOTE_COLUMNS), optional=(NAME,))
    original, split, frames = fer2013.load(faces)
    if len(table) != len(original) or not np.array_equal(fer2013.usage(table, listed), split):
        raise DataError(f"{listed} ({len(table)} rows) and {faces} ({len(original)} rows) must list the same faces")
    _require_order(table, listed)
    votes = _votes(table, listed)
    winner = majority(votes)
    human = np.array([CLASSES.index(name) for name in fer2013.CLASSES], dtype=np.int64)[original]
    _require_agreement(winner, human, listed, faces)
    kept = np.flatnonzero((winner >= 0) & (winner < classes))
    counts = votes[kept, :classes]
    return Manifest(
        name="ferplus" if classes == 7 else f"ferplus{classes}",
        classes=CLASSES[:classes],
        ids=np.array([fer2013.row_id(int(row)) for row in kept], dtype=str),
        split=split[kept],
        label=winner[kept],
        source=ArraySource(frames[kept]),
        votes=counts,
        distribution=(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
        human=human[kept],
        expected=EXPECTED[classes],
        files=[*fer2013.places(root), *lists],
        label_source="reference",
    )


def _votes(table: pd.DataFrame, listed: Path) -> np.ndarray:
    """The votes int64 [N, 10]. DataError naming the first row with a number that is no count."""
    votes = np.stack([fer2013.numbers(table, name, listed) for name in VOTE_COLUMNS], axis=1)
    for row, column in np.argwhere(votes < 0)[:1].tolist():
        raise DataError(
            f"{listed}, data row {row}: {VOTE_COLUMNS[column]} is {votes[row, column]}, not a number of votes from 0"
        )
    return votes


def _require_order(table: pd.DataFrame, listed: Path) -> None:
    """DataError where the names, whose numbers ascend in the release, say that the rows were put into another order.

    Faces that are left out have no name.
    """
    if NAME not in table.columns:
        return
    number = pd.to_numeric(table[NAME].str.extract(r"fer(\d+)", flags=re.IGNORECASE)[0])
    number = number[number.notna()]
    fallen = np.flatnonzero(np.diff(number) <= 0)
    if len(fallen) > DISORDERED * len(number):
        earlier, row = number.index[fallen[0] : fallen[0] + 2].tolist()
        raise DataError(
            f"{listed}, data row {row}: {table[NAME].iloc[row]} comes after {table[NAME].iloc[earlier]}: the rows must "
            "be in the order of the release, in which the numbers of the names ascend, because the faces of FER2013 "
            "have no names; take the file as it is released"
        )


def _require_agreement(winner: np.ndarray, human: np.ndarray, listed: Path, faces: Path) -> None:
    """DataError where the majority agrees with the labels of FER2013 hardly more than by chance."""
    known = (winner >= 0) & (winner < len(CLASSES))
    winner, human = winner[known], human[known]
    if len(winner) < FEWEST:
        return
    shares = [np.bincount(label, minlength=len(CLASSES)) / len(winner) for label in (winner, human)]
    agreement, chance = (winner == human).mean(), float(shares[0] @ shares[1])
    if chance < 1 and agreement < chance + NEAR_CHANCE * (1 - chance):
        raise DataError(
            f"{listed}: its majority votes are the labels of {faces} for {agreement:.0%} of the faces, where chance is "
            f"{chance:.0%} and the release has 67%: the rows of the two files are not in the same order"
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
