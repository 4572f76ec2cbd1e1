"""Numbers in lists of noisy labels: known orders are found, unknown ones are refused, and noise is neither."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Dataset
from fer_bench.data.noise.lists import read_list
from fer_bench.data.noise.numbers import ORDERS, RARER_ORDERS
from fer_bench.data.noise.transition import transition_matrix

ALL = ORDERS | RARER_ORDERS
SEVEN = tuple(sorted(ORDERS["RAF-DB"]))
EIGHT = tuple(sorted(ORDERS["FERPlus"]))
FER = ORDERS["FER2013 and ExpW"]
ELEVEN = tuple(sorted(f"class_{number}" for number in range(11)))
RAFDB = np.array([1290, 281, 717, 4772, 1982, 705, 2524])
"""Training images of RAF-DB by class."""


def dataset(classes: tuple[str, ...], counts: object = 12) -> Dataset:
    label = np.repeat(np.arange(len(classes)), np.broadcast_to(np.asarray(counts), len(classes)))
    ids = np.array([f"train/{classes[code]}/{number}.png" for number, code in enumerate(label)])
    return Dataset("faces", classes, ids, np.full(len(ids), "train"), label, fingerprint="0" * 64, folder=Path())


def noisy(faces: Dataset, kind: str, rate: float, seed: int = 0) -> np.ndarray:
    """Labels after noise: each is drawn from the row of a transition matrix."""
    counts = np.bincount(faces.label)
    chances = transition_matrix(kind, rate, faces.classes, counts=counts).cumsum(1)[faces.label]
    drawn = (np.random.default_rng(seed).random((len(faces), 1)) > chances).sum(1)
    return np.minimum(drawn, len(faces.classes) - 1)


def write(path: Path, faces: Dataset, given: np.ndarray, order: tuple[str, ...], base: int = 0) -> Path:
    words = [order.index(faces.classes[code]) + base for code in given]
    path.write_text("".join(f"{name} {word}\n" for name, word in zip(faces.ids, words, strict=True)))
    return path


# --- orders that are known ---


KNOWN = [
    pytest.param(title, classes, id=f"{title}, {name}")
    for title, order in ALL.items()
    for name, classes in (("seven", SEVEN), ("eight", EIGHT), ("fer2013", FER))
    if set(classes) <= set(order)
]


@pytest.mark.parametrize(("base", "rate"), [(0, 0), (1, 0.3)])
@pytest.mark.parametrize(("title", "classes"), KNOWN)
def test_numbers_of_every_known_order_are_understood(
    title: str, classes: tuple[str, ...], base: int, rate: float, tmp_path: Path
) -> None:
    faces = dataset(classes, 20)
    given = noisy(faces, "symmetric", rate)
    found = read_list(write(tmp_path / "list.txt", faces, given, ALL[title], base), faces)
    assert np.array_equal(found.label, given)
    assert f"count from {base} in the order of " in found.notes[0]


@pytest.mark.parametrize("order", [ALL["Aff-Wild2 and ABAW"], ALL["DFEW"], ALL["the codes of KDEF"]])
def test_an_order_is_one_of_folders_with_codes_in_their_names(order: tuple[str, ...], tmp_path: Path) -> None:
    faces = dataset(tuple(f"{number}_{name}" for number, name in enumerate(SEVEN)))
    folders = tuple(next(each for each in faces.classes if each.endswith(name)) for name in order)
    found = read_list(write(tmp_path / "list.txt", faces, faces.label, folders), faces)
    assert np.array_equal(found.label, faces.label)


@pytest.mark.parametrize("order", [ELEVEN, sorted(ELEVEN, key=lambda name: int(name[6:]))], ids=["alphabet", "number"])
@pytest.mark.parametrize(("base", "rate"), [(0, 0), (1, 0), (0, 0.5), (1, 0.7)])
def test_numbers_of_classes_with_a_number_in_their_names(
    order: list[str], base: int, rate: float, tmp_path: Path
) -> None:
    """class_10 comes before class_2 by the alphabet, and after class_9 by its number."""
    faces = dataset(ELEVEN)
    given = noisy(faces, "symmetric", rate)
    found = read_list(write(tmp_path / "list.txt", faces, given, tuple(order), base), faces)
    assert np.array_equal(found.label, given)


# --- orders that are not ---


@pytest.mark.parametrize("rate", [0, 0.2])
@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        (
            ("anger", "fear", "disgust", "happiness", "neutral", "sadness", "surprise"),
            "0 looks like anger, 1 like fear, 2 like d",
        ),
        (("happiness", "sadness", "anger", "surprise", "fear", "disgust", "neutral"), "0 looks like happiness, 1 like"),
        (
            ("surprise", "sadness", "neutral", "happiness", "fear", "disgust", "anger"),
            "0 looks like surprise, 1 like sad",
        ),
    ],
)
def test_an_unknown_order_is_refused_with_the_likely_mapping(
    order: tuple[str, ...], wrong: str, rate: float, tmp_path: Path
) -> None:
    faces = dataset(SEVEN, 40)
    given = noisy(faces, "symmetric", rate)
    path = write(tmp_path / "list.txt", faces, given, order)
    with pytest.raises(DataError, match=re.escape(wrong)) as caught:
        read_list(path, faces)
    message = str(caught.value)
    assert str(path) in message and "Write class names in place of numbers, such as 'train/" in message
    name, word = re.findall(r"such as '(\S+) (\S+)'", message)[0]
    row = faces.ids.tolist().index(name)
    assert word == faces.classes[given[row]], "the example is the line of this image in class names"


def test_the_way_out_is_class_names(tmp_path: Path) -> None:
    """Pair noise above one half favours another mapping; class names say that it is meant."""
    faces = dataset(SEVEN, 100)
    given = noisy(faces, "pair", 0.7)
    path = write(tmp_path / "list.txt", faces, given, SEVEN)
    with pytest.raises(DataError, match="Write class names"):
        read_list(path, faces)
    path.write_text("".join(f"{name} {SEVEN[code]}\n" for name, code in zip(faces.ids, given, strict=True)))
    assert np.array_equal(read_list(path, faces).label, given)


def test_few_images_in_other_numbers_are_refused(tmp_path: Path) -> None:
    """No noise swaps two whole classes and leaves all others alone, however few images there are."""
    faces = dataset(SEVEN, 2)
    order = ("anger", "fear", "disgust", "happiness", "neutral", "sadness", "surprise")
    with pytest.raises(DataError, match="0 looks like anger, 1 like fear, 2 like d"):
        read_list(write(tmp_path / "list.txt", faces, faces.label, order), faces)


def test_classes_that_are_numbers_are_taken_by_name_and_doubts_are_said(tmp_path: Path) -> None:
    faces = dataset(tuple("1234567"))
    given = (faces.label + 1) % 7
    found = read_list(write(tmp_path / "list.txt", faces, given, faces.classes, 1), faces)
    assert np.array_equal(found.label, given)
    assert "100% are in another order: 1 looks like 7, 2 like 1" in found.notes[0]
    assert read_list(write(tmp_path / "own.txt", faces, noisy(faces, "pair", 0.4), faces.classes, 1), faces).notes == ()


# --- noise is no other order ---

HARD = [("pair", 0.4), ("pair", 0.45), ("class-dependent", 0.45), ("symmetric", 0.8), ("frequency", 0.6)]


@pytest.mark.parametrize("counts", [RAFDB, RAFDB // 20, 100], ids=["rafdb", "a twentieth", "balanced"])
@pytest.mark.parametrize("classes", [ORDERS["RAF-DB"], SEVEN, FER], ids=["rafdb", "alphabet", "fer2013"])
@pytest.mark.parametrize(("kind", "rate"), HARD)
def test_much_noise_in_the_right_order_is_accepted(
    kind: str, rate: float, classes: tuple[str, ...], counts: object, tmp_path: Path
) -> None:
    faces = dataset(classes, counts)
    given = noisy(faces, kind, rate)
    found = read_list(write(tmp_path / "list.txt", faces, given, classes), faces)
    assert np.array_equal(found.label, given)
    assert "in the order of the data set" in found.notes[0]


NOISY_FER = np.array([
    [838, 249, 5, 25, 26, 31, 116], [36, 137, 7, 35, 24, 28, 14], [5, 27, 222, 43, 89, 210, 121],
    [64, 22, 21, 4316, 59, 28, 262], [11, 46, 42, 57, 1416, 95, 315], [12, 27, 71, 31, 25, 512, 27],
    [65, 22, 16, 82, 177, 116, 2046],
])  # fmt: skip
"""Labels of noisyFER's list, a network's answers on RAF-DB: rows by clean and columns by given label."""


@pytest.mark.parametrize("share", [1, 20, 100])
@pytest.mark.parametrize("classes", [ORDERS["RAF-DB"], SEVEN], ids=["rafdb", "alphabet"])
def test_the_answers_of_a_network_are_accepted(classes: tuple[str, ...], share: int, tmp_path: Path) -> None:
    counts, own = NOISY_FER // share, [classes.index(name) for name in ORDERS["RAF-DB"]]
    matrix = np.zeros_like(counts)
    matrix[np.ix_(own, own)] = counts
    faces = dataset(classes, matrix.sum(1))
    given = np.concatenate([np.repeat(np.arange(7), row) for row in matrix])
    found = read_list(write(tmp_path / "list.txt", faces, given, ORDERS["RAF-DB"], 1), faces)
    assert np.array_equal(found.label, given)


@pytest.mark.parametrize(("classes", "limit"), [(SEVEN, 2), (FER, 3)], ids=["alphabet", "fer2013"])
def test_pair_noise_at_one_half_is_rarely_refused(classes: tuple[str, ...], limit: int, tmp_path: Path) -> None:
    """The worst case of the sign test: both mappings agree equally well. ABAW's order is FER2013's, moved on by one."""
    faces, other = dataset(classes, 30), 0
    for seed in range(60):
        given = noisy(faces, "pair", 0.5, seed)
        try:
            found = read_list(write(tmp_path / f"{seed}.txt", faces, given, classes), faces)
        except DataError:
            other += 1
        else:
            other += not np.array_equal(found.label, given)
    assert other < limit
