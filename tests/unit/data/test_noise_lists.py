"""Lists of noisy labels: published ones and those that people write."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.core.spec import Noise, RunSpec
from fer_bench.data.dataset import Dataset
from fer_bench.data.match import AMBIGUOUS, UNKNOWN, ImageIndex
from fer_bench.data.noise.apply import corrupt
from fer_bench.data.noise.files import read_matrix, read_probabilities
from fer_bench.data.noise.lists import read_list
from fer_bench.data.noise.numbers import ORDERS
from fer_bench.data.splits import make_splits

RAF, FER, PLUS, AFFECTNET = ORDERS.values()
SEVEN = tuple(sorted(RAF))
TRAIN = np.array([12, 3, 7, 40, 20, 7, 25])
"""Training images of each class of a small RAF-DB."""


def dataset(classes: tuple[str, ...], counts: Any = TRAIN, ids: str = "{split}_{number:05d}.jpg") -> Dataset:
    """Training images with these class counts, and one test image of each class."""
    numbers = np.broadcast_to(counts, len(classes))
    label = np.concatenate([np.repeat(np.arange(len(classes)), numbers), np.arange(len(classes))])
    split = np.array(["train"] * int(numbers.sum()) + ["test"] * len(classes))
    names = [
        ids.format(split=part, number=number, name=classes[code])
        for number, (part, code) in enumerate(zip(split, label, strict=True), 1)
    ]
    return Dataset("faces", classes, np.array(names), split, label, fingerprint="0" * 64, folder=Path())


def train_rows(faces: Dataset) -> np.ndarray:
    return np.flatnonzero(faces.split == "train")


def noisy(faces: Dataset, every: int = 4) -> np.ndarray:
    """Labels of all images; of every fourth training image the next class."""
    rows = np.arange(len(faces))
    wrong = (rows % every == 0) & (faces.split == "train")
    return np.where(wrong, (faces.label + 1) % len(faces.classes), faces.label)


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes((end.join(lines) + end).encode())
    return path


def labels(path: Path, faces: Dataset) -> np.ndarray:
    return corrupt(faces, train_rows(faces), Noise("file"), file=path)


# --- public lists ----------------------------------------------------------------------------------------------------

PUBLIC = {
    "FERDenoise": (1, "{name} {code}", "\n", True),
    "FERDenoise us": (1, "{name} {code}", "\r\n", True),
    "EAC": (1, "{name} {code}", "\n", False),
    "SCN": (0, "/home/user/basic/Image/aligned/{stem}_aligned.jpg {code}", "\n", False),
    "SCN train.txt": (0, "/home/user/basic/Image/aligned/{stem}_aligned.jpg {code}", "\r\n", False),
    "noisyFER": (1, "{name} {code}", "\n", True),
    "NLA, with a flag": (1, "{name} {code} 0", "\n", False),
    "aligned and two numbers": (1, "{stem}_aligned {code} 4", "\n", True),
}


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("classes", [RAF, PLUS[:7]], ids=["rafdb", "as a folder in another order"])
def test_public_lists_of_rafdb(name: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    """Numbers are RAF-DB's, also where a data set with its images has its classes in another order."""
    base, pattern, end, with_test = PUBLIC[name]
    faces = dataset(classes)
    wanted = noisy(faces)
    lines = [
        pattern.format(name=image, stem=image[:-4], code=RAF.index(classes[code]) + base)
        for image, code, split in zip(faces.ids, wanted, faces.split, strict=True)
        if with_test or split == "train"
    ]
    path = write(tmp_path / "noise.txt", lines, end)
    assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])
    notes = read_list(path, faces).notes
    order = "the data set" if classes == RAF else "RAF-DB"
    assert notes[0].startswith(f"its numbers count from {base} in the order of {order} (surprise, fear,")
    assert any("7 lines of test images ignored" in note for note in notes) == with_test


def test_a_wrong_test_label_changes_nothing(tmp_path: Path) -> None:
    faces = dataset(RAF)
    lines = [f"{name} {code + 1}" for name, code in zip(faces.ids, noisy(faces), strict=True)]
    changed = [line if line.startswith("train") else f"{line.split()[0]} 9" for line in lines]
    assert np.array_equal(
        labels(write(tmp_path / "a.txt", lines), faces), labels(write(tmp_path / "b.txt", changed), faces)
    )


