"""Lists of noisy labels with several columns: which one is the noisy label."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.dataset import Dataset
from fer_bench.data.noise.lists import read_list

CLASSES = ("anger", "fear", "sadness")
Form = Literal["NFC", "NFD"]


def dataset(classes: tuple[str, ...] = CLASSES, ids: str = "train/{name}/{number}.png") -> Dataset:
    label = np.repeat(np.arange(len(classes)), 12)
    names = np.array([ids.format(name=classes[code], number=number) for number, code in enumerate(label)])
    return Dataset("faces", classes, names, np.full(len(names), "train"), label, fingerprint="0" * 64, folder=Path())


FACES = dataset()
NOISY = np.where(np.arange(len(FACES)) % 3 == 0, (FACES.label + 1) % 3, FACES.label)
CLEAN_WORDS = [CLASSES[code] for code in FACES.label]
NOISY_WORDS = [CLASSES[code] for code in NOISY]
FLAGS = [str(int(code != label)) for code, label in zip(NOISY, FACES.label, strict=True)]
COLUMNS = {"clean": CLEAN_WORDS, "noisy": NOISY_WORDS, "flag": FLAGS, "split": ["train"] * len(FACES)} | {
    "number": [str(code) for code in NOISY], "index": [str(row) for row in range(len(FACES))],
}  # fmt: skip


def write(path: Path, header: str, columns: str, separator: str = ",") -> Path:
    """A table of the columns that ``columns`` names; no header if it is empty."""
    cells = [{"image": FACES.ids.tolist(), **COLUMNS}[name] for name in columns.split()]
    lines = [separator.join(row) for row in zip(*cells, strict=True)]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")
    return path


# --- with a header ---


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("image,expression,noisy_label", "image clean noisy"),
        ("image,noisy_label,expression", "image noisy clean"),
        ("image,label,noise_label", "image clean noisy"),
        ("image,label,new_label", "image clean noisy"),
        ("image,label,Given Label", "image clean noisy"),
        ("image,label,label_noisy", "image clean noisy"),
        ("image,label,noisy", "image clean noisy"),
        ("path,true,noisy", "image clean noisy"),
        ("image,clean_label,noisy_label", "image clean noisy"),
        ("image,clean_label,label", "image clean noisy"),
        ("image,emotion,label_noise,split", "image clean noisy split"),
        ("image,label,noisy", "image noisy flag"),
        ("image,label,is_noisy", "image noisy flag"),
        ("image,label,noise", "image noisy split"),
        ("image,label,noisy", "image number noisy"),
        ("image,noisy_label,noisy,label", "image noisy flag clean"),
        ("image,label,label_name", "image number noisy"),
        ("image,label,class", "image noisy noisy"),
        ("filepath,split,label", "image split noisy"),
        ("Image File,Usage,Facial Expression", "image split noisy"),
        ("img_name,noise", "image noisy"),
        ("image_id,path,label", "index image noisy"),
        (",image,label", "index image noisy"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_noisy_column_of_a_table_is_used(header: str, columns: str, separator: str, tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", header.replace(",", separator), columns, separator)
    assert np.array_equal(read_list(path, FACES).label, NOISY)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("keys", [("image", "expression", "noisy_label"), ("path", "label", "new_label")])
def test_the_noisy_key_of_objects_is_used(keys: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    rows = zip(FACES.ids.tolist(), CLEAN_WORDS, NOISY_WORDS, strict=True)
    entries = [dict(zip(keys, row, strict=True)) for row in rows]
    path = tmp_path / f"list{suffix}"
    path.write_text(json.dumps(entries) if suffix == ".json" else "\n".join(map(json.dumps, entries)))
    assert np.array_equal(read_list(path, FACES).label, NOISY)


@pytest.mark.parametrize("header", ["image expression noisy_label", "# image expression noisy_label"])
def test_a_header_may_be_separated_by_blanks_or_be_a_comment(header: str, tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", header, "image clean noisy", " ")
    assert np.array_equal(read_list(path, FACES).label, NOISY)


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("image,expression,label", "image clean noisy", r"'expression' \(column 2\) and 'label' \(column 3\) are both"),
        ("image,label,label", "image clean noisy", r"'label' \(column 2\) and 'label' \(column 3\) are both labels"),
        (
            "image,noisy_label,new_label",
            "image clean noisy",
            r"'noisy_label' \(column 2\) and 'new_label' \(column 3\)",
        ),
        ("image,label,class", "image clean number", "'label' .* and 'class' .* differ, first in row 1 of the table"),
    ],
)
def test_two_columns_of_labels_that_differ_are_refused(header: str, columns: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_list(write(tmp_path / "list.csv", header, columns), FACES)
    assert "Call the one to use noisy_label" in str(caught.value)


def test_a_column_called_noisy_of_two_numbers_is_unclear(tmp_path: Path) -> None:
    """Beside labels that are 0 or 1, it may be labels or flags."""
    faces = dataset(("a", "b"))
    lines = [f"{name},{code},{row % 2}" for row, (name, code) in enumerate(zip(faces.ids, faces.label, strict=True))]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["image,label,noisy", *lines]))
    with pytest.raises(DataError, match=r"'label' .* and 'noisy' .* are both labels"):
        read_list(path, faces)


# --- without a header ---


@pytest.mark.parametrize("separator", [",", " ", "\t"])
@pytest.mark.parametrize(
    "columns", ["image noisy flag", "image number flag", "image noisy noisy", "image noisy number"]
)
def test_a_third_column_that_is_no_other_label_is_ignored(columns: str, separator: str, tmp_path: Path) -> None:
    assert np.array_equal(read_list(write(tmp_path / "list.txt", "", columns, separator), FACES).label, NOISY)


@pytest.mark.parametrize("third", ["0.93", "4", "0", "2021", "train"])
def test_a_third_column_of_something_else_is_ignored(third: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{name} {code} {third}\n" for name, code in zip(FACES.ids, NOISY, strict=True)))
    assert np.array_equal(read_list(path, FACES).label, NOISY)


def test_a_coarser_class_in_the_third_column_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{name} {code} {min(code, 1)}\n" for name, code in zip(FACES.ids, NOISY, strict=True)))
    assert np.array_equal(read_list(path, FACES).label, NOISY)


@pytest.mark.parametrize("separator", [",", " ", "\t"])
@pytest.mark.parametrize("columns", ["image clean noisy", "image noisy clean"])
def test_a_third_column_of_other_labels_is_refused(columns: str, separator: str, tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "", columns, separator)
    with pytest.raises(DataError, match=r"line 1: '\w+' and '\w+' are both labels, .*header such as image,label,noisy"):
        read_list(path, FACES)


def test_a_third_column_of_other_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    rows = zip(FACES.ids, FACES.label, NOISY, strict=True)
    path.write_text("".join(f"{name} {code} {given}\n" for name, code, given in rows))
    with pytest.raises(DataError, match="line 1: '0' and '1' are both labels"):
        read_list(path, FACES)


@pytest.mark.parametrize("inverse", [False, True])
def test_flags_of_two_classes_are_those_that_say_what_is_wrong(inverse: bool, tmp_path: Path) -> None:
    faces = dataset(("a", "b"))
    given = np.where(np.arange(24) % 5 == 0, 1 - faces.label, faces.label)
    wrong = (given != faces.label) != inverse
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{n} {c} {int(f)}\n" for n, c, f in zip(faces.ids, given, wrong, strict=True)))
    assert np.array_equal(read_list(path, faces).label, given)
    path = tmp_path / "both.txt"
    path.write_text("".join(f"{n} {c} {g}\n" for n, c, g in zip(faces.ids, faces.label, given, strict=True)))
    with pytest.raises(DataError, match="are both labels"):
        read_list(path, faces)


# --- what stands before a table, and names ---


@pytest.mark.parametrize("before", ["sep=;", "# made by me", "# made by me\n# on Monday\nsep=;", "#"])
@pytest.mark.parametrize("header", ["image;label", ""])
def test_lines_before_a_list_are_skipped(before: str, header: str, tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", header, "image noisy", ";")
    path.write_text(f"{before}\n{path.read_text()}")
    found = read_list(path, FACES)
    assert np.array_equal(found.label, NOISY) and found.notes == ()


def test_an_image_may_begin_with_the_sign_of_a_comment(tmp_path: Path) -> None:
    faces = dataset(ids="#{number}.png")
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{name} fear\n" for name in faces.ids))
    assert read_list(path, faces).label.tolist() == [1] * len(faces)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", '{"a.png": "anger", "b.png": "fear", "a.png": "fear"}'),
        (".json", '[{"image": "a.png", "label": "anger", "label": "fear"}]'),
        (".jsonl", '{"image": "a.png", "label": "anger", "label": "fear"}'),
    ],
)
def test_a_key_that_is_twice_in_json_is_refused(suffix: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_text(text)
    with pytest.raises(DataError, match=r"list\.jsonl?: the key '\S+' is there twice, with 'anger' and 'fear'"):
        read_list(path, FACES)


@pytest.mark.parametrize(("files", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_may_be_in_another_unicode_form(files: Form, listed: Form, tmp_path: Path) -> None:
    faces = dataset(ids="train/{name}/größe é {number}.png")
    object.__setattr__(faces, "ids", np.array([unicodedata.normalize(files, name) for name in faces.ids]))
    path = tmp_path / "list.csv"
    rows = zip(faces.ids, NOISY_WORDS, strict=True)
    path.write_text("".join(f"{unicodedata.normalize(listed, name)},{word}\n" for name, word in rows), encoding="utf-8")
    assert np.array_equal(read_list(path, faces).label, NOISY)


def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_list(write(tmp_path / "list.csv", "image,label", "image clean noisy"), FACES)


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "image,label\n"), ("a.json", "{}"), ("a.txt", "# nothing\n"), ("a.csv", "sep=;\n")]
)
def test_a_list_without_rows_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=r"a\.\w+ holds no labels"):
        read_list(tmp_path / name, FACES)
