"""A sweep goes on from its compact file, where the folders of its runs are not on this machine."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

import fer_bench
from fer_bench import api
from fer_bench.cli.main import main
from fer_bench.cli.snapshots import SweepWatcher, all_ended
from fer_bench.core.errors import StoreError
from fer_bench.launch.progress import ProgressEvent, absent_runs
from fer_bench.launch.work import Work
from fer_bench.store.compact import COMPACT
from fer_bench.store.folder import RunFolder
from fer_bench.sweep import keeper
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.record import Sweep, find_sweep
from fer_bench.sweep.request import Request
from fer_bench.tune.plan import Search, make_tuning
from tests.helpers.stored import finish_run


class Launch:
    """Invents the results of runs in place of training; ``each`` is called before the next run."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.each: Callable[[PlannedRun], None] = lambda run: None

    def __call__(self, work: Work, **_: Any) -> None:
        for run in work.todo:
            self.each(run)
            folder = finish_run(work.out, run.spec)
            self.trained.append(f"{run.spec.method} {run.spec.seed}")
            work.on_event(0, run, {"state": "done", "final": folder.final})


@pytest.fixture(autouse=True)
def launch(monkeypatch: pytest.MonkeyPatch) -> Launch:
    made = Launch()
    monkeypatch.setattr("fer_bench.launch.local.train_all", made)
    monkeypatch.setattr("fer_bench.sweep.estimate.measure_speed", lambda recipe, device: 1000.0)
    monkeypatch.setattr("fer_bench.api.write_outputs", lambda sweep, *_, **__: sweep.save_records())
    return made


@pytest.fixture
def plan(faces_folder: Path) -> Callable[..., Plan]:
    """``plan("ce,crt", seeds)``"""

    def made(methods: str = "ce", seeds: int = 2) -> Plan:
        request = Request(
            methods.split(","),
            str(faces_folder),
            seeds=tuple(range(seeds)),
            overrides={"image_size": 32},
            settings_file="default",
        )
        return make_plan(request)

    return made


def execute(out: Path, planned: Plan, **changes: Any) -> tuple[api.Outcome, str]:
    """The outcome, and what is said of runs without a folder."""
    said: list[ProgressEvent] = []
    outcome = api.execute_plan(planned, api.Execution(out, device="cpu", **changes), "mine", "", said.append)
    return outcome, "".join(absent_runs(**event.details) for event in said if event.state == "absent")


def keys_in(out: Path) -> list[str]:
    content = (out / "sweeps" / "mine" / COMPACT).read_bytes()
    return [orjson.loads(line)["path"].split("/")[-1] for line in gzip.decompress(content).splitlines()]


def test_a_sweep_grows_from_its_compact_file(plan: Callable[..., Plan], launch: Launch, tmp_path: Path) -> None:
    execute(tmp_path, plan())
    shutil.rmtree(tmp_path / "runs")
    outcome, said = execute(tmp_path, plan())
    assert launch.trained == ["ce 0", "ce 1"] and outcome.trained == outcome.missing == 0
    assert said == f"2 runs come from {COMPACT}; their folders are not on this machine"
    grown = plan("ce,cb", 3)
    outcome, said = execute(tmp_path, grown)
    assert sorted(launch.trained[2:]) == ["cb 0", "cb 1", "cb 2", "ce 2"] and said.startswith("2 runs come")
    assert keys_in(tmp_path) == [run.spec.key for run in grown.runs] and len(outcome.sweep.records()) == 6
    assert {state for state, _ in find_sweep(tmp_path, "mine").states()} == {"done"}
    assert all_ended(SweepWatcher(find_sweep(tmp_path, "mine")).snapshots())
    execute(tmp_path, grown, force=True)
    assert len(launch.trained) == 6 + 6, "--force trains all again"


def test_the_key_decides(plan: Callable[..., Plan], tmp_path: Path) -> None:
    """Another epoch is another run."""
    execute(tmp_path, plan())
    shutil.rmtree(tmp_path / "runs")
    request = plan().request
    other = make_plan(Request(["ce"], request.dataset, seeds=(0, 1), overrides={"image_size": 32, "epochs": 3}))
    outcome, said = execute(tmp_path, other, replace=True)
    assert outcome.trained == 2 and not said
    assert len(keys_in(tmp_path)) == 4, "the records that were there alone are kept"


def test_a_first_stage_without_its_networks_is_trained_again(
    plan: Callable[..., Plan], launch: Launch, tmp_path: Path
) -> None:
    execute(tmp_path, plan())
    shutil.rmtree(tmp_path / "runs")
    _, said = execute(tmp_path, plan("ce,crt"))
    assert launch.trained[2:] == ["ce 0", "ce 1", "crt 0", "crt 1"]
    assert said == (
        "2 runs are trained again, because other runs start from the networks; their folders are not on this machine"
    )
    shutil.rmtree(tmp_path / "runs")
    _, said = execute(tmp_path, plan("ce,crt"))
    assert len(launch.trained) == 6 and said.startswith("4 runs come"), "nothing is left that would start from them"
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    _, said = execute(tmp_path, plan("ce,crt", 3))
    assert sorted(launch.trained[6:]) == ["ce 2", "crt 2"] and said.startswith("4 runs come")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_finished_is_stored_when_the_command_is_stopped(
    error: type[BaseException], plan: Callable[..., Plan], launch: Launch, tmp_path: Path
) -> None:
    execute(tmp_path, plan())
    shutil.rmtree(tmp_path / "runs")

    def stop(run: PlannedRun) -> None:
        if run.spec.seed == 3:
            raise error

    launch.each = stop
    with pytest.raises(error):
        execute(tmp_path, plan(seeds=5))
    assert len(keys_in(tmp_path)) == 3
    launch.each = lambda run: None
    shutil.rmtree(tmp_path / "runs")
    outcome, said = execute(tmp_path, plan(seeds=5))
    assert outcome.trained == 2 and said.startswith("3 runs come")


