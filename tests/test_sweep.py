"""The folder of a sweep: what it remembers of an earlier call of the same name."""

from __future__ import annotations

from pathlib import Path

from fer_bench.sweep import Request, find_sweep, plan, save_sweep


def test_other_runs_under_the_same_name_are_noticed(tmp_path: Path, faces_folder: Path) -> None:
    """Plots are drawn again where the runs are others, though none of them had to be trained."""
    one, other = (plan(Request(["ce"], dataset=str(faces_folder), noise=[rate])) for rate in (0.2, 0.4))
    assert save_sweep(one, tmp_path, "mine", "first")
    assert not save_sweep(one, tmp_path, "mine", "again")
    assert save_sweep(other, tmp_path, "mine", "others")
    assert find_sweep(tmp_path, "mine").content["command"] == "others"
    (tmp_path / "sweeps" / "mine" / "sweep.json").write_text("{torn")
    assert save_sweep(other, tmp_path, "mine", "others"), "a damaged file is written anew"
