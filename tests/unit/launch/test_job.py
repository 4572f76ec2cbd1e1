"""One run that a worker of any machine plans again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_bench.launch import job as remote_job
from fer_bench.launch.work import Work
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import Request
from tests.helpers.plugins import LOSS, plugin_source


@pytest.fixture
def request_for(faces_folder: Path) -> Any:
    def make(**changes: Any) -> Request:
        small = {"epochs": 2, "image_size": 32, "batch_size": 32}
        return Request(
            **{"methods": ["ce"], "dataset": str(faces_folder), "noise": [0.3], "overrides": small, **changes}
        )

    return make


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
    other = replace(job, request=replace(job.request, data_seed=(5,)))
    event = other.train(lambda: False)
    assert event["state"] == "failed" and "data_seed differ from the machine that started the sweep" in event["error"]
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
