"""Faults around a run: full and read-only disks, damaged files, plugins that misbehave, processes that are stopped.

Each is injected, said in a clear message, and leaves results that are finished as they were; a repetition or a
continuation ends in the numbers of a run in peace, bit for bit."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fer_bench import api
from fer_bench.cli.main import main
from fer_bench.core import files
from fer_bench.data import cache
from fer_bench.data.open import open_dataset
from fer_bench.launch.local import train_all
from fer_bench.launch.task import Task, train_run
from fer_bench.launch.work import Work
from fer_bench.store import lease
from fer_bench.store.folder import RunFolder
from fer_bench.store.process import this_process
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.record import make_sweep
from fer_bench.sweep.request import Request
from fer_bench.testing.probes import records
from tests.helpers.plugins import LOSS, plugin_source

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]  # one worker: the tests share a run in peace
SETTINGS = {"epochs": 2, "image_size": 32}

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def planned(faces_folder: Path) -> Plan:
    return make_plan(Request(["ce"], str(faces_folder), overrides=SETTINGS))


@pytest.fixture(scope="module")
def peace(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("peace")
    assert here(planned, out)["state"] == "done"
    return RunFolder.of(out, planned.runs[0].spec)


def here(planned: Plan, out: Path, seconds: float | None = None, **callbacks: Any) -> dict[str, Any]:
    """The one run of a plan, trained in this process."""
    return train_run(Task(planned, planned.runs[0], out, "cpu", lease=seconds), **callbacks)


def same(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs measured the same, to the last bit."""
    arrays = zip(one.scores().items(), other.scores().items(), strict=True)
    return records(one) == records(other) and all(a[0] == b[0] and a[1].tobytes() == b[1].tobytes() for a, b in arrays)


def plugin_plan(folder: Path, body: str, faces: Path, key: str = "toy", **options: Any) -> Plan:
    (folder / f"{key}.py").write_text(plugin_source(body))
    return make_plan(Request([key], str(faces), overrides=SETTINGS, plugins=[str(folder)], **options))


