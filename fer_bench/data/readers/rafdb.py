"""RAF-DB, basic expressions, aligned faces (Li, Deng and Du, CVPR 2017)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.readers.common import first_existing, missing, read_lines, require_files, unique_ids
from fer_bench.data.sources import FileSource

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # official label minus 1

EXPECTED = {"train": 12_271, "test": 3_068}

LAYOUT = """
  <root>/rafdb/EmoLabel/list_patition_label.txt     lines "train_00001.jpg 5", labels 1 to 7; or beside Image/
  <root>/rafdb/Image/aligned/train_00001_aligned.jpg
  <root>/rafdb/basic/EmoLabel/..., <root>/rafdb/basic/Image/...    (the folder as it is unpacked) is accepted as well
"""


def read(root: Path) -> Manifest:
    """12,271 training and 3,068 test faces; there is no official validation set. Ids are the names of the list file."""
    bases = [root / "rafdb", root / "rafdb" / "basic"]
    if not bases[0].is_dir():
        raise missing(bases[0], LAYOUT)
    list_name = "list_patition_label.txt"
    lists = [base / "EmoLabel" / list_name for base in bases] + [base / list_name for base in bases]
    folders = [base / "Image" / "aligned" for base in bases]
    listed, images = first_existing(lists, LAYOUT), first_existing(folders, LAYOUT)

    names, labels, splits = [], [], []
    for number, fields in read_lines(listed):
        split = fields[0].split("_")[0]
        if len(fields) != 2 or fields[1] not in "1234567" or len(fields[1]) != 1 or split not in ("train", "test"):
            raise DataError(f'{listed}, line {number}: expected "train_00001.jpg 5" (label 1 to 7), found {fields}')
        names.append(fields[0])
        labels.append(int(fields[1]) - 1)
        splits.append(split)
    paths = [images / f"{Path(name).stem}_aligned.jpg" for name in names]
    require_files(paths, LAYOUT)
    return Manifest(
        name="rafdb",
        classes=CLASSES,
        ids=unique_ids(names, listed),
        split=np.array(splits, dtype=str),
        label=np.array(labels, dtype=np.int64),
        source=FileSource(paths),
        expected=EXPECTED,
        files=[*lists, *folders, *paths],
    )
