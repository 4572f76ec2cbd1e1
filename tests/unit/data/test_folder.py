"""Folders of images as people have them: what is a split, what is a class, and what is left out and said."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.check import check
from fer_bench.data.names import IMAGE_SUFFIXES, looks_like_split, splits_of
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import affectnet, folder
from tests.helpers.layouts import save, write


def tree(root: Path, *folders: str, count: int = 2, name: str = "{number}.png") -> Path:
    for at, inner in enumerate(folders):
        for number in range(count):
            save(root / inner / name.format(number=number), (at, number, 9))
    return root


def classes_of(root: Path) -> dict[str, tuple[str, str]]:
    """Split and class of each image by id."""
    found = folder.read(root)
    names = [found.classes[code] for code in found.label]
    return {str(i): (str(s), n) for i, s, n in zip(found.ids, found.split, names, strict=True)}


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "Validation", "Testing"), ("train", "val", "test")),
        (("train_set", "test_set"), ("train", "test")),
        (("TRAIN", "VALID", "TEST"), ("train", "val", "test")),
        (("FER2013Train", "FER2013Valid", "FER2013Test"), ("train", "val", "test")),
        (("Training", "PublicTest", "PrivateTest"), ("train", "val", "test")),
        (("train-images", "valid-images", "test-images"), ("train", "val", "test")),
        (("TrainSet", "ValSet", "TestSet"), ("train", "val", "test")),
        (("trainset", "testset"), ("train", "test")),
        (("raf_train", "raf_test"), ("train", "test")),
    ],
)
def test_names_of_splits_in_the_wild(names: tuple[str, ...], splits: tuple[str, ...], tmp_path: Path) -> None:
    tree(tmp_path, *(f"{name}/{kind}" for name in names for kind in ("angry", "Happy")))
    found = classes_of(tmp_path)
    assert {name.split("/")[0]: split for name, (split, _) in found.items()} == dict(zip(names, splits, strict=True))
    assert {name for _, name in found.values()} == {"anger", "happiness"}


@pytest.mark.parametrize("name", ["train2", "test_old", "PublicTest", "dev", "eval_set", "trainval", "my_test_images2"])
def test_a_name_that_may_be_a_split_is_asked_about(name: str, tmp_path: Path) -> None:
    tree(tmp_path, f"{name}/angry", f"{name}/happy")
    with pytest.raises(DataError, match=rf"{name}/ looks like a split; splits are called train, val and test"):
        folder.read(tmp_path)
    tree(tmp_path, "train/angry", "test/angry")
    with pytest.raises(DataError, match=rf"{name}/ looks like a split"):
        folder.read(tmp_path)


@pytest.mark.parametrize("word", ["anger", "contest", "latest", "untested", "Trainer", "valence", "1", "fer", "训练"])
def test_other_words_are_no_splits(word: str) -> None:
    assert not looks_like_split(word) and not splits_of([word])


def test_affectnet_by_its_path_says_how_to_open_it(tmp_path: Path) -> None:
    tree(tmp_path / "affectnet", "train_set/images", "val_set/images")
    with pytest.raises(DataError, match=r"train_set/ and val_set/ .*: use --dataset affectnet7 or affectnet8"):
        open_manifest(tmp_path / "affectnet")


@pytest.mark.parametrize("inner", ["", "images", "Images/aligned"])
def test_splits_without_class_folders_are_an_error(inner: str, tmp_path: Path) -> None:
    tree(tmp_path, *(f"FER2013{part}/{inner}" for part in ("Train", "Valid", "Test")))
    with pytest.raises(DataError, match=r"FER2013Test(/[iI]mages)?: its images are not in one folder for each class"):
        folder.read(tmp_path)


def test_only_train_and_valid_says_how_to_make_a_test_split(tmp_path: Path) -> None:
    tree(tmp_path, "train/1", "valid/1")
    message = r"there is train/ and valid/, but no test/: rename valid/ to test/ if it is what you report\. Expected"
    with pytest.raises(DataError, match=message):
        folder.read(tmp_path)


def test_what_is_missing_or_twice_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        folder.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no image in it"):
        folder.read(tmp_path)
    tree(tmp_path, "train/a")
    with pytest.raises(DataError, match=r"there is train/, but no test/: without train/ between, a part of the images"):
        folder.read(tmp_path)
    tree(tmp_path, "test/a", "testing/a")
    with pytest.raises(DataError, match="two folders for one split among test, testing, train"):
        folder.read(tmp_path)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_numbered_folders_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{split}/{number}" for split in ("train", "test") for number in range(12)))
    assert folder.read(tmp_path).classes == tuple(str(number) for number in range(12))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ("DATASET/train/1", "DATASET/test/1"),
            r"DATASET: there are test/ and train/ in it.*--dataset .*/DATASET;",
        ),
        (("images/train/angry", "images/validation/angry"), r"images: there are train/ and validation/ in it"),
        (("angry/train", "angry/test", "happy/train", "happy/test"), r"angry: there are test/ and train/ in it"),
        (("angry/a/b/train_set", "happy/a"), r"angry: there is train_set/ in it"),
        (
            ("all/angry", "all/happy", "angry", "happy"),
            r"all: angry/ and happy/ in it are named like a class",
        ),
        (("train/all/1", "train/all/2", "train/1", "train/2", "test/1"), r"train/all: 1/ and 2/ in it are named"),
        (
            ("train/train/1", "train/train/2", "test/test/1"),
            r"it has the name of a split, but is in the place of a class folder",
        ),
        (("images", "img"), r"its images are in images/ and img/ and not in one folder for each class"),
        (("S001/angry", "S002/angry", "S002/Sad"), r"S001: angry/ in it is named like a class: is S001 one"),
        (("Trainingsdaten/Wut", "Trainingsdaten/Freude", "Testdaten/Wut", "Testdaten/Freude"), "which are the classes"),
        (("训练集/1", "训练集/2", "测试集/1", "测试集/2"), "Splits are called train, val and test: rename them"),
        (tuple(f"s{person}/{kind}" for person in "abcd" for kind in range(7)), "hold the same folders, 0/ and 1/ and"),
        (("entrainement/1", "test/1"), r"there is test/, but no train/: is it entrainement/\? Then rename it"),
        (
            ("archive/1", "archive/2"),
            r"archive is the only folder, and its images are in 1/ and 2/",
        ),
    ],
)
def test_a_folder_that_is_no_class_is_an_error(folders: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        folder.read(tree(tmp_path, *folders))


def test_folders_of_persons_hold_the_classes_and_people_stay_apart(tmp_path: Path) -> None:
    tree(tmp_path, *(f"P{person:03d}/{kind}" for person in range(10) for kind in ("Angry", "Happy", "0_sad")))
    write(tmp_path / "P000/list.txt", "x")
    manifest = open_manifest(tmp_path)
    assert manifest.classes == ("0_sad", "anger", "happiness")
    assert "the classes are the folders inside of P000/ and P001/ and P002/ and 7 more" in manifest.assumed
    assert manifest.split_source == "derived by group" and manifest.group is not None
    assert set(manifest.group) == {f"P{person:03d}" for person in range(10)}


@pytest.mark.parametrize(("name", "first"), [("fold-{}", 0), ("Fold {}", 1), ("cv{}", 3)])
def test_the_first_of_folders_of_folds_is_the_test_split(name: str, first: int, tmp_path: Path) -> None:
    folds = [name.format(number) for number in range(first, first + 10)]
    tree(tmp_path, *(f"{fold}/{kind}" for fold in folds for kind in ("1", "Wut")))
    manifest = open_manifest(tmp_path)
    assert {name.split("/")[0] for name in manifest.ids[manifest.split == "test"]} == {folds[0]}
    assert manifest.classes == ("1", "Wut") and manifest.group is None and manifest.split_source == "official"
    assert manifest.assumed == (
        f"{folds[0]}/ and {folds[1]}/ and {folds[2]}/ and 7 more are 10 folds; {folds[0]} is the test split",
    )


def test_the_user_can_say_that_folders_with_the_same_folders_are_classes(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{kind}/{person}" for kind in ("smile", "none") for person in "abcdefgh"))
    with pytest.raises(DataError, match="none/ and smile/ hold the same folders, a/ and b/ and c/ and 5 more"):
        open_manifest(tmp_path)
    manifest = open_manifest(tmp_path, options=ReadOptions(group_by="/(.)/"))
    assert manifest.classes == ("none", "smile") and manifest.group is not None and len(set(manifest.group)) == 8


def test_a_name_with_its_number_is_the_class_that_is_there_too(tmp_path: Path) -> None:
    tree(tmp_path, "train/angry", "train/happy", "test/0_angry", "test/03.Happy faces")
    manifest = folder.read(tmp_path)
    assert manifest.classes == ("anger", "happiness")
    assert sorted(manifest.assumed) == [
        "03.Happy faces and happy are one class, happiness",
        "0_angry and angry are one class, anger",
    ]


@pytest.mark.parametrize(
    "names", [("anger", "anger_1", "anger_2"), ("fear", "anger", "fear1", "anger1"), ("0_angry", "1_happy")]
)
def test_other_numbers_keep_classes_apart(names: tuple[str, ...], tmp_path: Path) -> None:
    assert folder.read(tree(tmp_path, *names)).classes == tuple(sorted(names))


def test_classes_that_are_numbers_beside_expressions_are_doubted(tmp_path: Path) -> None:
    manifest = folder.read(tree(tmp_path, "train/0", "train/1", "test/angry", "test/happy"))
    assert manifest.notes[0].startswith("some classes are numbers (0, 1) and others are expressions (anger, happiness)")
    assert check(manifest).warnings[0] == manifest.notes[0]


@pytest.mark.parametrize(
    ("place", "name", "wanted"),
    [
        ("", "{person}.AN1.{number}", {"KA", "KL", "KM", "KR", "MK", "NA"}),
        ("{person}", "{person}.SU2.{number}", {"KA", "KL", "KM", "KR", "MK", "NA"}),
        ("", "Rafd090_{number:02d}_Caucasian_male_contemptuous_left", {f"{number:02d}" for number in range(6)}),
    ],
)
def test_names_of_files_say_what_is_shown(place: str, name: str, wanted: set[str], tmp_path: Path) -> None:
    for number, person in enumerate(("KA", "KL", "KM", "KR", "MK", "NA")):
        for word in ("", "HA"):
            stem = name.format(person=person, number=number)
            stem = re.sub("AN|SU", word, stem) if word else stem
            stem = stem.replace("contemptuous_left", "happy_frontal") if word else stem
            save(tmp_path / place.format(person=person) / f"{stem}.tiff", (number, len(word), 0))
    manifest = open_manifest(tmp_path)
    assert manifest.classes[-1] != "KA" and "happiness" in manifest.classes and len(manifest.classes) == 2
    assert manifest.group is not None and set(manifest.group) == wanted
    assert manifest.assumed[0].startswith("labels by file names as in ")


def test_folders_of_people_are_no_classes(tmp_path: Path) -> None:
    for person in (5, 6):
        save(tmp_path / f"S{person:03d}/001/S{person:03d}_001_00000001.png", (person, 0, 0))
    with pytest.raises(DataError, match=r"S005/ and S006/ are the persons of CK\+ .* write a table with columns path"):
        folder.read(tmp_path)


def test_images_in_no_folder_are_counted_and_tables_are_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"its 1 image is in no folder for each class\. Expected"):
        folder.read(tmp_path)
    write(tmp_path / "train.csv", "x")
    write(tmp_path / ".hidden.csv", "x")
    with pytest.raises(DataError, match=r"train\.csv is there: use --dataset .*/train\.csv if it has the labels"):
        folder.read(tmp_path)


def test_folders_inside_a_class_are_its_own(tmp_path: Path) -> None:
    tree(tmp_path, "train/Happy/deeper", "train/fear", "test/fear/fear", "test/happy/session 1")
    assert folder.read(tmp_path).classes == ("fear", "happiness")


def test_names_become_canonical_and_splits_keep_their_classes(tmp_path: Path) -> None:
    for part in ("train", "Validation", "test"):
        save(tmp_path / part / "Happy" / "a.JPG")
        save(tmp_path / part / "fear" / "deeper" / "b.png")
    assert classes_of(tmp_path) == {
        f"{part}/{name}": (split, kind)
        for part, split in (("train", "train"), ("Validation", "val"), ("test", "test"))
        for name, kind in (("Happy/a.JPG", "happiness"), ("fear/deeper/b.png", "fear"))
    }


def test_a_derived_split_is_stratified_and_the_same_each_time(tmp_path: Path) -> None:
    for name, count in (("b", 20), ("a", 10), ("rare", 2), ("single", 1)):
        for number in range(count):
            save(tmp_path / name / f"{number}.bmp")
    manifest = open_manifest(tmp_path)
    held_out = np.bincount(manifest.label[manifest.split == "test"], minlength=4)
    assert manifest.classes == ("a", "b", "rare", "single")
    assert held_out.tolist() == [2, 4, 1, 0]
    assert not len(manifest.rows("val"))
    assert open_manifest(tmp_path).fingerprint() == manifest.fingerprint()
    assert manifest.split_source == "derived" and folder.read(tmp_path).split.tolist() == [""] * 33


# --- files -----------------------------------------------------------------------------------------------------------

FORMATS = {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "MPO", ".pnm": "PPM", ".tif": "TIFF"}


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_suffix_of_an_image_is_read(suffix: str, tmp_path: Path) -> None:
    mode = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    picture = Image.effect_noise((8, 8), 60).convert(mode)
    for path in (tmp_path / "a" / f"x{suffix}", tmp_path / "b" / f"y{suffix.upper()}"):
        path.parent.mkdir()
        picture.save(path, format=FORMATS.get(suffix))
    manifest = folder.read(tmp_path)
    assert len(manifest) == 2 and manifest.source.pixels([0, 1], 8).std() > 10


def test_affectnet_takes_any_suffix(tmp_path: Path) -> None:
    for part in ("train_set", "val_set"):
        for number, suffix in enumerate((".jpg", ".png", ".JPEG")):
            save(tmp_path / "affectnet" / part / "images" / f"{number}{suffix}")
            mark = tmp_path / "affectnet" / part / "annotations" / f"{number}_exp.npy"
            mark.parent.mkdir(exist_ok=True)
            np.save(mark, np.array(str(number)))
    assert len(affectnet.read(tmp_path, 7)) == 6


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    tree(tmp_path, "train/angry", "train/happy", "test/angry", "test/happy", "thumbnails/angry")
    save(tmp_path / "train" / "stray.png")
    write(tmp_path / "train/angry/0.heic", "x")
    write(tmp_path / "train/angry/1.HEIC", "x")
    write(tmp_path / "test/happy/notes", "x")
    for ours in ("README.md", "labels.csv", "landmarks.npz", "train/angry/Thumbs.db", "train/angry/._0.png"):
        write(tmp_path / ours, "x")
    manifest = folder.read(tmp_path)
    assert manifest.notes == (
        "3 images outside of the class folders left out: thumbnails/angry/0.png, thumbnails/angry/1.png, "
        "train/stray.png",
        "3 files with other suffixes left out: .heic 2, no suffix 1",
    )
    assert check(manifest).warnings[:2] == manifest.notes
    assert len(manifest) == 8


def test_a_folder_without_images_is_no_class(tmp_path: Path) -> None:
    tree(tmp_path, "train/angry", "train/happy", "test/angry", "test/happy")
    write(tmp_path / "train/annotations/0_exp.npy", "x")
    (tmp_path / "test" / "sad").mkdir()
    manifest = folder.read(tmp_path)
    assert manifest.classes == ("anger", "happiness")
    assert manifest.notes == (
        "2 folders without an image left out: annotations, sad",
        "1 file with other suffixes left out: .npy 1",
    )


def test_hidden_copies_and_thumbnails_are_no_images(tmp_path: Path) -> None:
    parts = [f"{split}/{name}" for split in ("train", "test") for name in ("angry", "happy")]
    before = folder.read(tree(tmp_path / "faces", *parts)).fingerprint()
    for part in parts:
        tree(tmp_path / "faces", f"{part}/.ipynb_checkpoints", f"{part}/@eaDir/0.png", f"__MACOSX/{part}")
    tree(tmp_path / "faces", ".Trash/angry", "__MACOSX/angry")
    manifest = folder.read(tmp_path / "faces")
    assert manifest.fingerprint() == before and manifest.notes == ()


def test_results_in_the_data_folder_are_no_class(tmp_path: Path) -> None:
    tree(tmp_path, "angry", "happy", "results/sweeps/faces-1/plots")
    write(tmp_path / "results/sweeps/faces-1/sweep.json", "{}")
    assert folder.read(tmp_path).classes == ("anger", "happiness")


def test_a_linked_image_is_not_left_out(tmp_path: Path) -> None:
    store = tree(tmp_path / "faces" / "store", "x")
    for split in ("train", "test"):
        (tmp_path / "faces" / split).mkdir()
        (tmp_path / "faces" / split / "angry").symlink_to(store / "x")
    assert folder.read(tmp_path / "faces").notes == ()


def test_a_name_that_is_no_unicode_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "train/angry", "test/angry")
    os.rename(tmp_path / "train/angry/0.png", os.fsencode(tmp_path) + b"/train/angry/\xb7\xdf.png")  # noqa: PTH104
    with pytest.raises(DataError, match=r"the name train/angry/\\xb7\\xdf\.png is not in UTF-8; rename the file"):
        folder.read(tmp_path)


def test_images_of_one_colour_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "train/angry", "test/angry", count=1)
    Image.effect_noise((8, 8), 60).save(tmp_path / "train/angry/noise.png")
    assert (
        "images of one colour: 2, such as test/angry/0.png, train/angry/0.png" in check(folder.read(tmp_path)).warnings
    )
