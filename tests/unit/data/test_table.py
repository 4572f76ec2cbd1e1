"""Tables of people's own, as they come: separators, encodings, names of columns, where images are, repeated rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_bench.core.errors import DataError, SpecError
from fer_bench.data.catalog import open_manifest
from fer_bench.data.dataset import Manifest
from fer_bench.data.options import ReadOptions
from fer_bench.data.readers import table
from tests.helpers.layouts import save, save_numbered, write


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    save_numbered(tmp_path / "faces", 6)
    return tmp_path


def csv(root: Path, header: str, cells: list[str], name: str = "mine.csv") -> Path:
    """Six rows with these cells between the path and the split."""
    rows = [f"faces/{n}.png,{cell},{'train' if n < 4 else 'test'}" for n, cell in enumerate(cells)]
    return write(root / name, "\n".join([header, *rows]))


ROWS = "".join(f"\nfaces/{n}.png,{'sad' if n % 2 else 'happy'},{'train' if n < 4 else 'test'}" for n in range(6))
WANTED = {f"faces/{n}.png": ("sadness" if n % 2 else "happiness", "train" if n < 4 else "test") for n in range(6)}


def found(manifest: Manifest) -> dict[str, tuple[str, str]]:
    rows = zip(manifest.ids, manifest.label, manifest.split, strict=True)
    return {str(name): (manifest.classes[label], str(split)) for name, label, split in rows}


# --- names of columns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["image", "file", "filename", "path", "filepath", "File Name", "img_path"])
@pytest.mark.parametrize("label", ["emotion", "label", "expression", "class", "target", "Emotion Label"])
@pytest.mark.parametrize("split", ["split", "usage", "set", "fold", "Usage"])
def test_usual_names_of_columns_are_known(faces: Path, path: str, label: str, split: str) -> None:
    manifest = table.read(write(faces / "mine.csv", f"{path},{label},{split}{ROWS}"))
    assert found(manifest) == WANTED and manifest.label_source == "given"
    said = {"path": path, "label": label, "split": split}
    unusual = [f"{role} = {name!r}" for role, name in said.items() if name.lower() != role]
    assert manifest.assumed == ((f"columns: {'; '.join(unusual)}",) if unusual else ())


@pytest.mark.parametrize("name", ["subject", "user", "person", "identity", "group", "user.id", "Subject ID"])
def test_a_column_says_who_is_in_an_image(faces: Path, name: str) -> None:
    rows = "".join(f"\nfaces/{n}.png,sad,train,{'nan' if n == 5 else n // 2}" for n in range(6))
    manifest = table.read(
        write(faces / "mine.csv", f"path,label,split,{name}{rows.replace('5.png,sad,train', '5.png,sad,test')}")
    )
    assert manifest.group is not None and manifest.group.tolist() == ["0", "0", "1", "1", "2", "?faces/5.png"]


def test_columns_are_given_by_name_or_number(faces: Path) -> None:
    path = write(
        faces / "mine.csv", f"foto,gefühl,teil,label{ROWS}".replace(",train", ",train,x").replace(",test", ",test,y")
    )
    for columns in (
        {"path": "foto", "label": "gefühl", "split": "teil"},
        {"path": "FOTO", "label": "Gefühl", "split": "3"},
        {"path": "1", "label": "2", "split": "3"},
    ):
        assert found(table.read(path, options=ReadOptions(columns=columns))) == WANTED
    with pytest.raises(DataError, match=r"--columns label=emotion: there is no such column; found foto, gefühl, teil"):
        table.read(path, options=ReadOptions(columns={"path": "foto", "label": "emotion"}))
    with pytest.raises(DataError, match=r"no column 'path'; found foto, .*--columns path=COLUMN,label=COLUMN"):
        table.read(path)
    with pytest.raises(SpecError, match=r"--columns paths=…: no such role; did you mean 'path'"):
        ReadOptions(columns={"paths": "foto"})


def test_a_column_can_be_left_out(faces: Path) -> None:
    path = write(faces / "mine.csv", f"path,label,split{ROWS}")
    assert set(table.read(path, options=ReadOptions(columns={"split": "none"})).split) == {""}


def test_two_columns_of_labels_must_say_the_same(faces: Path) -> None:
    cells = [f"{n % 2},{'sad' if n % 2 else 'happy'}" for n in range(6)]
    manifest = table.read(csv(faces, "path,emotion,label,split", cells))
    assert manifest.classes == ("happiness", "sadness"), "label comes first, and emotion is its number"
    differ = r"columns 'label' and 'emotion' are both labels, and they differ; .*reference="
    with pytest.raises(DataError, match=differ):
        table.read(csv(faces, "path,emotion,label,split", ["1,happy", *cells[1:]]))


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_separator_line_end_and_encoding(faces: Path, separator: str, end: str, encoding: str) -> None:
    text = f"path,label,split{ROWS}\n".replace(",", separator).replace("\n", end)
    (faces / "mine.csv").write_bytes(text.encode(encoding))
    assert found(table.read(faces / "mine.csv")) == WANTED


def test_text_of_windows_is_read_and_said(faces: Path) -> None:
    (faces / "mine.csv").write_bytes(f"path,label,split{ROWS}".replace("sad", "müde").encode("cp1252"))
    manifest = table.read(faces / "mine.csv")
    assert manifest.classes == ("happiness", "müde") and "Windows-1252" in manifest.assumed[0]


@pytest.mark.parametrize("name", ["mine.csv", "mine.txt"])
def test_lists_without_a_header(faces: Path, name: str) -> None:
    separator = "," if name.endswith("csv") else " "
    manifest = table.read(write(faces / name, ROWS.strip().replace(",", separator)))
    assert found(manifest) == WANTED
    assert manifest.assumed[-1] == "columns by number, as there is no header: path = '1'; label = '2'; split = '3'"
    with pytest.raises(
        DataError, match=r"has no header, and it is unclear which of its 4 columns is the label: use --columns"
    ):
        table.read(write(faces / name, ROWS.strip().replace(",t", ",x,t").replace(",", separator)))


def test_cells_are_trimmed_and_words_of_one_class_merge_and_are_named(faces: Path) -> None:
    words = ["Happy", " happiness ", "HAPPY", "Joy", "joy", "3.0"]
    rows = "".join(f"\n faces\\{n}.png , {word} , {'train' if n < 4 else 'Test'}" for n, word in enumerate(words))
    manifest = table.read(write(faces / "mine.csv", f"path, label ,split{rows}"))
    assert manifest.ids.tolist() == [f"faces/{n}.png" for n in range(6)]
    assert manifest.classes == ("3", "happiness", "joy")
    assert manifest.assumed == ("HAPPY, Happy and happiness are one class, happiness", "Joy and joy are one class, joy")


def test_numbers_are_one_class_with_and_without_a_fraction(faces: Path) -> None:
    manifest = table.read(csv(faces, "path,label,split", ["3", "3.0", "10", "10.0", "3", "10"]))
    assert manifest.classes == ("3", "10") and manifest.label.tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("word", ["", "nan", "NaN", "null"])
def test_rows_without_a_label_are_left_out_and_counted(faces: Path, word: str) -> None:
    rows = ROWS.replace("0.png,happy", f"0.png,{word}").replace("3.png,sad", f"3.png,{word}")
    manifest = table.read(write(faces / "mine.csv", f"path,label,split{rows}"))
    assert found(manifest) == {name: each for name, each in WANTED.items() if name[6] not in "03"}
    assert manifest.notes == ("2 images (faces/0.png, faces/3.png) without a label left out",)
    assert manifest.source.pixels([0], 2)[0, 0, 0, 0] == 1, "pixels follow their rows"


def test_a_row_that_repeats_an_image_is_a_vote(faces: Path) -> None:
    rows = ROWS + "\nfaces/0.png,happy,train\nfaces/1.png,happy,train\nfaces/2.png,sad,train\nfaces/2.png,sad,train"
    path = write(faces / "mine.csv", f"path,label,split{rows}")
    manifest = table.read(path)
    labels = {name: label for name, (label, _) in found(manifest).items()}
    assert labels == {f"faces/{n}.png": "sadness" if n in (2, 3, 5) else "happiness" for n in (0, 2, 3, 4, 5)}
    assert manifest.notes == (
        "4 rows about an image that an earlier row names",
        "1 image (faces/1.png) whose votes tie left out (--ties drop)",
    )
    kept = table.read(path, options=ReadOptions(ties="first"))
    assert found(kept)["faces/1.png"][0] == "happiness" and "given to the first" in kept.notes[1]


def test_parquet_columns_are_found_in_the_same_way(faces: Path) -> None:
    rows = {"image": [f"faces/{n}.png" for n in range(6)], "emotion": [0.0, 1.0, 0.0, None, 1.0, 0.0],
            "usage": ["train"] * 4 + ["test"] * 2}  # fmt: skip
    pd.DataFrame(rows).to_parquet(faces / "mine.parquet")
    manifest = table.read(faces / "mine.parquet")
    assert manifest.classes == ("0", "1") and len(manifest) == 5


def test_folds_of_a_column_are_a_split_and_said(faces: Path) -> None:
    rows = "".join(f"\nfaces/{n}.png,{'sad' if n % 2 else 'happy'},{n // 2 + 1}" for n in range(6))
    manifest = table.read(write(faces / "mine.csv", f"path,label,fold{rows}"))
    assert manifest.split.tolist() == ["test"] * 2 + ["train"] * 4
    assert manifest.assumed[-1] == "'fold' holds 3 folds; fold 1 is the test split"
    with pytest.raises(DataError, match=r"row 1: unknown split '0', not one of train, val, test"):
        table.read(
            write(
                faces / "mine.csv",
                f"path,label,fold{rows.replace(',1', ',0').replace(',3', ',2').replace(',1', ',0', 1)}",
            )
        )


def test_ids_that_repeat_are_not_used(faces: Path) -> None:
    rows = "".join(f"\n{n // 3},faces/{n}.png,sad,{'train' if n < 4 else 'test'}" for n in range(6))
    manifest = table.read(write(faces / "mine.csv", f"id,path,label,split{rows}"))
    assert manifest.ids[0] == "faces/0.png" and "the column 'id' is not used, as its values repeat" in manifest.assumed


# --- where the images are --------------------------------------------------------------------------------------------


def test_images_are_found_in_folders_beside_the_table(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / "data" / "pictures" / "all" / f"{number}.png", (number, 0, 0))
    rows = ROWS.replace("faces/", "")
    manifest = table.read(write(tmp_path / "data" / "mine.csv", f"path,label,split{rows}"))
    assert manifest.ids.tolist() == [f"{n}.png" for n in range(6)]
    assert "6 images found below" in manifest.assumed[-1] and manifest.assumed[-1].endswith("pictures/all/0.png")
    assert manifest.folders == (tmp_path / "data",), "whatever is put there may change what is read"
    save(tmp_path / "data" / "more" / "0.png")
    with pytest.raises(
        DataError, match=r"0\.png does not exist \(1 of 6 .*2 files end so: .*more/0\.png and .*all/0\.png"
    ):
        table.read(tmp_path / "data" / "mine.csv")


def test_absolute_paths_of_another_machine_lose_their_beginning(faces: Path) -> None:
    rows = ROWS.replace("faces/", "C:\\Users\\me\\faces\\")
    manifest = table.read(write(faces / "mine.csv", f"path,label,split{rows}"))
    assert [manifest.source.pixels([n], 2)[0, 0, 0, 0] for n in range(6)] == list(range(6))


def test_another_folder_never_stands_for_the_one_that_is_named(faces: Path) -> None:
    (faces / "faces" / "0.png").rename(faces / "0.png")
    (faces / "other").mkdir()
    save(faces / "other" / "0.png")
    with pytest.raises(DataError, match=r"faces/0\.png does not exist \(1 of 6"):
        table.read(write(faces / "mine.csv", f"path,label,split{ROWS}"))


def test_a_message_says_where_was_looked(faces: Path) -> None:
    path = write(faces / "lists" / "mine.csv", f"path,label,split{ROWS}")
    assert found(table.read(path, faces)) == WANTED
    with pytest.raises(DataError, match=rf"looked in {faces / 'lists'} and {faces / 'no'}, .*--data-root"):
        table.read(path, faces / "no")


# --- references and votes --------------------------------------------------------------------------------------------


def test_a_reference_makes_the_label_a_human_one(faces: Path) -> None:
    rows = "".join(f"\nfaces/{n}.png,{word},{'sad' if n % 2 else 'happy'},{'train' if n < 4 else 'test'}"
                   for n, word in enumerate(["happy", "happy", "sad", "sad", "odd", "nan"]))  # fmt: skip
    manifest = table.read(write(faces / "mine.csv", f"path,label,reference,split{rows}"))
    assert found(manifest) == WANTED and manifest.label_source == "reference"
    assert manifest.human is not None and manifest.human.tolist() == [0, 0, 1, 1, -1, -1]
    assert manifest.notes == ("2 labels of no class ignored: nan, odd",)
    alone = table.read(faces / "mine.csv", options=ReadOptions(columns={"label": "none"}))
    assert alone.human is None and alone.label_source == "reference"


VOTES = ["8,1,1", "0,5,0", "4,4,0", "1,1,8", "9,1,0", "0,0,0"]


def test_votes_of_several_people_make_a_reference(faces: Path) -> None:
    manifest = table.read(csv(faces, "image,Happy,Sad,unknown,split", VOTES))
    labels = {"faces/0.png": "happiness", "faces/1.png": "sadness", "faces/4.png": "happiness"}
    assert {name: label for name, (label, _) in found(manifest).items()} == labels
    assert manifest.label_source == "reference" and manifest.votes is not None and manifest.distribution is not None
    assert manifest.votes.tolist() == [[8, 1], [0, 5], [9, 1]]
    assert manifest.distribution[0] == pytest.approx(np.array([8 / 9, 1 / 9]))
    assert manifest.notes == (
        "2 images (faces/3.png, faces/5.png) without votes, or with most votes for no class, left out",
        "1 image (faces/2.png) whose votes tie left out (--ties drop)",
    )


def test_ties_follow_the_rule(faces: Path) -> None:
    cells = ["5,0,5", "0,5,5", "5,5,0", "9,0,0", "0,9,0", "0,0,9"]
    path = csv(faces, "image,sad,happy,angry,split", cells)
    assert len(table.read(path)) == 3
    first = table.read(path, options=ReadOptions(ties="first"))
    assert first.classes == ("anger", "happiness", "sadness") and first.label.tolist() == [0, 0, 1, 2, 1, 0]
    drawn = table.read(path, options=ReadOptions(ties="distribution"))
    assert drawn.votes is not None and (drawn.votes[np.arange(6), drawn.label] == drawn.votes.max(1)).all()
    assert drawn.label.tolist() == table.read(path, options=ReadOptions(ties="distribution")).label.tolist()
    assert "given to one of these classes by a hash of the id (--ties distribution)" in drawn.notes[0]


def test_ties_are_drawn_evenly(tmp_path: Path) -> None:
    rows = "".join(f"\n{n}.png,5,5,{'train' if n % 2 else 'test'}" for n in range(400))
    for number in range(400):
        (tmp_path / f"{number}.png").touch()
    path = write(tmp_path / "mine.csv", f"image,sad,happy,split{rows}")
    label = table.read(path, options=ReadOptions(ties="distribution")).label
    assert 160 < label.sum() < 240


def test_one_vote_for_each_image_is_a_label_as_given(faces: Path) -> None:
    manifest = table.read(csv(faces, "image,sad,happy,split", [f"{n % 2},{1 - n % 2}" for n in range(6)]))
    assert found(manifest) == WANTED and manifest.label_source == "given" and manifest.votes is None


def test_a_label_beside_votes_is_a_human_one_and_shares_are_no_votes(faces: Path) -> None:
    header, cells = "image,label,sad,happy,split", [f"happy,{9 * (n % 2)},{9 - 9 * (n % 2)}" for n in range(6)]
    manifest = table.read(csv(faces, header, cells))
    assert found(manifest) == WANTED and manifest.human is not None and manifest.human.tolist() == [0] * 6
    path = csv(faces, header, [cell.replace("9", "0.9") for cell in cells])
    manifest = table.read(path)
    assert manifest.label_source == "given" and manifest.classes == ("happiness",)
    with pytest.raises(DataError, match="the columns happiness, sadness hold no counts of votes, and no column holds"):
        table.read(path, options=ReadOptions(columns={"label": "none"}))


# --- pixels in the table ---------------------------------------------------------------------------------------------


def test_a_table_of_pixels(tmp_path: Path) -> None:
    rows = "".join(
        f"\n{n % 2 + 6},{' '.join([str(40 * n)] * 64)},{'Training' if n < 4 else 'PrivateTest'}" for n in range(6)
    )
    usage = rows + "\n7," + " ".join(["9"] * 64) + ",PublicTest"
    manifest = table.read(write(tmp_path / "ck.csv", f"emotion, pixels, Usage{usage}"))
    assert manifest.classes == ("6", "7") and manifest.ids[0] == "row00000"
    assert manifest.split.tolist() == ["train"] * 4 + ["test"] * 2 + ["val"]
    assert manifest.source.pixels([3], 8).max() == 120
    with pytest.raises(DataError, match=r"this is the csv file of FER2013: use --dataset fer2013 --data-root "):
        table.read(write(tmp_path / "fer2013" / "fer2013.csv", f"emotion,pixels,Usage{usage}"))
    with pytest.raises(DataError, match=r"data row 0: not 64 pixels of 0 to 255 but 65 values|pixels"):
        table.read(write(tmp_path / "ck.csv", "emotion,pixels,Usage\n1,1 2 3,Training\n2,1 2 3,Test"))


# --- what does not apply ---------------------------------------------------------------------------------------------


def test_options_of_tables_are_for_tables(faces: Path) -> None:
    save(faces / "by-class" / "happy" / "0.png")
    for name in ("synthetic", str(faces / "by-class")):
        with pytest.raises(SpecError, match=r"--columns: .* is not a table of your own"):
            open_manifest(name, options=ReadOptions(columns={"path": "image"}))
        with pytest.raises(SpecError, match=r"--ties: .* is not a table of your own"):
            open_manifest(name, options=ReadOptions(ties="first"))
