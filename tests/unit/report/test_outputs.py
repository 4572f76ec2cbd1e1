"""Which files of a sweep are written, and when its plots are drawn again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fer_bench.report import outputs
from fer_bench.report.plots import sketch
from fer_bench.sweep.record import Sweep
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish


def sweep(out: Path, runs: list[str]) -> Sweep:
    content = {
        "name": "s", "command": "fer-bench run", "runs": runs, "names": {Path(run).name: run for run in runs},
        "skipped": [], "classes": {"faces": list(CLASSES)}, "created": "",
    }  # fmt: skip
    return Sweep("s", out / "sweeps" / "s", content)


def test_plots_are_drawn_again_after_a_kill_and_for_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [finish(tmp_path, "alpha", noise).path.relative_to(tmp_path).as_posix() for noise in (CLEAN, NOISY)]
    one, both = sweep(tmp_path, paths[:1]), sweep(tmp_path, paths)
    saved: list[str] = []

    def save(_: Figure, path: Path) -> list[Path]:
        if len(saved) == 1 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        saved.append(path.name)
        path.with_name(f"{path.name}.png").touch()
        return []

    killed: list[bool] = []
    (one.folder / "plots").mkdir(parents=True)
    monkeypatch.setattr(sketch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        outputs.write_outputs(one)
    outputs.write_outputs(one)
    assert saved == ["recall-clean", "confusion-clean", "curves"], "a kill loses the figure that was being drawn"
    outputs.write_outputs(one)
    assert len(saved) == 3
    outputs.write_outputs(both)
    new = ["noise", "recall-symmetric-0.2", "confusion-symmetric-0.2", "curves"]
    assert saved[3:] == new
    outputs.write_outputs(both, redraw=True)
    assert sorted(saved[7:]) == sorted({*saved})


@pytest.mark.slow
def test_a_fresh_clone_makes_the_same_files_from_the_compact_one(tmp_path: Path) -> None:
    """Without the folders of the runs: tables, runs and plots, byte for byte."""
    runs = [
        finish(tmp_path, method, noise, seed=seed).path.relative_to(tmp_path).as_posix()
        for method in ("alpha", "beta") for noise in (CLEAN, NOISY) for seed in range(2)
    ]  # fmt: skip
    written = outputs.write_outputs(sweep(tmp_path, runs))
    before = {path: path.read_bytes() for path in written}
    shutil.rmtree(tmp_path / "runs")
    for path in written:
        path.unlink()
    outputs.write_outputs(sweep(tmp_path, runs), redraw=True)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.suffix for path in before} == {".md", ".csv", ".tex", ".html", ".png", ".pdf"}


def test_nothing_is_written_without_a_finished_run(tmp_path: Path) -> None:
    assert outputs.write_outputs(sweep(tmp_path, ["runs/faces/alpha/0123456789abcdef"])) == []
    assert not (tmp_path / "sweeps").exists()
