"""Images that show the same picture: found across splits, counted by the check, left out by ``--dedup near``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fer_bench.data.catalog import open_manifest
from fer_bench.data.check import check
from fer_bench.data.dataset import Manifest
from fer_bench.data.duplicates import dedup
from fer_bench.data.sources import ArraySource
from fer_bench.data.twins import Thumbnails, find_twins


def picture(seed: int, side: int = 64) -> Image.Image:
    """A picture of coarse and fine structure, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    fine = rng.normal(0, 6, (side, side))
    return Image.fromarray(np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


CHANGES = {
    "the same": lambda image: image,
    "one pixel": lambda image: Image.fromarray(np.where(np.arange(4096).reshape(64, 64) == 9, 0, np.asarray(image))),
    "smaller": lambda image: image.resize((40, 40)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "a little cropped": lambda image: image.crop((1, 1, 63, 63)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "a mark on it": lambda image: Image.fromarray(np.where(np.indices((64, 64)).max(0) < 8, 255, np.asarray(image))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_twins(change: str) -> None:
    images = [picture(seed) for seed in range(20)]
    changed = [CHANGES[change](image) for image in reversed(images)]
    found = find_twins(Thumbnails.of(map(pixels, images)), Thumbnails.of(map(pixels, changed)))
    assert found.tolist() == list(range(19, -1, -1))


def test_other_pictures_and_plain_ones_are_none() -> None:
    some = Thumbnails.of(pixels(picture(seed)) for seed in range(300))
    others = Thumbnails.of(pixels(picture(seed)) for seed in range(300, 600))
    assert (find_twins(some, others) == -1).all()
    flat = Thumbnails.of(np.full((3, 8, 8), level, dtype=np.uint8) for level in (0, 100))
    assert (find_twins(flat, flat) == -1).all(), "exact copies are found by their content"
    nothing = Thumbnails.of([])
    assert (find_twins(some, nothing) == -1).all() and len(find_twins(nothing, some)) == 0


def manifest(seeds: list[int], split: list[str]) -> Manifest:
    """Pictures by seed; one that repeats is stored with another pixel."""
    frames = []
    for number, seed in enumerate(seeds):
        frame = np.asarray(picture(seed, 32)).copy()
        frame[0, 0] = number
        frames.append(frame)
    ids = np.array([f"{number:03d}" for number in range(len(seeds))])
    label = np.arange(len(seeds), dtype=np.int64) % 2
    return Manifest("tiny", ("a", "b"), ids, np.array(split), label, source=ArraySource(np.stack(frames)))


def test_the_check_counts_held_out_images_with_a_near_copy_in_train() -> None:
    report = check(manifest([0, 1, 2, 3, 0, 1, 4, 5], ["train"] * 4 + ["test", "test", "test", "val"]))
    assert [(copy.id, twin.id) for copy, twin in report.twins] == [("004", "000"), ("005", "001")]
    assert report.leaked == {"val": 0, "test": 0}
    assert "test: 2 of 3 images have a near copy in train (--dedup near leaves it out of train)" in report.warnings


def test_dedup_near_leaves_out_the_training_images() -> None:
    before = manifest([0, 1, 2, 3, 0, 1, 4, 3], ["train"] * 4 + ["test", "test", "test", "val"])
    assert dedup(before).manifest is before
    after, dropped = dedup(before, near=True)
    assert dropped == {"train": ["000", "001", "003"], "val": []}
    assert after.assumed == ("3 train images left out as near copies of held-out images",)
    assert check(after).twins == ()


def test_frames_of_one_sequence_are_found_where_the_split_parts_them(tmp_path: Path) -> None:
    """As CK+ circulates: three frames that are nearly one image."""
    for kind in ("anger", "happiness"):
        for person in range(12):
            for frame in range(3):
                image = np.asarray(picture(100 * (kind == "anger") + person)).copy()
                image[0, 0] = frame
                path = tmp_path / kind / f"S{person:03d}_001_0000001{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    assert check(open_manifest(tmp_path)).warnings == ()
    parted = open_manifest(tmp_path)
    parted = replace(parted, split=np.where([name.endswith("0.png") for name in parted.ids], "test", "train"))
    assert "test: 24 of 24 images have a near copy in train" in check(parted).warnings[0]
