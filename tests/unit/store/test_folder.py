"""Run folders: states, damage, one owner at a time, and no code from a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench.core.errors import StoreError, UnreadableRun
from fer_bench.store.folder import RunFolder, attempts
from fer_bench.store.frame import load_runs
from fer_bench.store.lease import Busy
from fer_bench.store.records import read_record, run_state
from fer_bench.store.torch_files import StoredModel
from tests.helpers.stored import FINAL, SPEC, finished, record

HOLD = """
import sys, time
from pathlib import Path
from fer_bench.store.folder import RunFolder, attempts
with RunFolder(Path(sys.argv[1])).claim():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Any:
    """Another process that holds the run's claim."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_claim_excludes_another_process_and_ends_with_a_kill(owner: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Busy, match=f"pid {owner.pid}"), folder.claim():
        raise AssertionError("claimed twice")
    assert folder.state == "running"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert folder.state == "new"
    with folder.claim():
        assert folder.path.exists()


def test_a_claim_is_free_again_after_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), folder.claim():
        raise ZeroDivisionError
    with folder.claim():
        pass


def test_looking_at_the_state_does_not_take_the_claim(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.claim():
        assert folder.state == "running"
        assert folder.state == "running"
    assert folder.state == "new"


def test_states(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, SPEC)
    assert folder.state == "new" and not folder.path.exists()
    assert (folder.final, folder.spec, folder.failure, folder.epochs(), folder.load_checkpoint()) == (
        None,
        None,
        {},
        [],
        None,
    )
    folder.start(SPEC, {})
    assert folder.state == "new" and folder.spec == json.loads(SPEC.canonical)
    folder.save_epochs([record(1, 0.5)])
    assert folder.state == "interrupted"
    folder.fail("ValueError: no", "Traceback …")
    assert folder.state == "failed" and folder.failure == {"error": "ValueError: no", "traceback": "Traceback …"}
    folder.start(SPEC, {})
    assert folder.state == "interrupted", "a new attempt forgets the failure and keeps the epochs"
    folder.save_checkpoint({"epoch": 1})
    folder.finish(FINAL, {})
    assert folder.state == "done" and folder.load_checkpoint() is None
    folder.clear()
    assert folder.state == "new" and folder.epochs() == []


def test_the_place_of_a_run(tmp_path: Path) -> None:
    assert RunFolder.of(tmp_path, SPEC).path == tmp_path / "runs" / "synthetic" / "m" / SPEC.key
    odd = replace(SPEC, dataset="/some where/my faces.csv")
    assert RunFolder.of(tmp_path, odd).path.parent.parent == tmp_path / "runs" / "my_faces.csv"
    for name in ("..", "/", "."):
        path = RunFolder.of(tmp_path, replace(SPEC, dataset=name)).path
        assert path.resolve().is_relative_to((tmp_path / "runs").resolve()), f"{name!r} leads out of the folder of runs"
        assert len(path.resolve().relative_to((tmp_path / "runs").resolve()).parts) == 3


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        RunFolder(tmp_path).save_epochs([{"loss": float("nan")}])


def test_a_damaged_specification_is_named(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    (folder.path / "spec.json").write_text('{"half": ')
    with pytest.raises(StoreError, match=r"spec\.json is damaged"):
        assert folder.spec is None


@pytest.mark.parametrize("change", ["an edited rate", "another run's", "absent", "another method's folder"])
def test_a_specification_that_is_not_that_of_the_key_is_damage(change: str, tmp_path: Path) -> None:
    folder, other = finished(tmp_path), finished(tmp_path, seed=1)
    file = folder.path / "spec.json"
    if change == "an edited rate":
        spec = json.loads(file.read_text())
        file.write_text(json.dumps({**spec, "noise": {**spec["noise"], "rate": 0.4}}))
    elif change == "another run's":
        file.write_bytes((other.path / "spec.json").read_bytes())
    elif change == "absent":
        file.unlink()
    else:
        (tmp_path / "runs" / "synthetic" / "n").mkdir()
        folder = RunFolder(folder.path.rename(tmp_path / "runs" / "synthetic" / "n" / folder.path.name))
    assert "spec.json is " in folder.damage and run_state(folder)[0] == "unreadable"
    with pytest.raises(UnreadableRun, match=r"(spec\.json is damaged|no specification).*; run the sweep.s command"):
        read_record(folder)
    with pytest.warns(UserWarning, match="left out"):
        assert list(load_runs(tmp_path)["key"]) == [other.path.name], "its numbers are not those of what it says"


def test_names_that_are_not_utf8_are_read_back(tmp_path: Path) -> None:
    folder = finished(tmp_path, dataset="faces-\udcbd")
    assert folder.damage == "" and read_record(folder).spec["dataset"] == "faces-\udcbd"


@pytest.mark.parametrize("content", ["", '{"half": ', "[1"])
def test_torn_results_are_no_results(content: str, tmp_path: Path) -> None:
    folder = finished(tmp_path)
    (folder.path / "final.json").write_text(content)
    assert folder.final is None and folder.state == "failed" and load_runs(tmp_path).empty
    assert "final.json is damaged" in folder.failure["error"] and "run the sweep's command again" in str(folder.failure)


def test_a_torn_reason_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "status.json").write_text('{"half": ')
    assert folder.state == "failed" and "status.json is damaged" in folder.failure["error"]


@pytest.mark.parametrize(
    "name", ["final.json", "scores.npz", "epochs.jsonl", "sums.json", "probe.npz", "model.safetensors"]
)
def test_a_changed_byte_in_results_is_found(name: str, tmp_path: Path) -> None:
    folder = finished(tmp_path)
    folder.finish(FINAL, {"a": np.arange(9)}, {"rows": np.arange(9)}, StoredModel({"w": torch.arange(9)}))
    assert folder.damage == "" and folder.state == "done"
    content = bytearray((folder.path / name).read_bytes())
    place = content.index(b"0.5") if name == "final.json" else len(content) // 2
    content[place] ^= 1
    (folder.path / name).write_bytes(content)
    found = "" if name == "sums.json" else name  # where a sum was changed, some other file no longer fits
    assert f"{found} is damaged" in folder.damage
    readers = {"scores.npz": folder.scores, "epochs.jsonl": folder.epochs, "probe.npz": folder.probe,
               "model.safetensors": folder.model}  # fmt: skip
    if name in readers:
        with pytest.raises(StoreError, match="is damaged"):
            readers[name]()
    (folder.path / name).unlink()
    # without final.json the run is not done; an archive leaves networks out
    assert bool(folder.damage) == (name not in ("final.json", "model.safetensors"))


def test_epochs_before_a_torn_line_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_epochs([record(1, 0.5), record(2, 0.6)])
    path = tmp_path / "epochs.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert folder.epochs() == [record(1, 0.5)] and folder.state == "interrupted"


def test_damaged_epochs_are_named(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    (folder.path / "epochs.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(StoreError, match=r"epochs\.jsonl is damaged"):
        folder.epochs()


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "checkpoint.pt"
    pickle.loads(pickle.dumps(Evil(mark)))
    mark.rmdir()  # so the trap works, where nothing guards
    for save in (lambda: torch.save(Evil(mark), path), lambda: path.write_bytes(pickle.dumps(Evil(mark)))):
        save()
        content = path.read_bytes()
        path.write_bytes(content + hashlib.sha256(content).digest())
        folder = RunFolder(tmp_path)
        assert folder.load_checkpoint() is None and "checkpoint.pt is damaged" in folder.notes[0]
        assert not mark.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "short", "a byte"])
def test_a_damaged_checkpoint_is_left_out_with_a_note(damage: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_checkpoint({"epoch": 1, "method": {"w": torch.zeros(1000)}})
    assert folder.load_checkpoint() is not None and not folder.notes
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:-500], "empty": b"", "short": b"torn", "a byte": changed}[damage])
    assert folder.load_checkpoint() is None
    assert len(folder.notes) == 1 and "checkpoint.pt is damaged" in folder.notes[0]
    assert (tmp_path / "log.txt").read_text() == f"{folder.notes[0]}\n", "and it stands in the log"


@pytest.mark.parametrize("trap", ["symbolic link", "hard link", "pipe"])
def test_the_log_is_no_way_into_another_file(trap: str, tmp_path: Path) -> None:
    """In a shared folder somebody else may have put a link in its place."""
    mine, log = tmp_path / "mine", tmp_path / "run" / "log.txt"
    mine.write_text("precious\n")
    log.parent.mkdir()
    if trap == "symbolic link":
        log.symlink_to(mine)
    elif trap == "hard link":
        os.link(mine, log)
    else:
        os.mkfifo(log)
    folder = RunFolder(log.parent)
    folder.note("two\nlines \x1b[31mand colour")
    assert mine.read_text() == "precious\n" and log.read_text() == "two lines \\x1b[31mand colour\n"
    folder.note("more")
    assert len(log.read_text().splitlines()) == 2


def test_a_run_resumed_elsewhere_keeps_where_its_first_epochs_were_trained(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, SPEC)
    here, there = ({"device": name, "packages": {"torch": version}} for name, version in (("A", "2.5"), ("B", "2.6")))
    for environment, first, last in ((here, 1, 2), (there, 3, 4), (here, 4, 6)):
        folder.start(SPEC, environment)
        folder.begin_at(first)
        folder.save_epochs([record(epoch, 0.5) for epoch in range(1, last + 1)])
        folder.save_checkpoint({})
    folder.finish(FINAL, {})
    found = read_record(folder)
    assert [(each["device"], each["first_epoch"]) for each in found.attempts] == [("A", 1), ("B", 3), ("A", 4)]
    assert found.environment["device"] == "A"
    row = load_runs(tmp_path).iloc[0]
    assert (row["device"], row["torch"], row["fingerprint"]) == ("A; B", "2.5; 2.6", SPEC.fingerprint)


def test_what_is_trained_again_is_no_longer_of_an_earlier_attempt(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, SPEC)
    for device, first in (("A", 1), ("B", 3), ("C", 3), ("D", 1)):
        folder.start(SPEC, {"device": device})
        folder.save_checkpoint({})
        folder.begin_at(first)
        if device == "C":
            assert [each["device"] for each in attempts(folder.environment)] == ["A", "C"]
    assert folder.environment == {"device": "D", "first_epoch": 1}


def test_a_damaged_environment_is_noted_by_the_attempt_that_resumes(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, SPEC)
    folder.path.mkdir(parents=True)
    (folder.path / "checkpoint.pt").touch()
    (folder.path / "env.json").write_text("{")
    folder.start(SPEC, {"device": "B"})
    folder.begin_at(3)
    assert folder.environment == {"device": "B", "first_epoch": 3}
    assert len(folder.notes) == 1 and "it is not known where the epochs before epoch 3 were trained" in folder.notes[0]
