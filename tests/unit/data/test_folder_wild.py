"""Folders of images with what systems and people leave in them: Unicode forms, leftovers, classes in one split."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.names import class_names
from fer_bench.data.open import open_dataset
from fer_bench.data.readers import folder
from tests.helpers.layouts import save


def tree(root: Path, *folders: str) -> Path:
    for at, inner in enumerate(folders):
        for number in range(3):
            save(root / inner / f"{number}.png", (at, number, 7))
    return root


def form(name: str, text: str) -> str:
    return unicodedata.normalize(name, text)  # type: ignore[arg-type]


# --- Unicode ---------------------------------------------------------------------------------------------------------


def test_a_class_folder_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    nfc, nfd = form("NFC", "Ärger"), form("NFD", "Ärger")
    found = folder.read(tree(tmp_path, f"train/{nfd}", "train/Freude", f"test/{nfc}", "test/Freude"))
    assert found.classes == ("Freude", nfc)
    assert [int(((found.split == part) & (found.label == 1)).sum()) for part in ("train", "test")] == [3, 3]
    assert f"{nfd} (in another Unicode form) and {nfc} are one class, {nfc}" in found.assumed


def test_names_in_one_form_stay_as_they_are() -> None:
    for text in (form("NFC", "Ärger"), form("NFD", "Ärger"), form("NFD", "ärger"), "Calm", "straße"):
        assert class_names([text]) == ({text: text}, ())
    nfd = [form("NFD", "Ärger"), form("NFD", "ärger")]
    assert set(class_names(nfd)[0].values()) == {nfd[1]}, "small letters, as in ASCII"


def test_folders_that_may_be_splits_are_compared_in_one_form(tmp_path: Path) -> None:
    inner = [f"{part}/{form(name, word)}" for part, name in (("a", "NFC"), ("b", "NFD")) for word in ("Ärger", "Güte")]
    with pytest.raises(DataError, match="a/ and b/ hold the same folders"):
        folder.read(tree(tmp_path, *inner))


# --- classes without test images -------------------------------------------------------------------------------------


def test_a_class_without_test_images_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    parts = ("train/angry", "train/happy", "train/sad", "val/angry", "val/sad", "test/angry", "test/happy")
    root = tree(tmp_path / "lacking", *parts)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_dataset(str(root))
    assert [record.getMessage() for record in caplog.records] == [
        "lacking: no validation image of happiness: means over classes are of the other 2",
        "lacking: no test image of sadness: means over classes are of the other 2",
    ]


@pytest.mark.parametrize("name", ["Thumbnails", "_unsorted", "Kopie"])
@pytest.mark.parametrize("classes", [("angry", "happy"), ("0_angry", "3_happy"), ("0", "1")])
def test_a_folder_in_train_only_that_is_no_expression_is_asked_about(
    tmp_path: Path, name: str, classes: tuple[str, str]
) -> None:
    tree(tmp_path, *(f"{part}/{each}" for part in ("train", "test") for each in classes), f"train/{name}")
    message = rf"{name}/ is in the training split only, such as train/{name}/0\.png, and called like no expression"
    with pytest.raises(DataError, match=message):
        folder.read(tmp_path)


@pytest.mark.parametrize(
    "parts",
    [
        ("train/angry", "train/happy", "train/contempt", "test/angry", "test/happy"),
        ("train/angry", "train/happy", "train/calm", "test/angry", "test/happy", "test/calm"),
        ("train/calm", "train/bored", "train/tired", "test/calm", "test/bored"),
        ("angry", "happy", "Thumbnails"),
    ],
)
def test_other_classes_are_read_as_they_are(tmp_path: Path, parts: tuple[str, ...]) -> None:
    assert len(folder.read(tree(tmp_path, *parts)).classes) == 3


# --- folders of systems, and folders between -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["$Recycle.Bin", "@eadir", "__macosx", "RECYCLER", "Lost+Found", ".thumbnails", "@__thumb", "__pycache__"]
)
def test_folders_of_systems_are_no_classes_in_any_letters(tmp_path: Path, name: str) -> None:
    plain = ("train/angry", "train/happy", "test/angry", "test/happy")
    wanted = folder.read(tree(tmp_path / "a" / "faces", *plain))
    found = folder.read(tree(tmp_path / "b" / "faces", *plain, f"train/{name}", f"test/angry/{name}"))
    assert found.classes == ("anger", "happiness") and found.notes == ()
    assert found.fingerprint() == wanted.fingerprint()


@pytest.mark.parametrize("between", ["images", "Images", "data"])
def test_classes_may_be_in_a_folder_of_images_of_each_split(tmp_path: Path, between: str) -> None:
    parts = (f"{part}/{between}/{name}" for part in ("train", "test") for name in ("angry", "happy"))
    found = open_manifest(tree(tmp_path, *parts))
    assert found.classes == ("anger", "happiness") and found.notes == () and found.group is None
    assert sorted(zip(found.split.tolist(), found.label.tolist(), strict=True)) == sorted(
        [("train", 0), ("train", 1), ("test", 0), ("test", 1)] * 3
    )
