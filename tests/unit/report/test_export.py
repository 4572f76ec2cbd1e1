"""``fer-bench export``: every number of every stored epoch reaches CSV and TensorBoard with its condition."""

from __future__ import annotations

import builtins
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from fer_bench.cli.main import main
from fer_bench.core.spec import Imbalance
from fer_bench.report.export import OF_THE_RUN
from fer_bench.store.folder import RunFolder
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish

LONG_TAIL = Imbalance("exp", 20)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    """The runs of the sweep ``s`` in the folder ``out``."""
    out = tmp_path / "out"
    found = [
        finish(out, "alpha", CLEAN),
        finish(out, "alpha", NOISY, data_seed=3),
        finish(out, "beta", NOISY, LONG_TAIL, seed=2),
    ]
    save(out, found)
    return found


def save(out: Path, runs: list[RunFolder]) -> None:
    content = {
        "name": "s",
        "command": "fer-bench run",
        "runs": [str(run.path.relative_to(out)) for run in runs],
        "names": {},
        "skipped": [],
        "classes": {"faces": CLASSES},
    }
    (out / "sweeps" / "s").mkdir(parents=True)
    (out / "sweeps" / "s" / "sweep.json").write_text(json.dumps(content))


def export(tmp_path: Path, form: str, target: Path, sweep: tuple[str, ...] = ("s",)) -> Result:
    return CliRunner().invoke(main, ["export", *sweep, "--to", form, str(target), "--out", str(tmp_path / "out")])


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Leaves of an epoch that are numbers, by path with slashes."""
    if isinstance(value, dict):
        return {name: leaf for key, each in value.items() for name, leaf in numbers(each, f"{path}/{key}").items()}
    return {path[1:]: value} if isinstance(value, (int, float)) else {}


def test_csv_has_a_row_for_each_epoch_with_its_condition(tmp_path: Path, runs: list[RunFolder]) -> None:
    result = export(tmp_path, "csv", tmp_path / "new folder" / "epochs.csv")
    assert result.exit_code == 0 and result.output.strip().endswith("epochs.csv")
    frame = pd.read_csv(tmp_path / "new folder" / "epochs.csv")
    assert list(frame.columns[: len(OF_THE_RUN) + 2]) == [*OF_THE_RUN, "epoch", "stage"]
    assert len(frame) == sum(len(run.epochs()) for run in runs) and len(runs[0].epochs()) > 3
    assert export(tmp_path, "csv", tmp_path / "newest.csv", sweep=()).exit_code == 0
    assert (tmp_path / "newest.csv").read_bytes() == (tmp_path / "new folder" / "epochs.csv").read_bytes()
    for run in runs:
        mine = frame[frame["key"] == run.path.name]
        for (_, row), epoch in zip(mine.iterrows(), run.epochs(), strict=True):
            assert row["test_overall"] == pytest.approx(epoch["test"]["overall"], rel=1e-14)
            for name, value in numbers(epoch).items():
                assert row[name.replace("/", "_")] == pytest.approx(value, rel=1e-14)
    said = frame.drop_duplicates("key")[["row", "condition", "imbalance_factor", "seed", "data_seed"]]
    assert sorted(map(tuple, said.to_numpy())) == [
        ("alpha", "clean", 1.0, 0, 0),
        ("alpha", "symmetric 0.2", 1.0, 0, 3),
        ("beta", "symmetric 0.2, exp 20", 20.0, 2, 0),
    ]


def test_what_an_epoch_does_not_have_is_an_empty_cell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [finish(out, "alpha", CLEAN), finish(out, "beta", CLEAN)]
    records = runs[1].epochs()
    for record in records:
        record["train"] = {"extra": 0.25}
        record["val"] = None
    runs[1].save_epochs(records)
    runs[1].finish({**(runs[1].final or {})}, {})
    save(out, runs)
    assert export(tmp_path, "csv", tmp_path / "e.csv").exit_code == 0
    frame = pd.read_csv(tmp_path / "e.csv").set_index("method")
    assert frame.loc["alpha", "train_extra"].isna().all() and (frame.loc["beta", "train_extra"] == 0.25).all()


def test_tensorboard_has_every_number_under_the_step_of_its_epoch(tmp_path: Path, runs: list[RunFolder]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = export(tmp_path, "tensorboard", tmp_path / "tb")
    assert result.exit_code == 0, result.output
    top = tmp_path / "tb"
    folders = {path.parent.relative_to(top).as_posix(): path.parent for path in top.rglob("events.*")}
    names = [
        f"alpha/clean/seed 0, {runs[0].path.name[:8]}",
        f"alpha/symmetric 0.2/seed 0, data seed 3, {runs[1].path.name[:8]}",
        f"beta/symmetric 0.2, exp 20/seed 2, {runs[2].path.name[:8]}",
    ]
    assert sorted(folders) == names
    for name, run in zip(names, runs, strict=True):
        events = accumulator.EventAccumulator(str(folders[name]))
        events.Reload()
        epochs = {epoch.pop("epoch"): numbers(epoch) for epoch in run.epochs()}
        assert set(events.Tags()["scalars"]) == set().union(*epochs.values())
        for tag in events.Tags()["scalars"]:
            for scalar in events.Scalars(tag):
                assert math.isclose(scalar.value, epochs[scalar.step][tag], rel_tol=1e-6)  # float32 in the file


@pytest.mark.usefixtures("runs")
def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("torch.utils.tensorboard"):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    result = export(tmp_path, "tensorboard", tmp_path / "tb")
    assert result.exit_code == 2
    assert "No module named 'tensorboard'" in result.output and "pip install 'fer-bench[tensorboard]'" in result.output
    assert not (tmp_path / "tb").exists()


@pytest.mark.usefixtures("runs")
def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tb").mkdir()
    assert export(tmp_path, "tensorboard", tmp_path / "tb").exit_code == 0, "an empty folder will do"
    again = export(tmp_path, "tensorboard", tmp_path / "tb")
    assert again.exit_code == 2 and "tb is not empty" in again.output
    file = export(tmp_path, "tensorboard", tmp_path / "out" / "sweeps" / "s" / "sweep.json")
    assert file.exit_code == 2 and "is a file; name a folder" in file.output
