"""The folder of a sweep: what it holds, and how it is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError, StoreError
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.record import find_sweep, make_sweep
from fer_bench.sweep.request import Request

EMPTY = {"name": "s", "command": "", "created": "", "runs": [], "skipped": [], "names": {}, "classes": {}}


def test_a_damaged_sweep_is_written_anew(tmp_path: Path, faces_folder: Path) -> None:
    one, other = (make_plan(Request(["ce"], dataset=str(faces_folder), noise=[rate])) for rate in (0.2, 0.4))
    make_sweep(one, tmp_path, "mine", "first").save()
    (tmp_path / "sweeps" / "mine" / "sweep.json").write_text("{torn")
    with pytest.raises(StoreError, match=r"mine/sweep.json is damaged: .* run the sweep's command again"):
        find_sweep(tmp_path, "mine")
    again = make_sweep(other, tmp_path, "mine", "others")
    again.check_name()
    again.save()
    assert find_sweep(tmp_path, "mine").content["command"] == "others"


def test_a_sweep_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "sweeps" / "mine").mkdir(parents=True)
        content = {**EMPTY, "command": place}
        (tmp_path / place / "sweeps" / "mine" / "sweep.json").write_text(json.dumps(content))
    here = tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "here/sweeps/mine", None):
        assert find_sweep(Path("here"), name).folder == Path("here/sweeps/mine")
    assert find_sweep(here, str(tmp_path / "there" / "sweeps" / "mine")).content["command"] == "there"
    monkeypatch.chdir(tmp_path / "there" / "sweeps" / "mine")
    assert find_sweep(here, "../mine").content["command"] == "there"
    with pytest.raises(SpecError, match=r"no sweep at .*elsewhere/mine: it has no sweep.json"):
        find_sweep(here, "elsewhere/mine")


def test_a_sweep_without_its_runs_says_where_its_tables_are(tmp_path: Path, faces_folder: Path) -> None:
    make_sweep(make_plan(Request(["ce"], dataset=str(faces_folder))), tmp_path, "mine", "fer-bench run").save()
    assert "no run of mine is finished yet" in CliRunner().invoke(main, ["table", "--out", str(tmp_path)]).output
    (tmp_path / "sweeps" / "mine" / "runs.csv").write_text("key\n")
    said = CliRunner().invoke(main, ["table", "--out", str(tmp_path)])
    assert said.exit_code == 1 and "the runs of mine are not on this machine" in said.output
    assert str(tmp_path / "sweeps" / "mine") in said.output