def test_valence_and_arousal_are_no_labels(tmp_path: Path) -> None:
    faces = dataset(RAF)
    path = write(tmp_path / "list_va.txt", [f"{name} -0.3414750397205353 -0.1292310357093811" for name in faces.ids])
    with pytest.raises(DataError, match=r"labels are fractions, such as -0\.34.*: valence and arousal are no"):
        labels(path, faces)


def test_a_table_with_a_header_in_the_order_of_affectnet(tmp_path: Path) -> None:
    faces = dataset(AFFECTNET[:7], ids="{number}/{split}{number}.jpg")
    wanted = noisy(faces)
    rows = [f"{name},{code},0.1,-0.2" for name, code in zip(faces.ids, wanted, strict=True)]
    header = "subDirectory_filePath,expression,valence,arousal"
    path = write(tmp_path / "training_RAFModel.csv", [header, *rows, "999/other.jpg,9,-2,-2"])
    assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])
    by_name = [f"Manually_Annotated/{row}" for row in rows]
    assert np.array_equal(labels(write(tmp_path / "b.csv", [header, *by_name]), faces), wanted[train_rows(faces)])


# --- the order of numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("classes", [RAF, FER, PLUS[:7], PLUS, AFFECTNET, SEVEN], ids=lambda value: value[0])
def test_numbers_are_in_the_data_sets_own_order(base: int, classes: tuple[str, ...], tmp_path: Path) -> None:
    faces = dataset(classes, 10)
    for every in (2, 3, 1000):
        wanted = noisy(faces, every)
        path = write(tmp_path / f"{every}.txt", [f"{n} {c + base}" for n, c in zip(faces.ids, wanted, strict=True)])
        assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])
        assert f"count from {base} in the order of the data set" in read_list(path, faces).notes[0]


@pytest.mark.parametrize(("own", "other"), [(FER, PLUS[:7]), (FER, SEVEN), (SEVEN, FER), (PLUS, AFFECTNET)])
def test_another_known_order_is_found_and_said(
    own: tuple[str, ...], other: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = dataset(own, 12)
    wanted = noisy(faces)
    path = write(tmp_path / "l.txt", [f"{n} {other.index(own[c])}" for n, c in zip(faces.ids, wanted, strict=True)])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])
        labels(path, faces)
    known = {"the alphabet": SEVEN} | ORDERS
    title = next(name for name, order in known.items() if tuple(c for c in order if c in other) == other)
    found = [record.getMessage() for record in caplog.records if "in the order of" in record.getMessage()]
    assert len(found) == 1 and f"in the order of {title} ({other[0]}, " in found[0], "once, and which"


def test_much_noise_does_not_move_the_order(tmp_path: Path) -> None:
    faces = dataset(FER, 300)
    rng = np.random.default_rng(0)
    for rate in (0.5, 0.7, 0.8):
        wrong = (faces.label + rng.integers(1, 7, len(faces))) % 7
        wanted = np.where(rng.random(len(faces)) < rate, wrong, faces.label)
        path = write(tmp_path / f"{rate}.txt", [f"{n} {c}" for n, c in zip(faces.ids, wanted, strict=True)])
        assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])


def test_an_unknown_order_is_refused(tmp_path: Path) -> None:
    faces = dataset(RAF, 5)
    path = write(tmp_path / "list.txt", [f"{n} {6 - c}" for n, c in zip(faces.ids, faces.label, strict=True)])
    with pytest.raises(DataError, match=r"only 14% of its labels are the reference labels.*Write class names"):
        labels(path, faces)


def test_numbers_of_numbered_classes(tmp_path: Path) -> None:
    faces = dataset(tuple("1234567"))
    wanted = noisy(faces)
    as_they_are = write(tmp_path / "a.txt", [f"{n} {faces.classes[c]}" for n, c in zip(faces.ids, wanted, strict=True)])
    from_zero = write(tmp_path / "b.txt", [f"{n} {c}" for n, c in zip(faces.ids, wanted, strict=True)])
    for path in (as_they_are, from_zero):
        assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])


