"""RAF-DB, basic expressions, aligned faces (Li, Deng and Du, CVPR 2017)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Manifest
from fer_bench.data.files import read_lines
from fer_bench.data.names import IMAGE_SUFFIXES, image_path, without_suffix
from fer_bench.data.readers.common import first_existing, missing, require_files, unique_ids
from fer_bench.data.sources import FileSource

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # official label minus 1

EXPECTED = {"train": 12_271, "test": 3_068}

LISTS = ("list_patition_label.txt", "list_partition_label.txt")
"""The official name of the list, and its spelling without the slip."""

LAYOUT = """
  <root>/rafdb/EmoLabel/list_patition_label.txt     lines "train_00001.jpg 5", labels 1 to 7; or beside Image/
  <root>/rafdb/Image/aligned/train_00001_aligned.jpg
  <root>/rafdb/basic/EmoLabel/..., <root>/rafdb/basic/Image/...    (the folder as it is unpacked) is accepted as well
"""


def read(root: Path) -> Manifest:
    """Reads 12,271 training and 3,068 test faces; there is no official validation set.

    Ids are the names of the official list, also where the list or the images are called otherwise (with or without
    ``_aligned``). A third column of the list is not used.

    Raises:
        DataError: The list or an image is missing, or a line is wrong.
    """
    bases = [root / "rafdb", root / "rafdb" / "basic"]
    if not bases[0].is_dir():
        raise missing(bases[0], LAYOUT)
    lists = [base / inner / name for inner in ("EmoLabel", ".") for name in LISTS for base in bases]
    folders = [base / inner for inner in ("Image/aligned", "aligned") for base in bases]
    listed, images = first_existing(lists, LAYOUT), first_existing(folders, LAYOUT)

    stems, labels = [], []
    for number, line in read_lines(listed):
        fields = [field for field in re.split(r"[\s,;]+", line) if field]
        stem = without_suffix(image_path(fields[0])).split("/")[-1] if fields else ""
        known = stem.split("_")[0] in ("train", "test") and len(fields) in (2, 3) and fields[1] in set("1234567")
        if not known:
            raise DataError(f'{listed}, line {number}: expected "train_00001.jpg 5" (label 1 to 7), found {fields}')
        stems.append(stem)
        labels.append(int(fields[1]) - 1)
    ends = ["_aligned.jpg", *(f"{inner}{suffix}" for inner in ("", "_aligned") for suffix in IMAGE_SUFFIXES)]
    tried = [images / f"{stems[0]}{end}" for end in ends] if stems else []
    end = next((end for end, path in zip(ends, tried, strict=True) if path.is_file()), ends[0]) if stems else ends[0]
    paths = [images / f"{stem}{end}" for stem in stems]
    require_files(paths, LAYOUT)
    return Manifest(
        name="rafdb",
        classes=CLASSES,
        ids=unique_ids((f"{stem}.jpg" for stem in stems), listed),
        split=np.array([stem.split("_")[0] for stem in stems], dtype=str),
        label=np.array(labels, dtype=np.int64),
        source=FileSource(paths),
        expected=EXPECTED,
        files=[*lists, *folders, *tried, *paths],
    )
