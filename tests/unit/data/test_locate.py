"""Where the images of a table are: never an image of another data set, and messages that say what was found."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.readers import locate
from tests.helpers.layouts import save

NAMES = [f"im/{number}.png" for number in range(20)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the images of NAMES beside a table, and the data root in it."""
    for name in NAMES:
        save(tmp_path / name)
    (tmp_path / "data").mkdir()
    return tmp_path


def found(project: Path, names: list[str]) -> list[Path]:
    return locate.locate(names, project / "t.csv", [project / "data"]).paths


@pytest.mark.parametrize("place", ["data/other/pics/im", "data/im", "backup/im"])
def test_a_few_missing_images_are_never_taken_from_another_folder(project: Path, place: str) -> None:
    assert found(project, NAMES) == [project / name for name in NAMES]
    for number in (7, 8):
        (project / f"im/{number}.png").unlink()
        save(project / place / f"{number}.png")
    message = rf"im/7\.png does not exist \(2 of 20 .*{place}/7\.png ends like it, but the other images are in"
    with pytest.raises(DataError, match=message):
        found(project, NAMES)


def test_relative_paths_are_compared_as_absolute_ones(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "im/7.png").unlink()
    save(project / "data/im/7.png")
    with pytest.raises(DataError, match=r"data/im/7\.png ends like it"):
        locate.locate(NAMES, Path("t.csv"), [Path("data")])


def test_a_few_images_in_another_home_are_not_those_that_were_searched_for(project: Path) -> None:
    (project / "data/deep").mkdir()
    (project / "im").rename(project / "data/deep/im")
    assert found(project, NAMES) == [project / "data/deep" / name for name in NAMES]
    (project / "data/deep/im/7.png").unlink()
    save(project / "old/im/7.png")
    with pytest.raises(DataError, match=r"7\.png does not exist \(1 of 20 .*old/im/7\.png ends like it"):
        found(project, NAMES)


def test_images_in_several_folders_are_found_and_the_folders_are_named(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / ("a", "b")[number % 2] / f"{number}.png")
    located = locate.locate([f"{number}.png" for number in range(6)], tmp_path / "t.csv", [])
    assert located.paths == [tmp_path / ("a", "b")[number % 2] / f"{number}.png" for number in range(6)]
    assert located.assumed[0].endswith(f"they are in {tmp_path / 'a'} (3) and {tmp_path / 'b'} (3)")


def test_half_of_the_images_may_be_under_the_data_root(project: Path) -> None:
    for name in NAMES[10:]:
        save(project / "data" / name)
        (project / name).unlink()
    assert found(project, NAMES) == [project / name for name in NAMES[:10]] + [
        project / "data" / name for name in NAMES[10:]
    ]


def test_other_letters_in_the_same_folder_are_not_elsewhere(project: Path) -> None:
    form = {name: unicodedata.normalize(name, "größe.png") for name in ("NFC", "NFD")}
    save(project / "im" / form["NFD"])
    located = locate.locate([*NAMES, f"im/{form['NFC']}"], project / "t.csv", [])
    assert located.paths[-1] == project / "im" / form["NFD"]


def test_a_list_from_another_system_names_files_in_another_unicode_form(tmp_path: Path) -> None:
    names = [f"größe{number}.png" for number in range(3)]
    for name in names:
        save(tmp_path / "im" / unicodedata.normalize("NFD", name))
    listed = [f"im/{unicodedata.normalize('NFC', name)}" for name in names]
    paths = locate.locate(listed, tmp_path / "t.csv", []).paths
    assert [path.name for path in paths] == [unicodedata.normalize("NFD", name) for name in names]


def test_several_files_that_end_so_are_named(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "img" / "a" / f"{number}.png")
        save(tmp_path / "img" / "b" / f"{number}.png")
    first, second = (re.escape(str(tmp_path / "img" / each / "0.png")) for each in "ab")
    with pytest.raises(DataError, match=rf"\(3 of 3 .*, and 2 files end so: {first} and {second}; write the folders"):
        locate.locate(["0.png", "1.png", "2.png"], tmp_path / "t.csv", [])


def test_one_path_that_leads_out_is_named_among_others(project: Path) -> None:
    with pytest.raises(DataError, match=r"row 21: /elsewhere/99\.png leads out of"):
        found(project, [*NAMES, "/elsewhere/99.png"])
    with pytest.raises(DataError, match=r"/elsewhere/0\.png does not exist .*im/0\.png ends like it"):
        found(project, [*NAMES, "/elsewhere/0.png"])
