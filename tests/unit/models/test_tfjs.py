"""Models of TensorFlow.js are read out of the file of an npm package, and only the known ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import SpecError
from fer_bench.models import tfjs
from fer_bench.models.tfjs import read_model
from tests.helpers.npm_packages import model_files, sums, write_package

ARRAYS = {
    "a/kernel": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4) / 8,
    "a/axis": np.array(3, dtype=np.int32),
    "a/bias": np.array([-1, 0.5], dtype=np.float32),
}
FILES = model_files(ARRAYS)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "tiny-1.0.0.tgz", {"package/models/other.bin": bytes(100), **FILES})


@pytest.mark.parametrize("half", [False, True])
def test_arrays_keep_names_shapes_types_and_values(half: bool, tmp_path: Path) -> None:
    files = model_files(ARRAYS, half=half)
    found = read_model(write_package(tmp_path / "p.tgz", files), "models/tiny", sums(files))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert np.array_equal(found[name], array), name
    assert len(files["package/models/tiny.bin"]) == (24 + 2) * (2 if half else 4) + 4


def test_another_file_is_refused(package: Path, tmp_path: Path) -> None:
    changed = {**FILES, "package/models/tiny.bin": FILES["package/models/tiny.bin"][:-1] + b"\x01"}
    other = write_package(tmp_path / "other.tgz", changed)
    with pytest.raises(
        SpecError, match=r"other.tgz: models/tiny.bin is not the known file: sha256:\w{64}, not sha256:"
    ):
        read_model(other, "models/tiny", sums(FILES))
    with pytest.raises(SpecError, match=r"models/tiny.json is not the known file"):
        read_model(package, "models/tiny", {**sums(FILES), ".json": "sha256:0"})
    with pytest.raises(SpecError, match=r"tiny-1.0.0.tgz holds no models/absent.json"):
        read_model(package, "models/absent", sums(FILES))


def test_a_damaged_package_is_refused(package: Path, tmp_path: Path) -> None:
    whole, damaged = package.read_bytes(), tmp_path / "damaged.tgz"
    for content in (b"", b"text", whole[:40], whole[: len(whole) // 2], gzip.compress(b"no archive" * 100)):
        damaged.write_bytes(content)
        with pytest.raises(SpecError, match=r"damaged.tgz (is no package as `npm pack` downloads it|holds no models)"):
            read_model(damaged, "models/tiny", sums(FILES))


def test_neither_a_header_nor_a_package_can_ask_for_all_memory(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, tfjs.LARGEST_FILE + 1
    bomb = tmp_path / "bomb.tgz"
    bomb.write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT)))
    with pytest.raises(SpecError, match=r"bomb.tgz is no package .*a header of impossible size"):
        read_model(bomb, "models/tiny", sums(FILES))
    monkeypatch.setattr(tfjs, "LARGEST_FILE", 99)
    with pytest.raises(SpecError, match="impossible size"):
        read_model(package, "models/tiny", sums(FILES))
    monkeypatch.undo()
    monkeypatch.setattr(tfjs, "LARGEST_PACKAGE", 2000)
    with pytest.raises(SpecError, match="it unpacks to more than"):
        read_model(package, "models/tiny", sums(FILES))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_not_followed(kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(FILES["package/models/tiny.json"])
    with tarfile.open("p.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("package/models/tiny.json")
        link.type, link.linkname = kind, "../../secret"
        archive.addfile(link)
        escape = tarfile.TarInfo("../escaped")
        escape.size = 4
        archive.addfile(escape, io.BytesIO(b"evil"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpecError, match=r"holds no models/tiny.json"):
        read_model(Path("p.tgz"), "models/tiny", sums(FILES))
    assert sorted(tmp_path.rglob("*")) == before and not (tmp_path.parent / "escaped").exists(), "nothing is written"