# --- disks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["spec.json", "epochs.jsonl", "checkpoint.pt", "scores.npz", "sums.json", "final.json"]
)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["full", "quota"])
def test_a_write_that_fails_is_said_and_the_run_goes_on_later(
    name: str, code: int, planned: Plan, peace: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code == errno.EDQUOT and name != "checkpoint.pt":
        pytest.skip("the same path as of a full disk")
    flush, writing = os.fsync, list[str]()
    write = files.write_atomically

    def write_there(path: Path, content: bytes, parts: Path | None = None) -> None:
        writing.append(path.name)
        write(path, content, parts)

    def flush_there(file: int) -> None:
        if writing[-1] == name:
            raise OSError(code, os.strerror(code))
        flush(file)

    with monkeypatch.context() as patch:
        patch.setattr(lease, "write_atomically", write_there)
        patch.setattr(os, "fsync", flush_there)
        event = here(planned, tmp_path)
    assert event["state"] == "failed" and os.strerror(code) in event["error"] and name in event["error"]
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    assert folder.final is None and not list(tmp_path.rglob("*.part"))
    assert here(planned, tmp_path)["state"] == "done" and same(folder, peace)


ON_A_SMALL_DISK = """
import json, subprocess, sys
from pathlib import Path
from fer_bench.launch.task import Task, train_run
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
disk, faces = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], check=True)
def train(seed):
    planned = make_plan(Request(["ce"], faces, seeds=[seed], overrides={"epochs": 1, "image_size": 32}))
    return train_run(Task(planned, planned.runs[0], disk, "cpu"))
print(json.dumps(train(0)))
subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
print(json.dumps(train(0)))
before = sorted(path.read_bytes() for path in disk.rglob("*") if path.is_file())
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
print(json.dumps(train(1)))
print(json.dumps(sorted(path.read_bytes() for path in disk.rglob("*") if path.is_file()) == before))
"""


def test_a_small_disk_and_a_read_only_one(faces_folder: Path, tmp_path: Path) -> None:
    alone = ["unshare", "--map-root-user", "--mount"]  # mounts that nobody else sees
    try:
        mounts = subprocess.run([*alone, "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if mounts.returncode:
        pytest.skip(f"mounting is not allowed here: {mounts.stderr.decode().strip()}")
    command = [*alone, sys.executable, "-c", ON_A_SMALL_DISK, tmp_path, faces_folder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    full, again, locked, untouched = map(json.loads, result.stdout.splitlines())
    assert full["state"] == "failed" and "No space left on device" in full["error"]
    assert again["state"] == "done"
    assert locked["state"] == "failed" and "cannot read or write results" in locked["error"]
    assert "Read-only file system" in locked["error"] and untouched


def test_a_folder_deleted_under_a_run_is_said_and_not_made_again(planned: Plan, tmp_path: Path) -> None:
    def delete(event: dict[str, Any]) -> None:
        if event["epoch"] == 1:
            shutil.rmtree(tmp_path / "runs")

    event = here(planned, tmp_path, on_progress=delete)
    assert event["state"] == "failed" and "the folder was deleted while the run was trained" in event["error"]
    assert not (tmp_path / "runs").exists()


def test_a_run_that_may_not_be_read_fails_alone_and_is_left_as_it_is(
    planned: Plan, peace: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator may read everything, so the system's answer is made."""
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    shutil.copytree(peace.path, folder.path)
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == folder.path / "final.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert api.missing(planned, api.Execution(tmp_path)) == list(planned.runs)
        event = here(planned, tmp_path)
    assert event["state"] == "failed" and "Permission denied" in event["error"] and "final.json" in event["error"]
    assert folder.state == "done" and same(folder, peace)


# --- damaged files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["checkpoint cut", "checkpoint changed", "epochs torn", "epochs absent"])
def test_what_a_stopped_run_left_damaged(damage: str, planned: Plan, peace: RunFolder, tmp_path: Path) -> None:
    seen: list[int] = []
    here(planned, tmp_path, on_progress=lambda event: seen.append(event["epoch"]), stopping=lambda: 1 in seen)
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    assert folder.state == "interrupted" and len(folder.epochs()) == 1
    checkpoint, epochs = folder.path / "checkpoint.pt", folder.path / "epochs.jsonl"
    content = bytearray(checkpoint.read_bytes())
    if damage == "checkpoint cut":
        checkpoint.write_bytes(content[: len(content) // 2])
    elif damage == "checkpoint changed":
        content[len(content) // 2] ^= 16
        checkpoint.write_bytes(content)
    elif damage == "epochs torn":
        epochs.write_bytes(epochs.read_bytes()[:-50])
    else:
        epochs.unlink()
    event = here(planned, tmp_path)
    noted = [note for note in event["notes"] if "checkpoint.pt is damaged" in note]
    assert len(noted) == damage.startswith("checkpoint") and all(
        n in (folder.path / "log.txt").read_text() for n in noted
    )
    assert event["state"] == "done" and same(folder, peace)


@pytest.mark.parametrize("name", ["final.json", "scores.npz", "epochs.jsonl"])
def test_damaged_results_are_made_again_with_a_note(name: str, planned: Plan, peace: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    shutil.copytree(peace.path, folder.path)
    assert api.missing(planned, api.Execution(tmp_path)) == [] and here(planned, tmp_path)["state"] == "done"
    content = (folder.path / name).read_bytes()
    (folder.path / name).write_bytes(content[: len(content) // 2])
    assert [run.spec.key for run in api.missing(planned, api.Execution(tmp_path))] == [folder.path.name]
    event = here(planned, tmp_path)
    assert event["state"] == "done" and f"{name} is damaged" in event["notes"][0]
    assert same(folder, peace) and folder.damage == "" and (folder.path / name).exists()


def test_what_a_kill_after_the_last_result_left_is_removed(planned: Plan, peace: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    shutil.copytree(peace.path, folder.path)
    before = (folder.path / "final.json").stat()
    for left in ("checkpoint.pt", "claim"):
        if left == "claim":
            owner = folder.path / "claim" / "dead" / "owner.json"
            owner.parent.mkdir(parents=True)
            owner.write_text(json.dumps({**this_process(), "pid": 2**22 + 1}))
        else:
            (folder.path / left).write_bytes(b"x")
        assert len(api.missing(planned, api.Execution(tmp_path))) == 1
        assert here(planned, tmp_path)["state"] == "done"
        assert api.missing(planned, api.Execution(tmp_path)) == [] and not (folder.path / left).exists()
    after = (folder.path / "final.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_first_stage_is_trained_anew(faces_folder: Path, tmp_path: Path) -> None:
    both = make_plan(Request(["ce", "crt"], str(faces_folder), overrides=SETTINGS, settings_file="default"))
    first, second = sorted(both.runs, key=lambda run: run.spec.method)
    assert here(replace(both, runs=(first,)), tmp_path)["state"] == "done"
    networks = RunFolder.of(tmp_path, first.spec).path / "model.safetensors"
    content = bytearray(networks.read_bytes())
    content[len(content) // 2] ^= 1
    networks.write_bytes(content)
    event = here(replace(both, runs=(second,)), tmp_path)
    assert event["state"] == "done" and "model.safetensors is damaged" in event["notes"][0]
    alone = replace(second, first_stage_of=None)
    assert here(replace(both, runs=(alone,)), tmp_path / "alone")["state"] == "done"
    assert same(*(RunFolder.of(out, second.spec) for out in (tmp_path, tmp_path / "alone")))


# --- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[Path, list[int]]]:
    """Opens the faces in a cache of their own, chunks of 16; its array and how many images were decoded for that."""
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "CHUNK", 16)

    def build() -> tuple[Path, list[int]]:
        faces = open_dataset(str(faces_folder))
        manifest = faces.read()
        counts: list[int] = []
        pixels = manifest.source.pixels
        object.__setattr__(manifest.source, "pixels", lambda rows, size: counts.append(len(rows)) or pixels(rows, size))
        faces.decode(32)
        assert faces.pixels(32).shape == (len(faces.ids), 3, 32, 32)
        return faces.folder / "images-32.npy", counts

    return build


def test_one_changed_byte_costs_one_chunk(decoded: Callable[[], tuple[Path, list[int]]]) -> None:
    path, counts = decoded()
    whole = path.read_bytes()
    assert sum(counts) == 162 and max(counts) == 16
    assert decoded()[1] == [], "what is right is not decoded again"
    for damaged in (whole[:100_000] + bytes([whole[100_000] ^ 4]) + whole[100_001:], whole[:-5]):
        path.write_bytes(damaged)
        assert len(decoded()[1]) == 1 and path.read_bytes() == whole
    path.write_bytes(b"")
    assert sum(decoded()[1]) == 162 and path.read_bytes() == whole
    path.with_suffix(".sha256").unlink()
    assert sum(decoded()[1]) == 162 and path.read_bytes() == whole


def test_a_file_that_was_found_right_is_read_again_only_when_it_changed(
    decoded: Callable[[], tuple[Path, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = decoded()
    whole, read = path.read_bytes(), list[str]()
    checksum = cache.checksum
    monkeypatch.setattr(cache, "checksum", lambda content: read.append("chunk") or checksum(content))

    def chunks_read() -> int:
        read.clear()
        assert decoded()[0].read_bytes() == whole
        return len(read)

    assert chunks_read() > 10 < chunks_read(), "written just now: a change would not show in its time"
    os.utime(path, (1e9, 1e9))
    assert chunks_read() > 10 > chunks_read()
    path.write_bytes(whole[:100_000] + bytes([whole[100_000] ^ 4]) + whole[100_001:])
    assert chunks_read() > 10
    os.utime(path, (1e9, 1e9))
    chunks_read()
    path.rename(path.with_suffix(".other"))
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, (1e9, 1e9))
    assert chunks_read() > 10, "another file in its place"


def test_a_killed_build_goes_on(
    decoded: Callable[[], tuple[Path, list[int]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, written = cache._write_at, list[int]()

    def killed(file: int, content: bytes, place: int) -> None:
        written.append(place)
        if len(written) > 4:  # the header and three chunks; the fourth is torn
            write(file, content[:1000], place)
            raise KeyboardInterrupt
        write(file, content, place)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_write_at", killed)
        patch.setattr(cache, "_cores", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            decoded()
    assert not list(tmp_path.rglob("images-32.npy")) and len(list(tmp_path.rglob("images-32.part"))) == 1
    path, counts = decoded()
    assert sum(counts) == 162 - 3 * 16
    torn = path.read_bytes()
    shutil.rmtree(tmp_path / "cache")
    assert decoded()[0].read_bytes() == torn and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", ["dataset.npz", "dataset.json"])
def test_a_damaged_table_of_faces_is_read_again(name: str, decoded: Callable[[], tuple[Path, list[int]]]) -> None:
    path, _ = decoded()
    file = path.with_name(name)
    whole = file.read_bytes()
    for content in (whole[:50], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        file.write_bytes(content)
        decoded()
        assert file.read_bytes() == whole


# --- plugins ------------------------------------------------------------------------------------------------------

VANDAL = (
    LOSS
    + """
def on_fit_end(self, run):
    import sys, warnings
    torch.manual_seed(1); np.random.seed(1); random.seed(1)
    torch.set_num_threads(3); torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)
    torch.set_default_device("meta"); torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True); torch.use_deterministic_algorithms(True); torch.set_autocast_enabled("cpu", True)
    torch.autograd.set_detect_anomaly(True); torch.backends.cudnn.enabled = False
    np.seterr(all="raise"); warnings.simplefilter("error"); os.environ["FER_BENCH_VANDAL"] = "1"
    os.environ.pop("HOME", None); os.chdir("/"); sys.stdout = None
    raise RuntimeError("and leaves")
"""
)


def test_a_plugin_that_changes_the_process_changes_no_other_run(
    planned: Plan, peace: RunFolder, faces_folder: Path, tmp_path: Path
) -> None:
    before = Path.cwd(), dict(os.environ), sys.stdout, np.geterr()
    event = here(plugin_plan(tmp_path, VANDAL, faces_folder), tmp_path)
    assert event["state"] == "failed" and event["error"] == "RuntimeError: and leaves"
    assert (Path.cwd(), dict(os.environ), sys.stdout, np.geterr()) == before
    assert here(planned, tmp_path)["state"] == "done"
    assert same(RunFolder.of(tmp_path, planned.runs[0].spec), peace)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("def train_step(self, batch, run):\n    return {}", "no optimizer step in epoch 1"),
        ("def loss(self, batch, run):\n    raise torch.OutOfMemoryError('CUDA out of memory.')", "CUDA out of memory"),
        ("def loss(self, batch, run):\n    return self.net(batch.view()).sum() / 0", "NaN or infinite in epoch 1"),
    ],
    ids=["never steps", "out of memory", "infinite"],
)
def test_a_method_at_fault_fails_alone(body: str, error: str, faces_folder: Path, tmp_path: Path) -> None:
    toy = plugin_plan(tmp_path, body, faces_folder)
    event = here(toy, tmp_path)
    assert event["state"] == "failed" and error in event["error"]
    assert "Traceback" in RunFolder.of(tmp_path, toy.runs[0].spec).failure["traceback"]


def test_later_epochs_without_a_step_stand_in_the_log(faces_folder: Path, tmp_path: Path) -> None:
    body = LOSS + "def train_step(self, batch, run):\n    return {} if run.epoch else super().train_step(batch, run)"
    toy = plugin_plan(tmp_path, body, faces_folder)
    assert here(toy, tmp_path)["state"] == "done"
    log = (RunFolder.of(tmp_path, toy.runs[0].spec).path / "log.txt").read_text()
    assert "no optimizer step in epoch 2" in log and "epoch 1" not in log


HANGS = """
def on_epoch_end(self, run):
    print("about to hang", flush=True)
    os.system("echo said by a child")
    __import__("time").sleep(600)
"""


def test_a_run_over_its_time_limit_ends_alone_and_says_where_it_was(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hangs.py").write_text(plugin_source(LOSS + HANGS))
    settings = {**SETTINGS, "epochs": 1}
    planned = make_plan(Request(["hangs", "ce"], str(faces_folder), overrides=settings, plugins=[str(tmp_path)]))
    queue = sorted(planned.runs, key=lambda run: run.spec.method, reverse=True)
    log = RunFolder.of(tmp_path, queue[0].spec).path / "log.txt"

    def clock() -> float:
        """Ten minutes later once the plugin hangs."""
        return time.monotonic() + 600 * (log.exists() and "said by a child" in log.read_text())

    for module in ("local", "processes"):
        monkeypatch.setattr(f"fer_bench.launch.{module}.time", SimpleNamespace(monotonic=clock))
    ends: dict[str, dict[str, Any]] = {}
    work = Work(planned, queue, tmp_path, ["cpu"], on_event=lambda _, run, e: ends.update({run.spec.method: e}))
    train_all(work, limit=599)
    assert ends["ce"]["state"] == "done" and ends["hangs"]["state"] == "failed"
    assert ends["hangs"]["error"] == "ran longer than the time limit of 9.98333 min"
    make_sweep(planned, tmp_path, "s", "fer-bench run").save()
    said = CliRunner().invoke(main, ["status", "--out", str(tmp_path)], catch_exceptions=False).output
    for part in ("time limit of 9.98", "about to hang", "said by a child", "in on_epoch_end", "1 done", "1 failed"):
        assert part in said, f"{part!r} is not in {said}"


# --- processes ----------------------------------------------------------------------------------------------------

TRAIN = """
import json, os, sys
from pathlib import Path
from fer_bench.launch.task import Task, train_run
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
out, faces, plugins = sys.argv[1:]
planned = make_plan(Request(["slow"], faces, overrides={"epochs": 2, "image_size": 32}, plugins=[plugins]))
print(json.dumps(train_run(Task(planned, planned.runs[0], Path(out), "cpu", lease=1.0))))
"""


def test_a_worker_that_was_stopped_finds_one_result_and_leaves_it(faces_folder: Path, tmp_path: Path) -> None:
    slow = LOSS + "def on_epoch_start(self, run):\n    __import__('time').sleep(0.3)"
    toy = plugin_plan(tmp_path, slow, faces_folder, "slow")
    folder = RunFolder.of(tmp_path, toy.runs[0].spec)
    command = [sys.executable, "-c", TRAIN, tmp_path, faces_folder, tmp_path]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not (folder.path / "epochs.jsonl").exists():
        assert worker.poll() is None
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGSTOP)
    seen = here(toy, tmp_path, seconds=1.0)
    assert seen["state"] == "busy" and seen["by"].endswith(f"pid {worker.pid}") and not seen["taken_over"]
    while (event := here(toy, tmp_path, seconds=1.0))["state"] == "busy":
        time.sleep(0.1)
    assert event["state"] == "done"
    final = folder.path / "final.json"
    before = final.stat()
    os.kill(worker.pid, signal.SIGCONT)
    late = json.loads(worker.communicate(timeout=120)[0].splitlines()[-1])
    assert late["state"] == "busy" and late["taken_over"] and "taken over by" in late["by"]
    after = final.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("claim"))


def test_the_script_that_kills_at_random_moments_runs(tmp_path: Path) -> None:
    """One kill; docs/development/robustness.md has the figures of many."""
    report = tmp_path / "kills.json"
    words = ("--fork", "--kills", "1", "--methods", "ce", "--epochs", "1", "--to", str(report))
    result = subprocess.run(
        [sys.executable, "-m", "tests.stress.kills", *words], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(report.read_text())
    assert found["kills"] == 1 and found["wrong"] == []
