"""Lists of known data sets that are not as released: boxes in one list, rows in another order, columns twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.readers import affectnet, fer2013, ferplus, sfew
from fer_bench.data.sources import FileSource
from tests.helpers.layouts import (
    lay_affectnet,
    lay_affectnet_folders,
    lay_fer2013,
    lay_ferplus,
    lay_sfew,
    save,
    write,
)

# --- AffectNet -------------------------------------------------------------------------------------------------------


def change_header(root: Path, name: str, old: str, new: str) -> None:
    path = root / "affectnet" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("header", ["Face_X,face_y,FACE_WIDTH,face_height", " face_x, face_y, face_width, face_height"])
def test_affectnet_boxes_are_read_in_any_letters(tmp_path: Path, header: str) -> None:
    lay_affectnet(tmp_path, boxes=True)
    wanted = affectnet.read(tmp_path).fingerprint()
    change_header(tmp_path, "training.csv", "face_x,face_y,face_width,face_height", header)
    found = affectnet.read(tmp_path)
    assert isinstance(found.source, FileSource) and found.source.boxes is not None
    assert found.source.boxes.tolist() == [[2, 1, 6, 6]] * len(found) and found.fingerprint() == wanted


@pytest.mark.parametrize("lacking", ["training.csv", "validation.csv"])
def test_affectnet_boxes_in_one_list_only_are_an_error(tmp_path: Path, lacking: str) -> None:
    lay_affectnet(tmp_path, boxes=True)
    change_header(tmp_path, lacking, ",face_x,face_y,face_width,face_height", "")
    change_header(tmp_path, lacking, ",2,1,4,5", "")
    other = {"training.csv": "validation.csv", "validation.csv": "training.csv"}[lacking]
    with pytest.raises(DataError, match=rf"{other} has the columns face_x, .*, and {lacking} has none of them"):
        affectnet.read(tmp_path)


def test_affectnet_a_part_of_the_columns_of_boxes_is_an_error(tmp_path: Path) -> None:
    lay_affectnet(tmp_path, boxes=True)
    change_header(tmp_path, "training.csv", "face_x", "x")
    with pytest.raises(
        DataError, match=r"training\.csv: no column 'face_x', which the box .*; found subDir.*, x, face_y"
    ):
        affectnet.read(tmp_path)


def test_affectnet_annotations_without_an_image_are_counted(tmp_path: Path) -> None:
    lay_affectnet_folders(tmp_path)
    assert affectnet.read(tmp_path).notes == ()
    annotations = tmp_path / "affectnet" / "train_set" / "annotations"
    np.save(annotations / "7_exp.npy", np.array("3"))
    np.save(annotations / "0_val.npy", np.array("0.1"))
    assert affectnet.read(tmp_path).notes == ("1 annotation without an image left out: 7_exp.npy",)


def test_affectnet_numbers_that_are_no_expressions_are_counted(tmp_path: Path) -> None:
    lay_affectnet(tmp_path)
    change_header(tmp_path, "training.csv", "train4.jpg,10", "train4.jpg,11")
    found = affectnet.read(tmp_path)
    assert len(found) == 5
    assert found.notes == ("training.csv: 1 image left out whose expression is not 0 to 10, such as 11",)


# --- FER2013 and FERPlus ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["emotion,Emotion,pixels,Usage", "emotion,emotion,pixels,Usage"])
def test_a_column_that_is_there_twice_is_an_error(tmp_path: Path, header: str) -> None:
    path = lay_fer2013(tmp_path, header)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"0,{line}" for line in lines[1:])]))
    with pytest.raises(DataError, match=r"fer2013\.csv: 2 columns are called 'emotion': 'emotion' and '[eE]motion'"):
        fer2013.read(tmp_path)


@pytest.mark.parametrize("before", ["\n", "\n \n", ",,\n", "\ufeff\r\n"])
def test_empty_lines_before_the_header_are_skipped(tmp_path: Path, before: str) -> None:
    wanted = fer2013.load(lay_fer2013(tmp_path / "a"))
    path = lay_fer2013(tmp_path / "b")
    path.write_text(before + path.read_text(), encoding="utf-8")
    for found, each in zip(fer2013.load(path), wanted, strict=True):
        assert np.array_equal(found, each)


def lay_many(root: Path, order: list[int], names: bool = True) -> Path:
    """Seventy faces whose majority is their label in FER2013 for two of three; rows of the votes in ``order``."""
    faces, votes = [], []
    for row in range(70):
        label = row % 7
        seen = label if row % 3 else (label + 1) % 7
        faces.append(f"{label},{' '.join(['9'] * 48 * 48)},Training")
        counts = [0] * 10
        counts[ferplus.CLASSES.index(fer2013.CLASSES[seen])] = 10
        votes.append(f"Training,{f'fer{row:07d}.png' if names and row != 5 else ''},{','.join(map(str, counts))}")
    write(root / "fer2013" / "fer2013.csv", "\n".join(["emotion,pixels,Usage", *faces]))
    header = "Usage,Image name," + ",".join(ferplus.VOTE_COLUMNS)
    return write(root / "ferplus" / "fer2013new.csv", "\n".join([header, *(votes[row] for row in order)]))


SHUFFLED = np.random.default_rng(0).permutation(70).tolist()


@pytest.mark.parametrize("names", [True, False])
def test_ferplus_as_released(tmp_path: Path, names: bool) -> None:
    lay_many(tmp_path, list(range(70)), names)
    found = ferplus.read(tmp_path)
    assert found.human is not None and len(found) == 70
    assert [name for name, agrees in zip(found.ids, found.human == found.label, strict=True) if not agrees] == [
        f"row{row:05d}" for row in range(0, 70, 3)
    ]


@pytest.mark.parametrize("order", [SHUFFLED, [1, 0, *range(2, 70)]])
def test_ferplus_rows_in_another_order_are_an_error(tmp_path: Path, order: list[int]) -> None:
    path = lay_many(tmp_path, order)
    with pytest.raises(
        DataError, match=r"data row \d+: fer\d+\.png comes after fer\d+\.png: the rows must be in the order"
    ):
        ferplus.read(tmp_path)
    path.write_text(path.read_text().replace("Image name", "image NAME"))
    with pytest.raises(DataError, match="the rows must be in the order"):
        ferplus.read(tmp_path)


@pytest.mark.parametrize("order", [SHUFFLED, [*range(1, 70), 0]])
def test_ferplus_votes_of_other_faces_are_an_error_without_names(tmp_path: Path, order: list[int]) -> None:
    lay_many(tmp_path, order, names=False)
    with pytest.raises(DataError, match=r"for \d+% of the faces, where chance is 1\d% and the release has 67%"):
        ferplus.read(tmp_path)


def test_ferplus_votes_below_zero_are_an_error(tmp_path: Path) -> None:
    path = lay_ferplus(tmp_path)
    path.write_text(path.read_text().replace("fer0000002.png,1,1", "fer0000002.png,1,-1"))
    with pytest.raises(DataError, match=r"fer2013new\.csv, data row 2: happiness is -1, not a number of votes from 0"):
        ferplus.read(tmp_path)


# --- SFEW ------------------------------------------------------------------------------------------------------------


def test_sfew_says_what_is_left_out(tmp_path: Path) -> None:
    lay_sfew(tmp_path)
    wanted = sfew.read(tmp_path)
    assert wanted.notes == ()
    write(tmp_path / "sfew" / "Train" / "Angry" / "b.heic", "x")
    save(tmp_path / "sfew" / "Train" / "Contempt" / "1.png")
    save(tmp_path / "sfew" / "Val" / "2.png")
    found = sfew.read(tmp_path)
    assert found.fingerprint() == wanted.fingerprint()
    assert found.notes == (
        "2 images outside of the class folders left out: Train/Contempt/1.png, Val/2.png",
        "1 file with other suffixes left out: .heic 1",
    )