def test_records_are_stored_while_the_sweep_is_trained(
    plan: Callable[..., Plan], launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a copy of the folder of the sweep holds them, whatever becomes of the machine."""
    monkeypatch.setattr(keeper, "PAUSE", 0.0)
    monkeypatch.setattr(keeper, "SHARE", 0)
    file, seen = tmp_path / "sweeps" / "mine" / COMPACT, []
    launch.each = lambda run: seen.append(len(keys_in(tmp_path)) if file.exists() else 0)
    execute(tmp_path, plan(seeds=3))
    assert seen == [0, 1, 2]


def test_a_record_that_cannot_be_stored_meanwhile_does_not_end_the_training(
    plan: Callable[..., Plan], launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PAUSE", 0.0)
    failed = []

    def fail(sweep: Sweep) -> None:
        failed.append(sweep)
        raise OSError("No space left on device")

    monkeypatch.setattr(Sweep, "save_records", fail)
    with pytest.raises(OSError, match="No space"):
        execute(tmp_path, plan())
    assert launch.trained == ["ce 0", "ce 1"] and len(failed) >= 2


def test_the_pause_grows_with_the_time_that_a_write_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, writes = [0.0], []
    made = keeper.RecordKeeper(Sweep("mine", Path(), {"runs": [], "names": {}, "skipped": [], "classes": {},
                                                      "name": "mine", "command": ""}), lambda: now[0])  # fmt: skip

    def write(_: Sweep) -> None:
        writes.append(now[0])
        now[0] += 10

    monkeypatch.setattr(Sweep, "save_records", write)
    for now[0] in (1.0, keeper.PAUSE, 200.0, 569.0, 570.0):
        made.run_ended()
    assert writes == [keeper.PAUSE, 570.0], "60 s, then 50 x 10 s after the end of the write at 70 s"


def test_a_damaged_compact_file_is_refused_before_anything_is_trained(
    plan: Callable[..., Plan], launch: Launch, tmp_path: Path
) -> None:
    execute(tmp_path, plan())
    shutil.rmtree(tmp_path / "runs")
    file = tmp_path / "sweeps" / "mine" / COMPACT
    first, second = gzip.decompress(file.read_bytes()).splitlines()
    file.write_bytes(damaged := gzip.compress(first + b"\n" + second.replace(b'"seed":1', b'"seed":7')))
    for planned in (plan(), plan(seeds=4)):
        with pytest.raises(
            StoreError, match=rf"{COMPACT}, line 2 is damaged .*another run.*restore the file, or remove it"
        ):
            execute(tmp_path, planned)
    assert len(launch.trained) == 2 and file.read_bytes() == damaged
    file.unlink()
    execute(tmp_path, plan())
    assert len(launch.trained) == 4


def test_a_tuning_goes_on_from_its_compact_file(faces_folder: Path, tmp_path: Path) -> None:
    def tuning(budget: float) -> Plan:
        return make_tuning(Request(["ce"], str(faces_folder), overrides={"image_size": 32}), Search(budget, 1))

    first, _ = execute(tmp_path, tuning(2))
    shutil.rmtree(tmp_path / "runs")
    more, said = execute(tmp_path, tuning(4))
    assert (first.trained, more.trained) == (2, 2) and said.startswith("2 runs come from")


def test_commands_say_what_is_done(faces_folder: Path, launch: Launch, tmp_path: Path) -> None:
    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--image-size", "32", "--device", "cpu",
             "--out", str(tmp_path), "--name", "mine"]  # fmt: skip
    CliRunner().invoke(main, [*words, "--seeds", "0,1"], catch_exceptions=False)
    shutil.rmtree(tmp_path / "runs")
    said = CliRunner().invoke(main, [*words, "--seeds", "0,1,2", "--dry-run"], catch_exceptions=False).output
    assert "3 runs: 2 done, 1 to train" in said and said.count(" done ") == 2 and said.count("to train") == 2
    assert f"2 runs come from {COMPACT}; their folders are not on this machine" in said
    said = CliRunner().invoke(main, [*words, "--seeds", "0,1,2"], catch_exceptions=False).output
    assert f"2 runs come from {COMPACT}; their folders are not on this machine" in said
    assert launch.trained == ["ce 0", "ce 1", "ce 2"]
    words[0] = "tune"
    said = CliRunner().invoke(main, [*words, "--dry-run", "--name", "t"], catch_exceptions=False).output
    assert "to train" in said and COMPACT not in said


def test_a_call_logs_what_comes_from_the_compact_file(
    faces_folder: Path, launch: Launch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"dataset": faces_folder, "image_size": 32, "device": "cpu", "out": tmp_path, "name": "mine"}
    before = fer_bench.run("ce", **options)
    shutil.rmtree(tmp_path / "runs")
    assert fer_bench.run("ce", **options).equals(before) and len(launch.trained) == 1
    assert f"1 run comes from {COMPACT}" in caplog.text


def test_an_unfinished_folder_counts_more(plan: Callable[..., Plan], launch: Launch, tmp_path: Path) -> None:
    """It may be that of a repetition, which goes on."""
    planned = plan()
    execute(tmp_path, planned)
    RunFolder.of(tmp_path, planned.runs[0].spec).clear()
    shutil.rmtree(RunFolder.of(tmp_path, planned.runs[1].spec).path)
    outcome, said = execute(tmp_path, planned)
    assert launch.trained == ["ce 0", "ce 1", "ce 0"] and said.startswith("1 run comes") and outcome.missing == 0