@pytest.mark.parametrize("classes", [("anger", "happiness", "sadness"), SEVEN[:6]])
def test_a_part_of_the_classes_in_the_numbers_of_the_whole(classes: tuple[str, ...], tmp_path: Path) -> None:
    faces = dataset(classes, 20)
    wanted = noisy(faces)
    path = write(
        tmp_path / "l.txt", [f"{n} {RAF.index(classes[c]) + 1}" for n, c in zip(faces.ids, wanted, strict=True)]
    )
    assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])
    assert "count from 1 in the order of RAF-DB" in read_list(path, faces).notes[0]


def test_the_label_may_come_first(tmp_path: Path) -> None:
    faces = dataset(RAF, ids="{split}/{name} {number}.png")
    wanted = noisy(faces)
    for separator in (" ", ",", "\t"):
        lines = [f"{c + 1}{separator}{n}" for n, c in zip(faces.ids, wanted, strict=True)]
        assert np.array_equal(labels(write(tmp_path / "list.txt", lines), faces), wanted[train_rows(faces)])


def test_a_list_without_the_first_and_the_last_class(tmp_path: Path) -> None:
    faces = dataset(RAF)
    rows = np.flatnonzero((faces.label > 0) & (faces.label < 6) & (faces.split == "train"))
    path = write(tmp_path / "list.txt", [f"{faces.ids[row]} {faces.label[row] + 1}" for row in rows])
    assert np.array_equal(read_list(path, faces).label[rows], faces.label[rows])


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.35, 0.6, 0.9, 1.0])
def test_class_names_load_at_any_noise(rate: float, tmp_path: Path) -> None:
    faces = dataset(("anger", "happiness", "sadness"), 20)
    rng = np.random.default_rng(3)
    flip = rng.permutation(len(faces)) < round(rate * len(faces))
    wanted = np.where(flip, (faces.label + rng.integers(1, 3, len(faces))) % 3, faces.label)
    path = write(tmp_path / "list.txt", [f"{n} {faces.classes[c]}" for n, c in zip(faces.ids, wanted, strict=True)])
    assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])


@pytest.mark.parametrize("data_seed", range(8))
def test_a_list_is_judged_as_a_whole(data_seed: int, tmp_path: Path) -> None:
    """A held-out tenth may be wrong more often than not, by chance."""
    faces = dataset(FER, 6)
    wanted = noisy(faces, 2)
    path = write(tmp_path / "list.txt", [f"{n} {c}" for n, c in zip(faces.ids, wanted, strict=True)])
    splits = make_splits(
        faces, RunSpec("faces", "f" * 64, "m", "c", {}, noise=Noise("file"), data_seed=data_seed), noise_file=path
    )
    assert np.array_equal(splits.noisy_label, wanted[splits.train])
    assert np.array_equal(splits.val_label, wanted[splits.val])


WORDS = {"anger": "angry", "happiness": "Happy", "sadness": "SAD"}


@pytest.mark.parametrize(
    ("ids", "pattern", "separator"),
    [
        ("{split}/{name}/{number}.png", "{id}", " "),
        ("{split}/{name}/{number}.png", "{id}", ","),
        ("{split}/{name}/{number}.png", "{id}", ", "),
        ("{split}/{name}/{number}.png", "{id}", "\t"),
        ("{split}/{name}/{number}.png", "{id}", ";"),
        ("{split}/{name}/{number}.png", "{windows}", " "),
        ("{split}/{name}/{number}.png", "D:\\faces\\{windows}", " "),
        ("{split}/{name}/{number}.png", "./{id}", " "),
        ("{split}/{name}/{number}.png", "/home/me/my data/{id}", " "),
        ("{split}/{name}/{name} ({number}).png", "{id}", " "),
        ("{split}/{name}/{name} ({number}).png", '"{id}"', ","),
        ("{split}/{name}/{name}, {number}.png", "{id}", ","),
        ("{name}{number}.jpg#0", "{id}", " "),
        ("{split}_{number}.jpg", "{split}_{number}_aligned.jpg", " "),
        ("{split}_{number}.jpg", "{split}_{number}", "\t"),
        ("{split}/{name}/{number}.png", "{capital}", " "),
    ],
)
@pytest.mark.parametrize("flag", ["", "0"])
def test_words_and_paths_as_people_write_them(
    ids: str, pattern: str, separator: str, flag: str, tmp_path: Path
) -> None:
    faces = dataset(tuple(WORDS), 8, ids)
    wanted = noisy(faces)
    lines = []
    for number, (image, code, split) in enumerate(zip(faces.ids, wanted, faces.split, strict=True), 1):
        name = pattern.format(
            id=image, capital=str(image).upper(), windows=str(image).replace("/", "\\"), split=split, number=number
        )
        lines.append(separator.join([name, WORDS[faces.classes[code]], *([flag] if flag else [])]))
    path = write(tmp_path / "list.txt", lines, "\r\n")
    assert np.array_equal(labels(path, faces), wanted[train_rows(faces)])


