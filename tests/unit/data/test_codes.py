"""Folders of persons whose file names say what is shown: KDEF as it is released, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from tests.helpers.layouts import save, write

CODES = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}


def lay_kdef(root: Path, sessions: str = "AB", persons: int = 6) -> Path:
    colour = 0
    for session in sessions:
        for sex in "FM":
            for person in range(1, persons + 1):
                name = f"{session}{sex}{person:02d}"
                for code in CODES:
                    save(root / name / f"{name}{code}S.JPG", (colour % 256, colour // 256, 0))
                    colour += 1
    return root


@pytest.mark.parametrize("sessions", ["A", "AB"])
def test_both_sessions_of_kdef_are_one_person(tmp_path: Path, sessions: str) -> None:
    found = open_manifest(lay_kdef(tmp_path / "KDEF", sessions))
    assert found.classes == tuple(sorted(CODES.values())) and len(found) == 12 * 7 * len(sessions)
    labels = {str(name): found.classes[label] for name, label in zip(found.ids, found.label, strict=True)}
    assert all(labels[name] == CODES[name[-7:-5]] for name in labels)
    assert found.group is not None
    assert {str(name)[1:4] for name in found.ids} == set(found.group.tolist()), "F01 for AF01 and BF01"
    split = {part: set(found.group[found.split == part].tolist()) for part in ("train", "test")}
    assert split["test"] and not split["train"] & split["test"]
    assert found.notes == ()


def test_files_and_folders_beside_the_persons_change_nothing(tmp_path: Path) -> None:
    root = lay_kdef(tmp_path / "KDEF")
    write(root / "AF01" / "0readme.txt", "x")
    (root / "empty").mkdir()
    found = open_manifest(root)
    assert len(found.classes) == 7 and len(found) == 168
    assert found.notes == ("1 file with other suffixes left out: .txt 1",)


def test_a_few_images_with_other_names_are_left_out_and_said(tmp_path: Path) -> None:
    root = lay_kdef(tmp_path / "KDEF")
    save(root / "AF03" / "AF03V.JPG")
    found = open_manifest(root)
    assert len(found.classes) == 7 and len(found) == 168
    assert found.notes == ("1 image left out whose names do not say what is shown: AF03/AF03V.JPG",)
    for number in range(5):
        save(root / "AF03" / f"V{number}.JPG")
    with pytest.raises(DataError, match=r"AF01/ and AF02/ .* are the persons of KDEF.*such as AF03/AF03V\.JPG, do not"):
        open_manifest(root)


def test_folders_of_sequences_of_one_person_are_no_classes(tmp_path: Path) -> None:
    for person in range(3):
        for sequence in range(3):
            save(tmp_path / f"S00{person}_00{sequence}" / f"S00{person}_00{sequence}_00000001.png")
    with pytest.raises(DataError, match=r"are the persons of CK\+"):
        open_manifest(tmp_path)


def test_classes_with_a_word_in_their_names_are_no_persons(tmp_path: Path) -> None:
    for number in range(10):
        for name in ("happy_faces", "sad_faces"):
            save(tmp_path / name / f"{name}_{number:04d}.png", (number, len(name), 0))
    assert open_manifest(tmp_path).classes == ("happy_faces", "sad_faces")
