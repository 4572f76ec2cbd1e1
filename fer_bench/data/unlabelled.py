"""Unlabelled images that are copies of test images: a method that learns from them learns from the test set."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_bench.core.files import write_atomically
from fer_bench.data.cache import OnProgress, silent
from fer_bench.data.dataset import Dataset
from fer_bench.data.open import open_unlabelled
from fer_bench.data.options import Dedup
from fer_bench.data.twins import Thumbnails, find_twins

_BATCH = 4096


def open_pool(folder: Path, dataset: Dataset, size: int, dedup: Dedup, on_progress: OnProgress = silent) -> Dataset:
    """Opens a folder of unlabelled images, and compares them with the test images of a data set.

    Args:
        folder: The images.
        dataset: A data set whose test images must not be learnt from.
        size: Size in pixels at which both are decoded and compared.
        dedup: Which copies are left out. Those that stay are counted in ``assumed``.
        on_progress: Called with (what, done, total) while images are decoded and compared.

    Raises:
        DataError: There is no image in the folder, all of them are copies, or one cannot be decoded.
    """
    pool = open_unlabelled(folder)
    for each in (pool, dataset):
        each.decode(size, on_progress)
    exact, near = _copies(pool, dataset, size, on_progress)
    left_out = {"": np.zeros_like(near), "exact": exact, "near": exact | near}[dedup]
    facts = []
    if left_out.any():
        kind = "near copies" if dedup == "near" else "copies"
        facts.append(f"{left_out.sum():,} {kind} of test images left out")
        pool = open_unlabelled(folder, frozenset(pool.ids[left_out].tolist()))
        pool.decode(size, on_progress)
    for found, kind in ((exact & ~left_out, "copies"), (near & ~exact & ~left_out, "near copies")):
        if found.any():
            facts.append(f"{found.sum():,} of them {kind} of test images")
    return replace(pool, assumed=tuple(facts))


def _copies(pool: Dataset, dataset: Dataset, size: int, on_progress: OnProgress) -> tuple[np.ndarray, np.ndarray]:
    """Which images of the pool have the pixels of a test image, and which show the picture of one: bool [N] each.

    The answer is kept in the cache of the pool.
    """
    file = pool.folder / f"copies-{dataset.fingerprint[:16]}-{size}.json"
    with suppress(OSError, ValueError, KeyError):  # absent or damaged: they are compared again
        known = json.loads(file.read_bytes())
        return np.isin(pool.ids, known["exact"]), np.isin(pool.ids, known["near"])
    test = dataset.pixels(size)[dataset.rows("test")]
    contents = {_content(image) for image in test}
    thumbnails = Thumbnails.of(test)
    exact, near = [], []
    images = pool.pixels(size)
    for start in range(0, len(pool), _BATCH):
        part = images[start : start + _BATCH]
        exact += [_content(image) in contents for image in part]
        near += (find_twins(Thumbnails.of(part), thumbnails) >= 0).tolist()
        on_progress(f"comparing {pool.name} with the test images of {dataset.name}", len(exact), len(pool))
    found = {"exact": pool.ids[exact].tolist(), "near": pool.ids[near].tolist()}
    write_atomically(file, json.dumps(found).encode())
    return np.array(exact, dtype=bool), np.array(near, dtype=bool)


def _content(image: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
