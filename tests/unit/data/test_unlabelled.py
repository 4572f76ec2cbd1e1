"""Unlabelled images are compared with the test images: copies are counted, or left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_bench.core.errors import DataError
from fer_bench.data import unlabelled
from fer_bench.data.dataset import Dataset
from fer_bench.data.open import open_dataset
from fer_bench.data.unlabelled import open_pool


def face(seed: int) -> np.ndarray:
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9), dtype=np.uint8))
    return np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    for split, first in (("train", 0), ("test", 100)):
        for at, kind in enumerate(("anger", "happiness")):
            for number in range(5):
                save(tmp_path / "faces" / split / kind / f"{number}.png", face(first + 10 * at + number))
    return open_dataset(str(tmp_path / "faces"))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Ten new images, two test images, and three that differ from test images in one pixel."""
    for number in range(10):
        save(tmp_path / "pool" / f"{number}.png", face(1000 + number))
    for number in range(5):
        pixels = face(100 + number).copy()
        pixels[0, 0] = pixels[0, 0] if number < 2 else 255 - pixels[0, 0]
        save(tmp_path / "pool" / "more" / f"test{number}.png", pixels)
    return tmp_path / "pool"


def test_copies_of_test_images_are_counted(faces: Dataset, pool: Path) -> None:
    found = open_pool(pool, faces, 32, "")
    assert len(found) == 15
    assert found.assumed == ("2 of them copies of test images", "3 of them near copies of test images")


def test_copies_are_left_out_where_that_is_asked_for(faces: Dataset, pool: Path) -> None:
    exact, near, every = (open_pool(pool, faces, 32, kind) for kind in ("exact", "near", ""))  # type: ignore[arg-type]
    assert (len(exact), len(near)) == (13, 10)
    assert exact.assumed == ("2 copies of test images left out", "3 of them near copies of test images")
    assert near.assumed == ("5 near copies of test images left out",)
    assert len({each.fingerprint for each in (exact, near, every)}) == 3, "the key of a run tells them apart"
    assert not any("test" in name for name in near.ids) and near.pixels(32).shape[0] == 10


def test_training_images_are_no_copies_of_test_images(faces: Dataset, tmp_path: Path) -> None:
    assert open_pool(tmp_path / "faces" / "train", faces, 32, "near").assumed == ()
    with pytest.raises(DataError, match="all 10 images are copies of test images"):
        open_pool(tmp_path / "faces" / "test", faces, 32, "exact")


def test_they_are_compared_once(faces: Dataset, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_pool(pool, faces, 32, "")
    monkeypatch.setattr(unlabelled, "find_twins", lambda *_: pytest.fail("they were compared again"))
    assert open_pool(pool, faces, 32, "").assumed == first.assumed
    (known,) = Path(first.folder).glob("copies-*.json")
    known.write_text("damaged")
    with pytest.raises(pytest.fail.Exception, match="compared again"):
        open_pool(pool, faces, 32, "")
