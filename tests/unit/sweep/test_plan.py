"""The folder of a sweep: what it holds, and when its plots are drawn again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.report import outputs
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.record import Sweep, find_sweep, save_sweep
from fer_bench.sweep.request import Request
from tests.unit.store.test_folder import finished


def test_a_damaged_sweep_is_written_anew(tmp_path: Path, faces_folder: Path) -> None:
    one, other = (make_plan(Request(["ce"], dataset=str(faces_folder), noise=[rate])) for rate in (0.2, 0.4))
    save_sweep(one, tmp_path, "mine", "first")
    (tmp_path / "sweeps" / "mine" / "sweep.json").write_text("{torn")
    save_sweep(other, tmp_path, "mine", "others")
    assert find_sweep(tmp_path, "mine").content["command"] == "others"


def test_a_sweep_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        (tmp_path / place / "sweeps" / "mine").mkdir(parents=True)
        content = {"runs": [], "command": place}
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
    save_sweep(make_plan(Request(["ce"], dataset=str(faces_folder))), tmp_path, "mine", "fer-bench run")
    assert "no run of mine is finished yet" in CliRunner().invoke(main, ["table", "--out", str(tmp_path)]).output
    (tmp_path / "sweeps" / "mine" / "runs.csv").write_text("key\n")
    said = CliRunner().invoke(main, ["table", "--out", str(tmp_path)])
    assert said.exit_code == 1 and "the runs of mine are not here" in said.output
    assert str(tmp_path / "sweeps" / "mine") in said.output


def test_plots_are_drawn_again_after_a_kill_and_for_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(finished(tmp_path, seed=seed).path.relative_to(tmp_path)) for seed in (0, 1)]
    content = {"name": "s", "runs": paths[:1], "skipped": [], "names": {}, "classes": {}}
    one, both = (Sweep("s", tmp_path / "sweeps" / "s", {**content, "runs": runs}) for runs in (paths[:1], paths))
    monkeypatch.setattr("fer_bench.report.tables.write", lambda *_, **__: [])

    def killed(*_: object, **__: object) -> list[Path]:
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_bench.report.plots.figures.write", killed)
    with pytest.raises(KeyboardInterrupt):
        outputs.write_outputs(one)
    assert not outputs.plots_are_current(one)
    monkeypatch.setattr("fer_bench.report.plots.figures.write", lambda *_, **__: [])
    outputs.write_outputs(one)
    assert outputs.plots_are_current(one) and not outputs.plots_are_current(both)
