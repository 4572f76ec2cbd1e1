"""The cache of decoded images, where others can write into its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fer_bench.data.cache import PixelFile


@pytest.mark.parametrize("trap", ["symbolic link", "hard link", "pipe"])
@pytest.mark.parametrize("name", ["images-8.part", "images-8.sha256"])
def test_the_cache_is_no_way_into_another_file(name: str, trap: str, tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "cache"
    mine.write_text("precious\n")
    folder.mkdir()
    if trap == "symbolic link":
        (folder / name).symlink_to(mine)
    elif trap == "hard link":
        os.link(mine, folder / name)
    elif name.endswith(".part"):
        os.mkfifo(folder / name)
    pixels = np.arange(4 * 3 * 64, dtype=np.uint8).reshape(4, 3, 8, 8)
    cached = PixelFile(folder, 4, 8)
    cached.fill(lambda: lambda rows: pixels[rows.start : rows.stop], "faces")
    assert mine.read_text() == "precious\n"
    assert (cached.open() == pixels).all()
    assert not any(path.is_symlink() for path in folder.iterdir())
