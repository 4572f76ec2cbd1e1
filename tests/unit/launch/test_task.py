"""One run in a process: what was hashed when the sweep was planned is what is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.data.noise.kinds import file_digest
from fer_bench.launch.task import Task, train_run
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import make_request
from tests.helpers.plugins import LOSS, plugin_source


@pytest.fixture
def plan_of(faces_folder: Path, tmp_path: Path) -> Any:
    def make(**options: Any) -> Plan:
        (tmp_path / "mine.py").write_text(plugin_source(LOSS))
        small = {"epochs": 1, "image_size": 32, "plugins": tmp_path / "mine.py"}
        return make_plan(make_request(**{"methods": "mine", "dataset": faces_folder, **small, **options}))

    return make


def train(plan: Plan, out: Path) -> dict[str, Any]:
    return train_run(Task(plan, plan.runs[0], out, "cpu"))


def test_a_method_that_was_edited_after_the_plan_is_refused(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of()
    file, source = tmp_path / "mine.py", plugin_source(LOSS)
    file.write_text(source.replace("F.cross_entropy", "2 * F.cross_entropy"))
    event = train(plan, tmp_path / "out")
    assert event["state"] == "failed"
    assert f"{file} was changed since the sweep was planned; start the command again" in event["error"]
    file.write_text(f"# a comment\n{source}")
    assert train(plan, tmp_path / "out")["state"] == "done", "the code is the same"


def test_a_noise_file_that_was_edited_after_the_plan_is_refused(
    plan_of: Any, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((faces_folder / "train").rglob("*.png"))
    text = "".join(f"{path.relative_to(faces_folder)} {path.parent.name}\n" for path in images)
    file = tmp_path / "noise.txt"
    file.write_text(text)
    plan = plan_of(methods="ce", noise_types="file", noise_file=file)
    named = plan.runs[0].spec.noise.file
    monkeypatch.setattr("fer_bench.data.noise.kinds.READING", 0)
    assert file_digest(file.read_bytes()) != named, "a file that is read otherwise gives another key"
    monkeypatch.undo()
    file.write_text(text.replace(" neutral\n", " anger\n", 3))
    event = train(plan, tmp_path / "out")
    assert event["state"] == "failed" and f"{file} was changed since the sweep was planned" in event["error"]
    file.write_text(text)
    used: list[Path] = []

    def edited(job: Any) -> None:
        """Another program edits the file after it was looked at."""
        file.write_text("")
        used.append(job.resources.noise_file)
        assert job.resources.noise_file.read_text() == text

    monkeypatch.setattr("fer_bench.engine.trainer.train", edited)
    assert train(plan, tmp_path / "out")["state"] == "done" and not used[0].exists()


def test_a_log_that_is_a_link_leads_nowhere(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of()
    log = RunFolder.of(tmp_path / "out", plan.runs[0].spec).path / "log.txt"
    log.parent.mkdir(parents=True)
    log.symlink_to(tmp_path / "elsewhere")
    assert train(plan, tmp_path / "out")["state"] == "done"
    assert log.is_file() and not log.is_symlink() and not (tmp_path / "elsewhere").exists()
