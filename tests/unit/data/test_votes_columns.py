"""Columns of votes: cells that are no numbers, names that are no classes, and what comes before votes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.errors import DataError, SpecError
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import table
from tests.helpers.layouts import save, write

CLASSES = ("anger", "fear", "happiness", "sadness")

NO_VOTES = ReadOptions(columns={"votes": "none"})


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number in range(12):
        save(tmp_path / f"{number}.png", (number, 0, 0))
    return tmp_path


def votes(row: int) -> list[int]:
    """Seven votes for one class, and two or three for the next one."""
    found = [0] * 4
    found[row % 4], found[(row + 1) % 4] = 7, 2 + row % 2
    return found


def lay(root: Path, header: str, cells: list[list[object]] | None = None) -> Path:
    """A table of twelve images with these cells after the path: their votes by default."""
    lines = [[f"{row}.png", *(votes(row) if cells is None else cells[row])] for row in range(12)]
    return write(root / "mine.csv", "\n".join([header, *(",".join(map(str, line)) for line in lines)]))


def with_votes(*more: object) -> list[list[object]]:
    """The votes, and the same cells in every row; a function gets the number of the row."""
    return [[*votes(row), *(each(row) if callable(each) else each for each in more)] for row in range(12)]


HEADER = "path,anger,fear,happy,sad"
LABELS = [CLASSES[row % 4] for row in range(12)]


def labels(path: Path, options: ReadOptions | None = None) -> list[str]:
    manifest = table.read(path, options=options or ReadOptions())
    return [manifest.classes[label] for label in manifest.label]


# --- cells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["NA", "n/a", "-", "nan", "#NV"])
def test_a_cell_without_a_number_is_no_vote_and_is_said(faces: Path, word: str) -> None:
    cells = with_votes()
    cells[1][2] = word  # two of its nine votes
    manifest = table.read(lay(faces, HEADER, cells))
    assert manifest.classes == CLASSES and [CLASSES[label] for label in manifest.label] == LABELS
    assert manifest.votes is not None and manifest.votes[1].tolist() == [0, 7, 0, 0]
    assert manifest.notes == (f"cells without a number read as no votes: row 2 of 'happy' ({word})",)


def test_an_empty_cell_is_no_vote(faces: Path) -> None:
    cells = [["" if each == 0 else each for each in row] for row in with_votes()]
    manifest = table.read(lay(faces, HEADER, cells))
    assert manifest.notes == () and manifest.fingerprint() == table.read(lay(faces, HEADER)).fingerprint()


@pytest.mark.parametrize("word", ["7?", "x", "-1", "inf"])
@pytest.mark.parametrize("column", ["sad", "NF"])
def test_any_other_word_is_an_error_that_names_the_cell(faces: Path, word: str, column: str) -> None:
    cells = with_votes(0)
    cells[4][HEADER.split(",").index("sad") - 1 if column == "sad" else 4] = word
    wrong = rf"mine\.csv, row 5: the column '{column}' holds '{word[0]}.*votes are counts, 0 or more; .*votes=none"
    with pytest.raises(DataError, match=wrong):
        table.read(lay(faces, f"{HEADER},NF", cells))


def test_a_no_class_column_of_words_is_an_error(faces: Path) -> None:
    with pytest.raises(DataError, match="row 1: the column 'unknown' holds 'x'"):
        table.read(lay(faces, f"{HEADER},unknown", with_votes("x")))


# --- names -----------------------------------------------------------------------------------------------------------


def test_joy_is_happiness_and_a_misspelt_class_is_an_error(faces: Path) -> None:
    assert labels(lay(faces, "path,anger,fear,joy,sad")) == LABELS
    message = (
        r"called like no class: 'hapiness' \(did you mean 'happiness'\?\)\. Call them by one of neutral, .*votes=none"
    )
    with pytest.raises(DataError, match=message):
        table.read(lay(faces, "path,anger,fear,hapiness,sad"))
    with pytest.raises(DataError, match=r"'emotion_angry2' \(did you mean 'angry'\?\)"):
        table.read(lay(faces, "path,emotion_angry2,emotion_fear,emotion_happy,emotion_sad"))


def test_a_column_that_completes_the_votes_is_an_error(faces: Path) -> None:
    cells: list[list[object]] = [[*votes(row)[:3], 10 - sum(votes(row)[:3])] for row in range(12)]
    with pytest.raises(DataError, match=r"look like votes and are called like no class: 'boredom'\. Call"):
        table.read(lay(faces, "path,anger,fear,happy,boredom", cells))
    assert labels(lay(faces, "path,anger,fear,happy,sad", cells))[:2] == ["anger", "fear"]


def test_numbers_that_may_be_votes_are_reported(faces: Path) -> None:
    manifest = table.read(lay(faces, f"{HEADER},calm", with_votes(lambda row: row % 3)))
    assert manifest.classes == CLASSES
    assert manifest.notes == ("columns not read, although they may be votes: calm",)


def test_numbers_that_are_something_else_stop_nobody_and_are_said(faces: Path) -> None:
    cells = with_votes(lambda row: 20 + row, 0.25, -1, "a", lambda row: row)
    manifest = table.read(lay(faces, f"{HEADER},age,confidence,x,comment,id", cells))
    assert manifest.classes == CLASSES and manifest.notes == ()
    assert manifest.assumed == (
        "columns: votes = anger, fear, happiness, sadness; not read as votes: age, confidence, x",
    )


def test_one_column_for_each_class_is_complete_with_one_in_each_row(faces: Path) -> None:
    cells: list[list[object]] = [[*(int(row % 4 == n) for n in range(4)), row // 2 % 2] for row in range(12)]
    manifest = table.read(lay(faces, f"{HEADER},glasses", cells))
    assert [CLASSES[label] for label in manifest.label] == LABELS and manifest.notes == ()
    assert manifest.assumed[0].endswith("; not read as votes: glasses")


@pytest.mark.parametrize("other", ["happiness", "happy", "joy"])
def test_two_columns_of_one_class_are_an_error(faces: Path, other: str) -> None:
    with pytest.raises(DataError, match=rf"columns 'happy' and '{other}' are both votes for happiness; .*votes=none"):
        table.read(lay(faces, f"{HEADER},{other}", with_votes(0)))


@pytest.mark.parametrize(("word", "cell"), [("total", 10), ("valid", 1), ("intensity", 4), ("id", 3)])
def test_a_prefix_makes_no_class_of_other_words(faces: Path, word: str, cell: int) -> None:
    header = HEADER.replace(",", ",emotion_").replace("emotion_path", "path")
    cells: list[list[object]] = [[*(7 * (row % 4 == n) + 1 for n in range(4)), cell] for row in range(12)]
    manifest = table.read(lay(faces, f"{header},emotion_{word}", cells))
    assert manifest.classes == CLASSES and [CLASSES[label] for label in manifest.label] == LABELS
    assert manifest.assumed[0].endswith(f"; not read as votes: emotion_{word}") and manifest.notes == ()


def test_a_prefix_may_stand_before_no_class(faces: Path) -> None:
    cells = with_votes(lambda row: 9 * (row == 3))
    manifest = table.read(lay(faces, "path,e.anger,e.fear,e.happy,e.sad,e.unknown", cells))
    assert manifest.classes == CLASSES and len(manifest) == 11
    assert "1 image (3.png) without votes, or with most votes for no class, left out" in manifest.notes


# --- votes and labels ------------------------------------------------------------------------------------------------


def test_a_label_that_is_named_comes_before_votes(faces: Path) -> None:
    path = lay(faces, f"{HEADER},label", with_votes("happy"))
    assert labels(path) == LABELS, "nobody chose"
    manifest = table.read(path, options=ReadOptions(columns={"label": "label"}))
    assert manifest.classes == ("happiness",) and manifest.votes is None and manifest.human is None
    assert (
        manifest.label_source == "given"
        and manifest.assumed[0] == "columns: not read as votes: anger, fear, happy, 1 more"
    )
    assert labels(path, ReadOptions(columns={"label": "none"})) == LABELS


def test_votes_can_be_left_out(faces: Path) -> None:
    path = lay(faces, f"{HEADER},label", with_votes("happy"))
    manifest = table.read(path, options=NO_VOTES)
    assert manifest.classes == ("happiness",) and manifest.votes is None and manifest.assumed == ()
    with pytest.raises(DataError, match="no column 'label'"):
        table.read(lay(faces, HEADER), options=NO_VOTES)
    with pytest.raises(SpecError, match="--columns votes=anger: columns of votes are found by the names of classes"):
        ReadOptions(columns={"votes": "anger"})


def test_a_label_and_one_column_for_each_class_must_say_the_same(faces: Path) -> None:
    def lines(said: list[str]) -> list[list[object]]:
        return [[said[row], *(int(row % 4 == number) for number in range(4))] for row in range(12)]

    header = HEADER.replace("path,", "path,label,")
    for same in (LABELS, [str(3 - row % 4) for row in range(12)], ["NA", *LABELS[1:]]):
        assert labels(lay(faces, header, lines(same))) == LABELS
    swapped = {"anger": "fear", "fear": "anger"}
    for other, row in (
        ([*LABELS[:6], "anger", *LABELS[7:]], 7),
        ([*map(str, [0, 1, 2, 3] * 2), "1", "1", "2", "3"], 9),
        ([swapped.get(name, name) for name in LABELS], 1),
    ):
        path = lay(faces, header, lines(other))
        with pytest.raises(DataError, match=rf"row {row}: the column 'label' says '.*--columns label=label or"):
            table.read(path)
        assert len(set(labels(path, ReadOptions(columns={"label": "label"})))) == 4
        assert labels(path, ReadOptions(columns={"label": "none"})) == LABELS


def test_shares_and_scores_beside_a_label_are_no_votes(faces: Path) -> None:
    cells: list[list[object]] = [["happy", 0.5, -1.25, "NA", 2] for _ in range(12)]
    manifest = table.read(lay(faces, HEADER.replace("path,", "path,label,"), cells))
    assert manifest.classes == ("happiness",) and manifest.notes == ()
    assert manifest.assumed == ("columns: not read as votes: anger, fear, happy, 1 more",)