def test_a_matrix_and_probabilities_in_the_words_of_folders(tmp_path: Path) -> None:
    classes = ("anger", "happiness", "sadness")
    matrix = write(tmp_path / "matrix.csv", ["angry, happy,Sad", "8,1,1", "2,8,1", "1,3,8"])
    assert read_matrix(matrix, classes).tolist() == [[8, 1, 1], [2, 8, 1], [1, 3, 8]]
    named = write(tmp_path / "named.csv", ["true,sad,happy,angry", "happy,1,8,2", "angry,1,1,8", "sad,8,3,1"])
    assert read_matrix(named, classes).tolist() == [[8, 1, 1], [2, 8, 1], [1, 3, 8]]
    european = write(tmp_path / "european.csv", ["angry;happy;Sad", "8;1;1", "2;8;1", "1;3;8"])
    assert read_matrix(european, classes).tolist() == [[8, 1, 1], [2, 8, 1], [1, 3, 8]]
    chances = write(tmp_path / "p.csv", ["id,Happy,angry,sad", "train\\a (1).png,0.7,0.2,0.1"])
    assert read_probabilities(chances, np.array(["train/a (1).png"]), classes).tolist() == [[0.2, 0.7, 0.1]]


def test_a_clean_list_is_said_to_be_one(tmp_path: Path) -> None:
    faces = dataset(RAF)
    path = write(tmp_path / "list.txt", [f"{n} {c + 1}" for n, c in zip(faces.ids, faces.label, strict=True)])
    assert "all of its labels are the reference labels: there is no noise" in read_list(path, faces).notes


def test_an_edited_list_is_read_again(tmp_path: Path) -> None:
    faces = dataset(("a", "b"), 3)
    path = write(tmp_path / "list.txt", [f"{name} a" for name in faces.ids])
    assert not labels(path, faces).any()
    write(path, [f"{name} b" for name in faces.ids])
    assert labels(path, faces).all()


# --- other formats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["list.json", "entries.json", "list.jsonl", "list.txt"])
def test_lists_in_other_formats(name: str, tmp_path: Path) -> None:
    faces = dataset(RAF, 2)
    rows = {str(image): int(label) + 1 for image, label in zip(faces.ids, faces.label, strict=True)}
    entries = [{"Image": image, "label": label} for image, label in rows.items()]
    text = {
        "list.json": json.dumps(rows, indent=1),
        "entries.json": json.dumps(entries),
        "list.jsonl": "\n".join(map(json.dumps, entries)),
        "list.txt": "\n".join(f"{image}|{label}" for image, label in rows.items()),
    }[name]
    path = tmp_path / name
    path.write_text(text)
    assert labels(path, faces).tolist() == faces.label[faces.rows("train")].tolist()


