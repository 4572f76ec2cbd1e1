"""Checks a finished run as it is stored: its files fit together, and they are those of its key."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from fer_bench.core.text import printable
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import read_record
from fer_bench.store.row import to_row

LARGEST_ARRAYS = 256 << 20
"""Bytes of the arrays of one file; a compressed file may hold a thousand times its own size."""


def examine(folder: RunFolder) -> str:
    """What is wrong with a finished run, "" if nothing is.

    The key is the hash of its specification, every file matches its checksum, results, epochs and stored logits give
    the same accuracy, and no text has control characters in it.
    """
    try:
        if not (folder.path / "final.json").exists():
            return "it has no results"
        return folder.damage or _too_large(folder) or _contradiction(folder) or _odd_text(folder)
    except Exception as error:  # an archive may hold anything
        return f"it cannot be read ({type(error).__name__}: {error})"


def _too_large(folder: RunFolder) -> str:
    for arrays in sorted(folder.path.glob("*.npz")):
        with zipfile.ZipFile(arrays) as stored:
            if sum(each.file_size for each in stored.infolist()) > LARGEST_ARRAYS:
                return f"the arrays of {arrays.name} are of impossible size"
    return ""


def _contradiction(folder: RunFolder) -> str:
    record = read_record(folder)
    to_row(record)
    final: dict[str, Any] = record.final
    if final["test"] != record.epochs[-1]["test"]:
        return "its results are not those of its last epoch"
    stored = record.scores()
    right = stored["test_logits"].argmax(1) == stored["test_label"]
    accuracy, stated = float(np.mean(right)), final["test"]["overall"]
    if abs(accuracy - stated) > 0.5 / len(right):
        return f"its stored logits give an accuracy of {accuracy:.4f}, its results {stated:.4f}"
    return ""


def _odd_text(folder: RunFolder) -> str:
    values = {"spec.json": folder.spec, "env.json": folder.environment, "final.json": folder.final}
    for name, value in {**values, "epochs.jsonl": folder.epochs()}.items():
        odd = next((text for text in _texts(value) if not printable(text)), None)
        if odd is not None:
            return f"{name} holds {odd!r}"
    return ""


def _texts(value: Any) -> Iterator[str]:
    """Names and texts of a value of JSON, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
