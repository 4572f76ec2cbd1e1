"""Cells that say that there is no answer: in columns of labels, of several people's labels, and of persons."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import table
from tests.helpers.layouts import save, save_numbered, write

CLASSES = ("anger", "happiness", "sadness")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    save_numbered(tmp_path, 30)
    return tmp_path


def lay(root: Path, header: str, lines: list[str]) -> Path:
    return write(root / "mine.csv", "\n".join([header, *lines]))


MARKS = ["", "NA", "na", "n.a.", "N/A", ".", "#NV", "#N/A", "NULL", "None", "-", "-1", "-1.0", "-9", "-99", "-999"]


@pytest.mark.parametrize("kinds", [CLASSES, ("0", "1", "2")])
@pytest.mark.parametrize("mark", MARKS)
def test_marks_are_no_class(faces: Path, mark: str, kinds: tuple[str, ...]) -> None:
    lines = [f"{n}.png,{mark if n in (3, 4) else kinds[n % 3]}" for n in range(30)]
    manifest = table.read(lay(faces, "path,label", lines))
    assert manifest.classes == kinds and len(manifest) == 28
    said = f" ({mark})" if mark not in ("", "NULL") else ""
    assert manifest.notes == (f"2 images (3.png, 4.png) without a label{said} left out",)


@pytest.mark.parametrize("mark", MARKS)
def test_marks_are_no_class_where_images_have_several_rows(faces: Path, mark: str) -> None:
    words = [mark if n in (3, 4) else str(n % 3) for n in range(30)]
    lines = [f"{n}.png,{word}" for n, word in enumerate(words)]
    manifest = table.read(lay(faces, "path,label", [*lines, "0.png,0", f"1.png,{mark}"]))
    assert manifest.classes == ("0", "1", "2") and len(manifest) == 28
    assert manifest.label.tolist() == [int(word) for word in words if word != mark]
    annotators = table.read(lay(faces, "path,label", [*lines, *lines, *lines]))
    assert annotators.classes == ("0", "1", "2") and annotators.votes is not None
    assert annotators.votes.sum() == 3 * 28


def test_marks_are_no_second_label(faces: Path) -> None:
    lines = [f"{n}.png,{n % 3},{n % 3 if n else -1}" for n in range(30)]
    manifest = table.read(lay(faces, "path,reference,label", lines))
    assert manifest.classes == ("0", "1", "2") and manifest.human is not None and manifest.human[0] == -1


@pytest.mark.parametrize(
    "kinds", [("-2", "-1", "0"), ("N", "P", "none of these"), ("-0.5", "-1", "1"), ("F", "n", "na-na")]
)
def test_other_words_and_numbers_stay_classes(faces: Path, kinds: tuple[str, ...]) -> None:
    manifest = table.read(lay(faces, "path,label", [f"{n}.png,{kinds[n % 3]}" for n in range(30)]))
    assert set(manifest.classes) == set(kinds) and len(manifest) == 30


# --- persons ---------------------------------------------------------------------------------------------------------


def people(root: Path, columns: str, cells: list[str]) -> Path:
    return lay(root, f"path,label,{columns}", [f"{n}.png,{CLASSES[n % 3]},{cell}" for n, cell in enumerate(cells)])


@pytest.mark.parametrize("mark", ["NA", "n.a.", "#NV", ".", "-1"])
def test_marks_are_no_person(faces: Path, mark: str) -> None:
    cells = [mark if n % 5 == 0 else str(n // 3) for n in range(30)]
    group = table.read(people(faces, "subject", cells)).group
    assert group is not None and group.tolist() == [f"?{n}.png" if n % 5 == 0 else str(n // 3) for n in range(30)]


SPELLINGS = [
    (["Anna", "anna ", "ANNA"], "ANNA = Anna = anna", "ANNA"),
    (["S01", "s01"], "S01 = s01", "S01"),
    (["1", "01", "1.0"], "01 = 1 = 1.0", "01"),
    (["Zo\u00eb", "Zoe\u0308"], "Zoe\u0308 = Zo\u00eb", "Zoe\u0308"),
]


@pytest.mark.parametrize(("written", "said", "name"), SPELLINGS)
def test_one_person_in_several_spellings_is_one(faces: Path, written: list[str], said: str, name: str) -> None:
    cells = [written[n % len(written)] if n < 6 else f"p{n // 3}" for n in range(30)]
    manifest = open_manifest(people(faces, "subject", cells))
    assert manifest.group is not None and manifest.group.tolist() == [name] * 6 + [f"p{n // 3}" for n in range(6, 30)]
    assert f"groups that are written in several ways: {said}" in manifest.assumed
    assert len(set(manifest.split[:6])) == 1, "in one split"


def test_persons_keep_their_names_where_there_is_one_spelling(faces: Path) -> None:
    cells = [f"S{n // 3:02d}" for n in range(30)]
    manifest = table.read(people(faces, "subject", cells))
    assert manifest.group is not None and manifest.group.tolist() == cells
    assert manifest.assumed == ("columns: group = 'subject'",)


def test_folders_of_one_person_may_be_spelt_differently(tmp_path: Path) -> None:
    for kind in CLASSES:
        for n in range(24):
            name = f"Anna{n // 3}" if kind == "anger" else f"anna{n // 3}"
            save(tmp_path / kind / name / f"{n % 3}.png", (CLASSES.index(kind), n, 0))
    manifest = open_manifest(tmp_path)
    assert manifest.group is not None and set(manifest.group) == {f"Anna{n}" for n in range(8)}
    assert manifest.assumed[0] == (
        "groups that are written in several ways: Anna0 = anna0, Anna1 = anna1, Anna2 = anna2, 5 more"
    )


@pytest.mark.parametrize("useless", ["user", "group", "person"])
@pytest.mark.parametrize("right", ["subject_id", "participant_no"])
def test_a_useless_column_of_persons_does_not_hide_another(faces: Path, useless: str, right: str) -> None:
    cells = [f"{'ctrl' if n % 2 else 'exp'},{n // 3}" for n in range(30)]
    manifest = open_manifest(people(faces, f"{useless},{right}", cells))
    assert manifest.group is not None and manifest.group.tolist() == [str(n // 3) for n in range(30)]
    assert f"columns: group = {right!r}" in manifest.assumed and manifest.split_source == "derived by group"
    if useless == "person":
        why = "the column 'person' not used to keep images of one person together: there are only 2"
        assert why in manifest.assumed
    asked = open_manifest(faces / "mine.csv", options=ReadOptions(group_by=right))
    assert asked.group is not None and asked.group.tolist() == manifest.group.tolist()


def test_two_useless_columns_of_persons_are_both_said(faces: Path) -> None:
    cells = [f"{n % 2},{n % 3}" for n in range(30)]
    manifest = open_manifest(people(faces, "subject,person", cells))
    assert manifest.group is None
    said = "not used to keep images of one person together: there are only"
    assert f"the column 'person' {said} 3" in manifest.assumed
    assert f"the column of groups {said} 2" in manifest.assumed


# --- labels that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["label", "reference", "split"])
def test_the_column_of_images_says_nothing_else(faces: Path, role: str) -> None:
    path = lay(faces, "path,label", [f"{n}.png,{CLASSES[n % 3]}" for n in range(30)])
    message = (
        rf"the column 'path' cannot be both the images and the {role}; choose another with --columns {role}=COLUMN"
    )
    with pytest.raises(DataError, match=message):
        table.read(path, options=ReadOptions(columns={role: "path"}))


def test_labels_that_are_all_different_are_an_error(faces: Path) -> None:
    path = lay(faces, "path,label,name", [f"{n}.png,{CLASSES[n % 3]},no {n}" for n in range(30)])
    with pytest.raises(
        DataError, match="each of its 30 images has a class of its own, such as no 0, so there is no test"
    ):
        open_manifest(path, options=ReadOptions(columns={"label": "name"}))
