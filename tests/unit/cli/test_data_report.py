"""``data check`` on the terminal: counts, copies across splits, damage, and a word where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from fer_bench.cli.views.data_report import data_report
from fer_bench.data.check import check
from fer_bench.data.dataset import Manifest
from fer_bench.data.duplicates import dedup
from fer_bench.data.sources import FileSource
from tests.helpers.copies import ROWS, manifest


def shown(of: Manifest, width: int = 80) -> str:
    with (console := Console(width=width)).capture() as text:
        console.print(data_report(check(of)))
    return text.get()


def test_counts_copies_and_warnings_are_shown() -> None:
    text = shown(manifest())
    for part in (
        "tiny: images",
        "expected",
        "across splits",
        "e, train, neutral; i, test, happiness",
        "! val: 2 images",
    ):
        assert part in text
    assert "! train: 3 images" in shown(dedup(manifest([*ROWS[:2], ROWS[3], *ROWS[7:]])).manifest)


def test_a_sound_set_has_nothing_to_complain_about() -> None:
    parts = list(enumerate(("train", "test")))
    sound = manifest([(f"{split}[b]{c}", split, c, 10 * c + at) for at, split in parts for c in range(3)])
    assert "nothing to complain about" in shown(replace(sound, expected={"train": 3}), 100)


def test_damaged_images_are_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        path.touch()
    split, label = np.array(["train", "test"]), np.zeros(2, dtype=np.int64)
    files = Manifest("files", ("x",), np.array(list("ab")), split, label, source=FileSource(paths))
    assert "images that cannot be decoded (2" in shown(files, 200)
