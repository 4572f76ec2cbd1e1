"""The walker: which files and folders may belong to a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.errors import DataError
from fer_bench.data.walk import files_under, folders_in


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_under(root)]


def test_hidden_files_hidden_folders_and_system_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b/c.png", ".hidden.png", "._a.png", "b/.ipynb_checkpoints/c.png", "b/.x/y/z.png")
    touch(tmp_path, "__MACOSX/a/._1.png", "b/@eaDir/c.png/thumb.jpg", "lost+found/d.png")
    assert names(tmp_path) == ["a.png", "b/c.png"]
    assert [folder.name for folder in folders_in(tmp_path)] == ["b"]


def test_a_hidden_folder_above_the_start_hides_nothing(tmp_path: Path) -> None:
    touch(tmp_path / ".cache" / "faces", "a.png", "b/c.png")
    assert names(tmp_path / ".cache" / "faces") == ["a.png", "b/c.png"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    store, start = tmp_path / "store", tmp_path / "start"
    touch(store, "1.png", "deep/2.png")
    touch(start, "own/3.png")
    (start / "linked").symlink_to(store)
    (start / "also").symlink_to(store)
    (start / "file.png").symlink_to(store / "1.png")
    assert names(start) == ["also/1.png", "also/deep/2.png", "file.png", "own/3.png"]
    (start / "an_alias_of_own").symlink_to(start / "own")
    assert "own/3.png" in names(start), "the folder comes before the links to it"
    assert len(names(start)) == 4


def test_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "top").symlink_to("/")
    (tmp_path / "a" / "over").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "back").symlink_to(tmp_path / "a")
    assert [path.name for path in files_under(tmp_path / "a")] == ["1.png", "2.png"]
    assert sorted(path.name for path in files_under(tmp_path)) == ["1.png", "2.png"]
    assert [folder.name for folder in folders_in(tmp_path / "a")] == ["over"]


def test_a_link_that_leads_nowhere_is_listed(tmp_path: Path) -> None:
    (tmp_path / "lost.png").symlink_to("/no/such/image.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert names(tmp_path) == ["loop.png", "lost.png"]


def test_results_of_fer_bench_are_no_data(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "results/runs/faces/ce/0123456789abcdef/spec.json")
    touch(tmp_path, "results/sweeps/faces-1/sweep.json", "results/sweeps/faces-1/plots/accuracy.png")
    assert names(tmp_path) == ["train/a/1.png"]
    assert [folder.name for folder in folders_in(tmp_path)] == ["train"]
    touch(tmp_path, "sweeps/faces-1/sweep.json", "sweeps/faces-1/plots/accuracy.png", "runs/x.png")
    assert names(tmp_path) == ["train/a/1.png"], "also where the results lie beside the data"


def test_folders_called_like_results_are_data_where_they_hold_none(tmp_path: Path) -> None:
    touch(tmp_path, "runs/1.png", "sweeps/2.png", "results/runs/3.png")
    assert names(tmp_path) == ["results/runs/3.png", "runs/1.png", "sweeps/2.png"]


def test_what_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: the folder cannot be read \(No such file"):
        files_under(tmp_path / "nowhere")