@pytest.mark.parametrize("word", ["{}", "{:.0s}angry", "0_Angry"])
def test_words_mean_the_class_whose_name_has_a_number(word: str, tmp_path: Path) -> None:
    faces = dataset(("0_angry", "1_happy"), 2)
    train = faces.ids[faces.rows("train")]
    path = write(tmp_path / "list.txt", [f"{name} {word.format('angry')}" for name in train])
    assert labels(path, faces).tolist() == [0] * len(train)
    path = write(tmp_path / "list.txt", [f"{name} joyful" for name in train])
    with pytest.raises(DataError, match="label 'joyful' is neither a number nor one of 0_angry, 1_happy"):
        labels(path, faces)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.npy", b"\x93NUMPY", "is no text file: it is an array of NumPy"),
        ("list.pt", b"PK\x03\x04", "is no text file: it is an archive"),
        ("list.pkl", b"\x80\x04x", "is no text file: it is a pickle"),
        ("list.json", b"[1, 2]", "expected an object of labels by image, or objects with the keys image and label"),
        ("list.json", b"[]", "expected an object of labels by image"),
        ("list.json", b"{", "expected an object of labels by image"),
        ("p.csv", b"id,surprise,Fear,anger\n1,0,0,1", "names several classes: probabilities are for --noise-type inst"),
        ("list.txt", b"test_00008.jpg 1\n", "it names images of test, and a list gives training labels only"),
        ("list.txt", b"train_00001.jpg hapiness\n", "did you mean 'happiness'"),
    ],
)
def test_files_that_are_no_list_are_recognised(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        labels(tmp_path / name, dataset(RAF, 1))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_00001.jpg 1\ntrain_00002.jpg 7\n", r"5 of 7 training images .* train_00003\.jpg, train_00004\.jpg, "),
        ("train_00001.jpg 0\ntrain_00002.jpg 7\n", "labels run from 0 to 7; 7 classes are counted from 0 to 6 or from"),
        ("train_00001.jpg 1\ntrain_00002.jpg 2\ntrain_00001.jpg 7\n", "line 3: the image is listed twice.* in line 1"),
        ("train_00001.jpg 1\na/train_00001_aligned.jpg 7\n", "line 2: the image is listed twice"),
        ("train_00001.jpg\n", "line 1: expected '<image> <label>"),
        ("train_00001.jpg 1\ntrain_00002.jpg\n", "line 2: expected '<image> <label>"),
        ("train_00001.jpg joy\n", "'joy' is neither a number nor one of surprise"),
        ("train_00001.jpg 1\ntrain_00002.jpg fear\n", "label .* is neither a number"),
        ("train_00001.jpg 1e30\n", "'1e30' is neither"),
        ("a.jpg 1\nb.jpg 7\n", r"none of its lines names a training image of faces .* 'a\.jpg', the data set 'train"),
        ("test_00008.jpg 1\n", "none of its lines names a training image"),
        ("\n", "holds no labels"),
        (None, "cannot be read"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        labels(path, dataset(RAF, 1))


def test_names_that_several_images_have_are_refused(tmp_path: Path) -> None:
    faces = dataset(("anger", "fear"), 2, "{split}/{name}/0.png")
    object.__setattr__(
        faces, "ids", np.array(["train/a/0.png", "train/a/1.png", "train/b/0.png", "train/b/1.png"] + ["t"] * 2)
    )
    path = write(tmp_path / "list.txt", ["0.png anger", "1.png anger"])
    with pytest.raises(DataError, match="images in different folders have one name: write longer paths"):
        labels(path, faces)


# --- the index -------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_the_longest_common_end() -> None:
    index = ImageIndex(["train/angry/0.png", "test/angry/0.png", "train/angry/1.png", "train/happy/2.jpg"])
    found = index.rows(
        [
            "train/angry/0.png", "x/test/angry/0.png", "angry/1.png", "1.png", "C:\\d\\train\\angry\\1.png", "2.png",
            "happy/2", "0.png", "angry/0.png", "3.png", "",
        ]
    )  # fmt: skip
    assert found.tolist() == [0, 1, 2, 2, 2, 3, 3, AMBIGUOUS, AMBIGUOUS, UNKNOWN, UNKNOWN]


def test_the_suffix_tells_two_images_apart() -> None:
    index = ImageIndex(["a/1.png", "a/1.jpg"])
    assert index.rows(["a/1.png", "1.jpg", "a/1"]).tolist() == [0, 1, AMBIGUOUS]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_windows_programs_are_read(encoding: str, tmp_path: Path) -> None:
    faces = dataset(("anger", "fear"), 3, "{split}/été {number}.png")
    path = tmp_path / "list.txt"
    path.write_text("\r\n".join(f"{name} fear" for name in faces.ids), encoding=encoding)
    assert labels(path, faces).tolist() == [1] * 6
