"""Tables as other programs write them: an index, quotes, other suffixes, one column for each class, folds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.names import class_name, image_path
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import table
from tests.helpers.layouts import save, save_numbered, write

CLASSES = ("anger", "happiness", "sadness")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    save_numbered(tmp_path, 12)
    return tmp_path


def rows(cells: str) -> str:
    """Twelve rows: the fields {n} and {c} of ``cells`` are the number and the class of an image."""
    return "".join("\n" + cells.format(n=n, c=CLASSES[n % 3], k=n % 3, f=n % 4) for n in range(12))


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        (",path,label", "{n},{n}.png,{c}"),  # pandas writes an index without a name
        ("path, label", '{n}.png, "{c}"'),
        ("path,label", "file:///x/{n}.png,{c}"),
        ("sep=;\npath;label", "{n}.png;{c}"),
        ("path,label", "{n}.png,{c}\n,"),
        ("image_id,label", "{n},{c}"),
        ("image,label", "{n}.JPG,{c}"),
        ("image,label", "C:\\me\\{n}.PNG,{c}"),
    ],
)
def test_a_table_is_read_as_it_comes(faces: Path, header: str, cells: str) -> None:
    manifest = open_manifest(write(faces / "mine.csv", header + rows(cells)))
    assert manifest.classes == CLASSES and len(manifest) == 12
    assert manifest.group is None and manifest.split_source == "derived"
    files = manifest.image_files
    assert files is not None and sorted(path.name for path in files) == sorted(f"{n}.png" for n in range(12))
    found = {path.stem: CLASSES[label] for path, label in zip(files, manifest.label, strict=True)}
    assert found == {str(n): CLASSES[n % 3] for n in range(12)}


def test_images_with_other_suffixes_are_said_and_never_guessed(faces: Path) -> None:
    path = write(faces / "mine.csv", "image,label" + rows("{n}.jpg,{c}"))
    assert table.read(path).assumed[-1].startswith("12 images found with other suffixes or letters below")
    save(faces / "more" / "3.gif")
    save(faces / "3.bmp")
    with pytest.raises(DataError, match=r"3\.jpg does not exist \(1 of 12 listed images"):
        table.read(path)


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("1", "0"), ("1.0", "0.0")])
@pytest.mark.parametrize("prefix", ["", "emotion_", "label."])
def test_one_column_for_each_class(faces: Path, prefix: str, yes: str, no: str) -> None:
    lines = [",".join([f"{n}.png", *(yes if n % 3 == k else no for k in range(3))]) for n in range(12)]
    header = f"path,{prefix}Angry,{prefix}Happy,{prefix}Sad"
    manifest = table.read(write(faces / "mine.csv", "\n".join([header, *lines])))
    assert manifest.classes == CLASSES and manifest.label.tolist() == [0, 1, 2] * 4
    assert manifest.label_source == "given" and manifest.votes is None


@pytest.mark.parametrize("mark", ["None", "N/A", "?", "-1", "-1.0"])
def test_marks_for_no_label_are_no_classes_and_are_named(faces: Path, mark: str) -> None:
    cells = ["{n}.png,{k}", "{n}.png,{k}.000e+00"][mark == "-1.0"]
    text = rows(cells).replace(f"\n5.png,{cells.format(n=5, k=2)[6:]}", f"\n5.png,{mark}")
    manifest = table.read(write(faces / "mine.csv", "path,label" + text))
    assert manifest.classes == ("0", "1", "2") and len(manifest) == 11
    assert manifest.notes == (f"1 image (5.png) without a label ({mark}) left out",)


def test_minus_one_among_words_is_no_class(faces: Path) -> None:
    text = rows("{n}.png,{c}").replace("5.png,sadness", "5.png,-1")
    manifest = table.read(write(faces / "mine.csv", "path,label" + text))
    assert manifest.classes == CLASSES and len(manifest) == 11
    assert manifest.notes == ("1 image (5.png) without a label (-1) left out",)


@pytest.mark.parametrize(
    ("column", "cell", "first"), [("fold", "fold{f}", "fold0"), ("cv_fold", "Fold {f}", "Fold 0"), ("fold", "{f}", "0")]
)
def test_folds_by_name_or_number(faces: Path, column: str, cell: str, first: str) -> None:
    path = write(faces / "mine.csv", f"path,label,{column}" + rows("{n}.png,{c}," + cell))
    manifest = table.read(path, options=ReadOptions(columns={"split": column}))
    assert (manifest.split == "test").nonzero()[0].tolist() == [0, 4, 8]
    assert manifest.assumed[-1] == f"{column!r} holds 4 folds; {'fold ' * first.isdecimal()}{first} is the test split"


@pytest.mark.parametrize(("column", "tests"), [("is_train", [0, 4, 8]), ("isTest", [1, 2, 3, 5, 6, 7, 9, 10, 11])])
def test_a_column_that_says_yes_or_no_is_the_split(faces: Path, column: str, tests: list[int]) -> None:
    lines = "".join(f"\n{n}.png,{CLASSES[n % 3]},{n % 4 != 0}" for n in range(12))
    manifest = table.read(write(faces / "mine.csv", f"path,label,{column}{lines}"))
    assert (manifest.split == "test").nonzero()[0].tolist() == tests


@pytest.mark.parametrize("name", ["participant_no", "Subject Number", "personIndex", "actor-code"])
def test_further_names_say_who_is_in_an_image(faces: Path, name: str) -> None:
    manifest = table.read(write(faces / "mine.csv", f"path,label,{name}" + rows("{n}.png,{c},{f}")))
    assert manifest.group is not None and manifest.group.tolist() == list("0123") * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,emotion_class" + rows("{n}.png,{c}"), r"did you mean 'emotion_class'\?"),
        ("path,label" + rows("https://a.b/{n}.png,{c}"), r"row 1: https://a\.b/0\.png is on the web; download"),
        ("path,label,split" + rows("{n}.png,{c},val"), r"no row has split 'train'; --columns split=none takes"),
        ("path,label,part" + rows("{n}.png,{c},x"), ""),
        ("label," + ",".join(f"p{n}" for n in range(2304)) + rows("{k}" + ",0" * 2304), r"p18 and 2,285 more\. Name"),
    ],
)
def test_messages_say_what_to_do(faces: Path, text: str, message: str) -> None:
    path = write(faces / "mine.csv", text)
    if not message:
        assert len(table.read(path)) == 12
        return
    with pytest.raises(DataError, match=message) as error:
        table.read(path)
    assert len(str(error.value)) < 600


def test_val_alone_may_be_what_is_reported(faces: Path) -> None:
    path = write(
        faces / "mine.csv",
        "path,label,split" + rows("{n}.png,{c},train").replace("11.png,sadness,train", "11.png,sadness,val"),
    )
    with pytest.raises(
        DataError, match="no row has split 'test': call val test if it is what you report, or --columns"
    ):
        table.read(path)


def test_a_table_beside_that_is_called_like_a_split_is_not_passed_over_in_silence(faces: Path) -> None:
    path = write(faces / "train.csv", "path,label" + rows("{n}.png,{c}"))
    assert table.read(path).assumed == ()
    write(faces / "test.csv", "path\n1.png")
    write(faces / "notes.csv", "x")
    assert table.read(path).assumed == ("not read: test.csv; one table with a column split holds all images",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\0", "an archive or an Excel file: unpack it, or save it as CSV"),
        (b"PAR1\0", r"it is in Parquet: its name must end in \.parquet"),
        (gzip.compress(b"path,label", mtime=0), "it is compressed: unpack it"),
        (b"\0\1\2", "it is no text"),
    ],
)
def test_files_that_are_no_text_are_recognised(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        table.read(tmp_path / "mine.csv")


@pytest.mark.parametrize(
    ("suffix", "advice"), [("zip", "unpack it"), ("xlsx", "save it as CSV"), ("json", "a CSV file")]
)
def test_other_files_are_refused_with_advice(tmp_path: Path, suffix: str, advice: str) -> None:
    with pytest.raises(DataError, match=rf"a data set is a folder or a table .*; .*{advice}"):
        open_manifest(write(tmp_path / f"faces.{suffix}", "x"))


def test_images_inside_of_parquet_are_named(tmp_path: Path) -> None:
    cells = [{"bytes": b"x", "path": "0.png"}] * 2
    pd.DataFrame({"image": cells, "label": [0, 1]}).to_parquet(tmp_path / "hf.parquet")
    with pytest.raises(DataError, match="the column 'image' holds the images themselves; write them to files"):
        table.read(tmp_path / "hf.parquet")


@pytest.mark.parametrize("cell", ['"[{}]"', '"{}"', "{}"])
@pytest.mark.parametrize("header", ["label,pixels\n", ""])
def test_pixels_as_a_list_and_without_a_header(tmp_path: Path, cell: str, header: str) -> None:
    separator = " " if cell == "{}" else ", "
    lines = [f"{n % 2},{cell.format(separator.join([str(200 + n)] * 64))}" for n in range(6)]
    manifest = table.read(write(tmp_path / "mine.csv", header + "\n".join(lines)))
    assert manifest.classes == ("0", "1") and manifest.label.tolist() == [0, 1] * 3
    assert manifest.source.pixels([5], 8).max() == 205


def test_pixels_in_colour_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="768 numbers are pixels in colour"):
        table.read(write(tmp_path / "mine.csv", "label,pixels\n1," + " ".join(["7"] * 768)))


def test_paths_of_own_data(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(faces / "a b.csv", "path,label" + rows("{n}.png,{c}"))
    monkeypatch.setenv("HOME", str(faces))
    wanted = open_manifest(path).fingerprint()
    assert (
        open_manifest("~/a b.csv").fingerprint() == open_manifest(f"file://{faces}/a%20b.csv").fingerprint() == wanted
    )
    with pytest.raises(DataError, match="fer-bench downloads nothing; download and unpack it"):
        open_manifest("https://example.org/faces.zip")
    with pytest.raises(DataError, match=rf"did you mean {faces}/a b\.csv"):
        open_manifest(faces / "ab.csv")


@pytest.mark.parametrize(("word", "name"), [("0.0000000e+00", "0"), ("7e0", "7"), ("3.0", "3"), ("1.5e0", "1.5e0")])
def test_whole_numbers_are_one_class_in_any_writing(word: str, name: str) -> None:
    assert class_name(word) == name


@pytest.mark.parametrize("text", ["file:///x/y.png", "/x/y.png", "C:\\x\\y.png", "file:///C:/x/y.png"])
def test_absolute_paths_of_any_system(text: str) -> None:
    assert image_path(text) == "/x/y.png"
