"""The folder of a sweep: what it holds, and when its plots are drawn again."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_store import finished

from fer_bench import api
from fer_bench.sweep import Request, Sweep, find_sweep, plan, save_sweep


def test_a_damaged_sweep_is_written_anew(tmp_path: Path, faces_folder: Path) -> None:
    one, other = (plan(Request(["ce"], dataset=str(faces_folder), noise=[rate])) for rate in (0.2, 0.4))
    save_sweep(one, tmp_path, "mine", "first")
    (tmp_path / "sweeps" / "mine" / "sweep.json").write_text("{torn")
    save_sweep(other, tmp_path, "mine", "others")
    assert find_sweep(tmp_path, "mine").content["command"] == "others"


def test_plots_are_drawn_again_after_a_kill_and_for_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(finished(tmp_path, seed=seed).path.relative_to(tmp_path)) for seed in (0, 1)]
    content = {"name": "s", "runs": paths[:1], "skipped": [], "names": {}, "classes": {}}
    one, both = (Sweep("s", tmp_path / "sweeps" / "s", {**content, "runs": runs}) for runs in (paths[:1], paths))
    monkeypatch.setattr("fer_bench.report.tables.write", lambda *_, **__: [])

    def killed(*_: object, **__: object) -> list[Path]:
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_bench.report.plots.write", killed)
    with pytest.raises(KeyboardInterrupt):
        api.write_outputs(one)
    assert not api.plots_are_current(one)
    monkeypatch.setattr("fer_bench.report.plots.write", lambda *_, **__: [])
    api.write_outputs(one)
    assert api.plots_are_current(one) and not api.plots_are_current(both)
