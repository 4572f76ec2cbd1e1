"""Slurm: what sbatch is given, and jobs of submitit as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_bench.core.errors import IncompleteSweep, SpecError
from fer_bench.launch.remote import Follower
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
from tests.helpers.plugins import plugin_source

submitit = pytest.importorskip("submitit")
from fer_bench.launch import slurm  # noqa: E402


@pytest.fixture
def request_for(faces_folder: Path) -> Any:
    def make(**changes: Any) -> Request:
        small = {"epochs": 2, "image_size": 32, "batch_size": 32}
        return Request(
            **{"methods": ["ce"], "dataset": str(faces_folder), "noise": [0.3], "overrides": small, **changes}
        )

    return make


def test_the_folder_of_pickles_is_private_and_not_in_the_results(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="lies in the results"):
        slurm.job_folder(slurm.Options(folder=str(tmp_path / "out" / "jobs")), tmp_path / "out")
    folder = slurm.job_folder(slurm.Options(folder=str(tmp_path / "jobs")), tmp_path / "out")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_there_keeps_its_mode_and_the_pickles_stay_private(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    for _ in range(2):
        folder = slurm.job_folder(slurm.Options(folder=str(shared)), tmp_path / "out")
        assert shared.stat().st_mode & 0o7777 == 0o2775 and folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent == shared
    folder.chmod(0o755)
    with pytest.raises(SpecError, match="others can enter jobs-"):
        slurm.job_folder(slurm.Options(folder=str(shared)), tmp_path / "out")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(SpecError, match="others can enter jobs-"):
        slurm.job_folder(slurm.Options(folder=str(shared)), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("no_outputs")
def test_jobs_train_a_sweep_and_pass_on_a_failure(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By submitit's own local executor: each job is a process that is given a pickle and writes to the store."""
    import fer_bench

    monkeypatch.setattr(slurm, "ASK", 0.0)
    broken = "def loss(self, batch, run):\n    raise ValueError('broken on purpose')"
    (tmp_path / "broken.py").write_text(plugin_source(broken))
    small = {"noise": [0.3], "epochs": 1, "image_size": 32, "batch_size": 64, "dataset": str(faces_folder)}
    options = [f"folder={tmp_path / 'jobs'}", "cluster=local"]
    with pytest.raises(IncompleteSweep, match="broken on purpose"):
        fer_bench.run(["ce", "broken"], out=tmp_path / "out", plugins=[str(tmp_path / "broken.py")],
                      launcher="slurm", launcher_options=options, **small)  # fmt: skip
    mine = load_runs(tmp_path / "out")
    here = fer_bench.run(["ce"], out=tmp_path / "here", jobs=1, device="cpu", **small)
    assert list(mine["key"]) == list(here["key"]) and list(mine["test_nll"]) == list(here["test_nll"])
    assert not list((tmp_path / "out").rglob("*.pkl")), "pickles stay out of the results"


class Handler:
    """Records with which signal submitit's handler was called."""

    called: tuple[int, ...] = ()

    def __call__(self, number: int, frame: object) -> None:
        self.called += (number,)


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_stops_the_training_and_then_the_job(number: signal.Signals, request: pytest.FixtureRequest) -> None:
    handler = Handler()
    for each in (signal.SIGUSR2, signal.SIGTERM):
        before = signal.signal(each, handler)
        request.addfinalizer(lambda each=each, before=before: signal.signal(each, before))

    def train(stopping: Any) -> dict[str, str]:
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping() and not handler.called, "the step is finished before anything else happens"
        return {"state": "stopped"}

    with pytest.raises(SystemExit):
        slurm.Element(SimpleNamespace(train=train))()  # type: ignore[arg-type]
    # out of time: submitit queues the job again; ended by Slurm: nothing but to leave
    assert handler.called == ((signal.SIGUSR2,) if number == signal.SIGUSR2 else ())
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_finished_job_returns_and_a_stopped_one_keeps_what_it_must_do() -> None:
    element = slurm.Element(SimpleNamespace(train=lambda stopping: {"state": "done"}))  # type: ignore[arg-type]
    assert element() is None
    assert element.checkpoint().function is element


def test_the_script_for_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sbatch would be given, with arrays, options and the runs that a run begins with."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    sent: list[str] = []

    def sbatch(command: list[str], **_: Any) -> bytes:
        sent.append(Path(command[-1]).read_text())
        return f"Submitted batch job {10 + len(sent)}\n".encode()

    monkeypatch.setattr("submitit.core.utils.CommandFunction.__call__", lambda self: sbatch(self.command).decode())
    options = slurm.Options(partition="gpu", gpus=1, minutes=30, array=2, account="faces; rm -rf /")
    runs = [
        SimpleNamespace(spec=SimpleNamespace(key=k, recipe=SimpleNamespace(threads=2)), first_stage_of=None)
        for k in "abc"
    ]
    late = SimpleNamespace(spec=SimpleNamespace(key="d", recipe=SimpleNamespace(threads=2)),
                           first_stage_of=SimpleNamespace(key="b"))  # fmt: skip
    work = {key: SimpleNamespace() for key in "abcd"}
    sweep = slurm.Submitted(SimpleNamespace(todo={}, out=tmp_path), work)  # type: ignore[arg-type]
    monkeypatch.setattr(slurm.Submitted, "_failure", lambda self, key: 0)
    sweep.submit(tmp_path / "jobs", options, runs)  # type: ignore[arg-type]
    sweep.submit(tmp_path / "jobs", options, [late])  # type: ignore[list-item]
    for line in ("--array=0-2%2", "--partition=gpu", "--time=30", "--cpus-per-task=2", "--gpus-per-node=1", "--requeue",
                 "--account='faces; rm -rf /'"):  # fmt: skip
        assert f"#SBATCH {line}\n" in sent[0], line
    assert "#SBATCH --dependency=afterany:11_1\n" in sent[1] and "--array" not in sent[1]
    assert {key: job.job_id for key, job in sweep.jobs.items()} == {"a": "11_0", "b": "11_1", "c": "11_2", "d": "12"}


def test_the_queue_is_asked_and_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def squeue(code: int) -> Any:
        return lambda command, **_: subprocess.CompletedProcess(command, code, "11_0\n11_2\n12\n", "")

    monkeypatch.setattr(slurm.subprocess, "run", squeue(0))
    assert slurm.in_queue() == {"11_0", "11_2", "12"}
    monkeypatch.setattr(slurm.subprocess, "run", squeue(1))
    assert slurm.in_queue() is None


def test_a_job_that_vanished_has_failed_its_run(
    request_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_plan(request_for()).runs[0]
    folder, told, key = RunFolder.of(tmp_path, run.spec), [], run.spec.key
    folder.start(run.spec, {})
    folder.fail("an earlier failure", "…")
    sweep = slurm.Submitted(Follower({key: run}, tmp_path, lambda worker, run, event: told.append(event)), {})
    sweep._failed_before = {key: sweep._failure(key)}
    job = SimpleNamespace(job_id="7", paths=SimpleNamespace(stderr="7.err"), done=lambda: bool(looks))
    sweep.jobs, looks = {key: job}, []
    monkeypatch.setattr(slurm, "ASK", 0.0)
    monkeypatch.setattr(slurm.time, "sleep", lambda _: looks.append(1) if sweep._asked else None)
    sweep.wait()
    assert told == [{"state": "failed", "error": "job 7 ended before its run was done; its log is 7.err"}]
    assert folder.failure["error"] == told[0]["error"]
