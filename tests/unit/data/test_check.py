"""The check of a data set: counts, damage, copies across splits, and what dedup drops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_bench.data.check import check
from fer_bench.data.dataset import Manifest
from fer_bench.data.duplicates import dedup
from fer_bench.data.sources import FileSource
from tests.helpers.copies import ROWS, manifest


def ids(groups: tuple) -> list[str]:
    return sorted("".join(sorted(copy.id for copy in group)) for group in groups)


def test_report() -> None:
    report = check(manifest())
    assert report.counts == {"train": (1, 2, 2), "val": (1, 0, 1), "test": (1, 1, 1)}
    assert ids(report.within) == ["bc"]
    assert ids(report.across) == ["df", "ei", "gh"]
    assert ids(report.conflicting) == ["ei"]
    assert report.leaked == {"val": 1, "test": 1}
    assert report.warnings == (
        "val: 2 images, expected are 3",
        "val: no image of class happiness",
        "val: images with an exact copy in train: 1 (--dedup leaves the copies out of train)",
        "test: images with an exact copy in train: 1 (--dedup leaves the copies out of train)",
        "groups of identical images with different labels: 1",
    )


def test_a_sound_set_has_no_warnings() -> None:
    parts = list(enumerate(("train", "test")))
    sound = manifest([(f"{split}[b]{c}", split, c, 10 * c + at) for at, split in parts for c in range(3)])
    sound = replace(sound, expected={"train": 3})
    report = check(sound)
    assert report.warnings == ()
    assert dedup(sound).manifest is sound


def test_damaged_images_are_listed_and_are_no_duplicates(tmp_path: Path) -> None:
    from PIL import Image

    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    Image.new("L", (4, 4), 3).save(paths[0])
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(paths[3])
    paths[1].touch()
    paths[2].touch()
    files = Manifest(
        "files", ("x",), np.array(list("abcd")), np.array(["train", "train", "test", "test"]),
        np.zeros(4, dtype=np.int64), source=FileSource(paths),
    )  # fmt: skip
    report = check(files)
    assert [name for name, _ in report.undecodable] == ["b", "c"]
    assert "0 bytes" in report.undecodable[0][1] and str(paths[1]) in report.undecodable[0][1]
    assert report.duplicates == ()
    assert "images that cannot be decoded: 2" in report.warnings
    assert report.plain == ("a",) and "images of one colour: 1, such as a" in report.warnings


def test_dedup_keeps_test_and_drops_train_then_val() -> None:
    before = manifest()
    after, dropped = dedup(before)
    assert dropped == {"train": ["d", "e"], "val": ["g"]}
    assert after.ids.tolist() == ["a", "b", "c", "f", "h", "i", "j"]
    assert after.expected == {"test": 3}
    assert (after.source.pixels([3], 9) == before.source.pixels([5], 9)).all()
    report = check(after)
    assert report.across == () and ids(report.within) == ["bc"]


def test_dedup_does_not_depend_on_file_order() -> None:
    rows = [ROWS[place] for place in np.random.default_rng(0).permutation(len(ROWS))]
    assert dedup(manifest(rows)).dropped == dedup(manifest()).dropped


def test_an_empty_split_is_said_once() -> None:
    report = check(replace(manifest(ROWS[:3]), expected={}))
    assert [warning for warning in report.warnings if warning.startswith("test")] == ["test: no images"]
