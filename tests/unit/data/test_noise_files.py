"""Files of class probabilities and confusion matrices: one row for one image, and the words of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.core.spec import Noise
from fer_bench.data.dataset import Dataset
from fer_bench.data.match import ImageIndex
from fer_bench.data.noise.apply import corrupt
from fer_bench.data.noise.files import read_matrix, read_probabilities

CLASSES = ("anger", "fear", "sadness")
IDS = ["train/anger/0.png", "train/fear/0.png", "train/sadness/1.png", "test/anger/0.png", "test/sadness/1.png"]
FACES = Dataset(
    *("faces", CLASSES, np.array(IDS), np.array(["train"] * 3 + ["test"] * 2), np.array([0, 1, 2, 0, 2])),
    fingerprint="0" * 64,
    folder=Path(),
)
ROWS = {"train/anger/0.png": "0.9,0.1,0", "train/fear/0.png": "0.2,0.5,0.3", "train/sadness/1.png": "0.6,0,0.4"}


def write(path: Path, rows: dict[str, str] | list[tuple[str, str]], header: str = "id,anger,fear,sadness") -> Path:
    pairs = list(rows.items()) if isinstance(rows, dict) else rows
    path.write_text("\n".join([header, *(f"{name},{cells}" for name, cells in pairs)]) + "\n")
    return path


def hard(path: Path, rate: float = 2 / 3) -> list[int]:
    return corrupt(FACES, np.arange(3), Noise("instance-hard", rate), file=path).tolist()


# --- one row for one image ---


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        {f"/home/me/{name}": cells for name, cells in reversed(ROWS.items())},
        ROWS | {"test/anger/0.png": "0,0,1", "test/sadness/1.png": "1,0,0", "other.png": "5,5,5"},
        {"anger/0.png": "0.9,0.1,0", "fear/0.png": "0.2,0.5,0.3", "1.png": "0.6,0,0.4"},
    ],
    ids=["ids", "paths", "all images", "ends that one training image has"],
)
def test_rows_belong_to_the_images_that_they_name(rows: dict[str, str], tmp_path: Path) -> None:
    assert hard(write(tmp_path / "p.csv", rows)) == [0, 2, 0]


def test_a_row_is_for_one_image_only(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", {"1.png": "0.6,0,0.4", "0.png": "0.9,0.1,0"})
    with pytest.raises(DataError, match=r"row 2: several images are called '0\.png'.*such as train/anger/0\.png"):
        hard(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("train/fear/0.png", "0.1,0.9,0"), r"row 4: the image is listed twice: 'train/fear/0\.png', as .* in row 2"),
        (("d/train/fear/0.jpg", "0.1,0.9,0"), r"row 4: the image is listed twice: 'd/train/fear/0\.jpg', as 'train/fe"),
    ],
)
def test_an_image_has_one_row_only(row: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        hard(write(tmp_path / "p.csv", [*ROWS.items(), row]))
    np.savez(tmp_path / "p.npz", ids=[*ROWS, row[0]], probabilities=np.tile([0.5, 0.3, 0.2], (4, 1)))
    with pytest.raises(DataError, match=message):
        hard(tmp_path / "p.npz")


# --- probabilities ---


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            "0,0,0",
            r"row 2 \(train/fear/0\.png\): probabilities must .* found 0, 0, 0 with the sum 0; logits need a soft",
        ),
        ("2.5,-1,0.2", r"every row needs 3 finite numbers, none negative \('-1' in row 2\)"),
        ("2.5,1,0.2", r"row 2 \(train/fear/0\.png\): .* found 2\.5, 1, 0\.2 with the sum 3\.7"),
        ("20,50,30", "with the sum 100"),
        ("0.2,0.5,0.302", r"with the sum 1\.002"),
        ("0.2,nan,0.3", r"none negative \('nan' in row 2\)"),
        ("0.2,much,0.3", r"none negative \('much' in row 2\)"),
    ],
)
def test_rows_that_are_no_probabilities_are_named(cells: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        hard(write(tmp_path / "p.csv", ROWS | {"train/fear/0.png": cells}))


def test_arrays_that_are_no_probabilities_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", ids=list(ROWS), probabilities=[[0.5, 0.3, 0.2], [1.5, -1.0, 0.5], [0.5, 0.3, 0.2]])
    with pytest.raises(
        DataError, match=r"p\.npz, row 2 \(train/fear/0\.png\): .* found 1\.5, -1, 0\.5 with the sum 1;"
    ):
        hard(tmp_path / "p.npz")


def test_rounded_probabilities_are_accepted(tmp_path: Path) -> None:
    found = read_probabilities(
        write(tmp_path / "p.csv", {"a": "0.333,0.333,0.333"}), np.array(["a"]), ("anger", "fear", "sadness")
    )
    assert found.tolist() == [[0.333, 0.333, 0.333]]
    seven = tuple("abcdefg")
    cells = ",".join(["0.1425"] * 7)  # sums to 0.9975, as numbers with three decimals do
    path = write(tmp_path / "seven.csv", {"x": cells}, ",".join(["id", *seven]))
    assert read_probabilities(path, np.array(["x"]), seven).shape == (1, 7)


# --- words of classes ---


@pytest.mark.parametrize("header", ["Joy,SAD,Angry", "joy,sadness,anger", "JOY,Sad,ANGER"])
@pytest.mark.parametrize("before", ["", "sep=,\n", "# counts of a network\n"])
def test_a_matrix_spells_classes_as_people_do(header: str, before: str, tmp_path: Path) -> None:
    classes = ("anger", "joy", "sadness")
    path = tmp_path / "m.csv"
    path.write_text(f"{before}{header}\n8,1,2\n3,7,1\n2,0,9\n")
    assert read_matrix(path, classes).tolist() == [[9, 2, 0], [2, 8, 1], [1, 3, 7]]
    names = header.split(",")
    rows = [f"{name},{cells}" for name, cells in zip(names, ("8,1,2", "3,7,1", "2,0,9"), strict=True)]
    path.write_text("\n".join([f"{before}true,{header}", *reversed(rows)]))
    assert read_matrix(path, classes).tolist() == [[9, 2, 0], [2, 8, 1], [1, 3, 7]]


def test_probabilities_spell_classes_as_people_do(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", {"a": "0.7,0.2,0.1"}, "id,JOY,Angry,sad")
    assert read_probabilities(path, np.array(["a"]), ("anger", "joy", "sadness")).tolist() == [[0.2, 0.7, 0.1]]


def test_an_index_compares_names_in_one_unicode_form() -> None:
    index = ImageIndex(["a/gro\u0308ße.png", "b/e\u0301.png", "b/\u00e9.png"])
    found = index.rows(["a/gr\u00f6ße.png", "GRÖSSE.png", "b/\u00e9.png", "b/e\u0301.png", "x/\u00f6.png"])
    assert found.tolist() == [0, -1, 2, 1, -1]
