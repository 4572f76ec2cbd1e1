"""Launchers: their options, one run planned again by a worker, and jobs of submitit as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_bench.core.errors import IncompleteSweep, SpecError
from fer_bench.launch import devices
from fer_bench.launch import job as remote_job
from fer_bench.launch.launcher import choose_launcher, parse_options
from fer_bench.launch.remote import Follower
from fer_bench.launch.work import Work
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.store.lease import Busy
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import Request
from tests.helpers.plugins import LOSS, plugin_source

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


# --- options ------------------------------------------------------------------------------------------------------


def test_options_are_typed() -> None:
    assert parse_options(["partition=gpu", "minutes=30", "address=auto", "gpus=0.5"]) == {
        "partition": "gpu", "minutes": 30, "address": "auto", "gpus": 0.5
    }  # fmt: skip
    assert choose_launcher().local and not choose_launcher("slurm", ["minutes=30"]).local


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slrum", [], "--launcher 'slrum'; did you mean 'slurm'"),
        ("slurm", ["partitoin=gpu"], "no setting 'partitoin'; did you mean 'partition'"),
        ("slurm", ["minutes=soon"], "minutes = 'soon' is not of type int"),
        ("slurm", ["minutes=0"], "minutes = 0: at least 1"),
        ("slurm", ["partition"], "not of the form KEY=VALUE"),
        ("local", ["cpus=2"], "has no options"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        choose_launcher(name, options)


@pytest.mark.parametrize(("name", "extra"), [("ray", "fer-bench[ray]"), ("slurm", "fer-bench[slurm]")])
def test_a_missing_package_is_named_with_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError) as error:
        choose_launcher(name)
    assert f"pip install '{extra}'" in str(error.value)


def test_options_of_the_local_pool_are_refused_elsewhere() -> None:
    with pytest.raises(SpecError, match="--jobs and --device are for --launcher local"):
        devices.devices_for(choose_launcher("slurm"), "auto", 2, 4)
    with pytest.raises(SpecError, match="--jobs and --device"):
        devices.devices_for(choose_launcher("slurm"), "cuda", None, 4)
    assert devices.devices_for(choose_launcher("slurm"), "auto", None, 4) == []


def test_the_folder_of_pickles_is_private_and_not_in_the_results(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="lies in the results"):
        slurm.job_folder(slurm.Options(folder=str(tmp_path / "out" / "jobs")), tmp_path / "out")
    folder = slurm.job_folder(slurm.Options(folder=str(tmp_path / "jobs")), tmp_path / "out")
    assert folder.stat().st_mode & 0o777 == 0o700


# --- a run on a worker --------------------------------------------------------------------------------------------


def test_a_request_for_one_run_plans_that_run(request_for: Any) -> None:
    whole = make_plan(
        request_for(
            methods=["ce", "crt", "scn"], noise=[0, 0.1, 0.3], noise_types=["symmetric", "pair"],
            imbalance=[1, 10], seeds=[0, 3],
        )
    )  # fmt: skip
    assert len(whole.runs) == 3 * 5 * 2 * 2
    for run in whole.runs[::7]:
        found = make_plan(remote_job.request_for_run(whole.request, run.spec))
        assert [each.spec.key for each in found.runs] == [run.spec.key]
        assert found.runs[0].first_stage_of == run.first_stage_of


def job_of(planned: Plan, out: Path) -> remote_job.Job:
    return next(iter(remote_job.make_jobs(Work(planned, planned.runs, out), "cpu").values()))


def test_a_worker_with_other_data_trains_nothing(request_for: Any, tmp_path: Path) -> None:
    planned = make_plan(request_for())
    job = job_of(planned, tmp_path)
    other = replace(job, request=replace(job.request, data_seed=5))
    event = other.train(lambda: False)
    assert event["state"] == "failed" and "data_seed differ from where the sweep was started" in event["error"]
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    assert folder.state == "failed" and folder.failure["error"] == event["error"] and not folder.epochs()


def test_a_worker_without_the_plugin_says_so(request_for: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(plugin_source(LOSS))
    job = job_of(make_plan(request_for(methods=["mine"], plugins=[str(tmp_path / "mine.py")])), tmp_path / "out")
    (tmp_path / "mine.py").unlink()
    event = job.train(lambda: False)
    assert event["state"] == "failed" and "the worker cannot start the run: SpecError: --plugins" in event["error"]


def test_a_worker_waits_for_a_run_that_another_holds(
    request_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [{"state": "busy"}, {"state": "busy"}, {"state": "done", "final": {}}]
    waits: list[float] = []
    monkeypatch.setattr(remote_job, "train_run", lambda *_: answers.pop(0))
    monkeypatch.setattr(remote_job.time, "sleep", waits.append)
    job = job_of(make_plan(request_for()), tmp_path)
    assert job.train(lambda: False)["state"] == "done" and waits == [remote_job.AGAIN] * 2
    assert job.train(lambda: True) == {"state": "stopped"}


def test_force_forgets_once(request_for: Any, tmp_path: Path) -> None:
    planned = make_plan(request_for())
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    folder.start(planned.runs[0].spec, {})
    folder.save_epochs([{"epoch": 1}])
    with folder.claim(), pytest.raises(Busy, match="stop it before"):
        remote_job.clear_runs(Work(planned, planned.runs, tmp_path))
    assert folder.epochs()
    remote_job.clear_runs(Work(planned, planned.runs, tmp_path))
    assert not folder.epochs() and folder.state == "new"


# --- what is told -------------------------------------------------------------------------------------------------


def test_the_store_tells_of_finished_epochs(request_for: Any, tmp_path: Path) -> None:
    run = make_plan(request_for()).runs[0]
    folder, told = RunFolder.of(tmp_path, run.spec), []
    folder.start(run.spec, {})
    record = {"test": {"overall": 0.5}, "seconds": {"train": 2.0}}
    folder.save_epochs([{**record, "epoch": 1, "images_forward": 100}])
    follower = Follower({run.spec.key: run}, tmp_path, lambda worker, run, event: told.append(event))
    follower.look()
    assert not told, "an epoch of an earlier attempt is no progress"
    folder.save_epochs([{**record, "epoch": k, "images_forward": 100 * k} for k in (1, 2)])
    follower.look(), follower.look()
    assert [(e["state"], e["epoch"], e["overall"], e["images_per_second"]) for e in told] == [
        ("progress", 2, 0.5, 50.0)
    ]
    assert follower.stored(run) == {"state": "stopped"}
    folder.fail("ValueError: no", "…")
    assert follower.stored(run) == {"state": "failed", "error": "ValueError: no"}
    follower.end(run.spec.key, follower.stored(run))
    assert told[-1]["state"] == "failed" and not follower.todo


# --- Slurm --------------------------------------------------------------------------------------------------------


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


def test_the_command_trains_with_another_launcher_and_hides_nothing(faces_folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from fer_bench.cli.main import main

    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--out", str(tmp_path), "--epochs", "1"]
    result = CliRunner().invoke(main, [*words, "--launcher", "slurm", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "1 to train" in result.output and "trained by slurm" in " ".join(result.output.split())
    wrong = CliRunner().invoke(main, [*words, "--launcher", "slurm", "--launcher-option", "gpu=1"])
    assert wrong.exit_code == 2 and "did you mean 'gpus'" in wrong.output + (wrong.stderr if wrong.stderr_bytes else "")


def test_help_does_not_load_the_launchers() -> None:
    program = (
        "import sys\nfrom fer_bench.cli.main import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('ray', 'submitit', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"
