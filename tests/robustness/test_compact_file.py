"""A sweep whose run folders are gone goes on from its compact file, also after kills and beside another command."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fer_bench.store.compact import COMPACT
from fer_bench.sweep.record import Sweep, find_sweep
from tests.helpers.commands import COMMAND, call, numbers

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]


def words(faces: Path, out: Path, methods: str, seeds: str) -> list[str | Path]:
    return ["run", "--dataset", faces, "--out", out, "--methods", methods, "--seeds", seeds, "--image-size", "32",
            "--batch-size", "32", "--epochs", "2", "--device", "cpu", "--jobs", "1", "--name", "mine",
            "--settings", "default"]  # fmt: skip


def measured(sweep: Sweep) -> dict[str, object]:
    """What the table of a sweep is made of, without times."""
    timed = ("seconds", "peak_memory_bytes", "path")
    return {row["key"]: str(row.drop(list(timed)).to_dict()) for _, row in sweep.finished().iterrows()}


def run_folders(out: Path) -> int:
    return len(list(out.glob("runs/*/*/*/final.json")))


@pytest.fixture(scope="module")
def peace(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, of which one starts from the networks of the other, and two seeds."""
    out = tmp_path_factory.mktemp("peace")
    assert call(*words(faces_folder, out, "ce,crt", "0,1")).returncode == 0
    return out


def test_a_grown_sweep_has_the_numbers_of_one_that_was_trained_whole(
    peace: Path, faces_folder: Path, tmp_path: Path
) -> None:
    assert call(*words(faces_folder, tmp_path, "ce", "0")).returncode == 0
    shutil.rmtree(tmp_path / "runs")
    said = call(*words(faces_folder, tmp_path, "ce", "0,1")).stdout
    assert f"1 run comes from {COMPACT}" in said and run_folders(tmp_path) == 1
    shutil.rmtree(tmp_path / "runs")
    said = call(*words(faces_folder, tmp_path, "ce,crt", "0,1")).stdout
    assert "2 runs are trained again, because other runs start from the networks" in said
    assert numbers(tmp_path) == numbers(peace) and measured(find_sweep(tmp_path, "mine")) == measured(
        find_sweep(peace, "mine")
    )
    shutil.rmtree(tmp_path / "runs")
    said = call(*words(faces_folder, tmp_path, "ce,crt", "0,1")).stdout
    assert "nothing to train" in said and not (tmp_path / "runs").exists()
    assert measured(find_sweep(tmp_path, "mine")) == measured(find_sweep(peace, "mine"))


def test_a_command_that_is_killed_loses_no_record(peace: Path, faces_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "sweeps" / "mine" / COMPACT
    assert call(*words(faces_folder, tmp_path, "ce", "0")).returncode == 0
    shutil.rmtree(tmp_path / "runs")
    before = file.read_bytes()
    grown = words(faces_folder, tmp_path, "ce,crt", "0,1")
    process = subprocess.Popen([*COMMAND, *map(str, grown)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 120
    while not run_folders(tmp_path) and time.monotonic() < ends:
        time.sleep(0.02)
    process.kill()
    process.wait(60)
    assert run_folders(tmp_path) < 4 and file.read_bytes() == before, "it was killed in the middle"
    assert call(*grown).returncode == 0
    shutil.rmtree(tmp_path / "runs")
    assert measured(find_sweep(tmp_path, "mine")) == measured(find_sweep(peace, "mine"))


def test_two_commands_at_once_train_each_run_once(peace: Path, faces_folder: Path, tmp_path: Path) -> None:
    assert call(*words(faces_folder, tmp_path, "ce", "0")).returncode == 0
    shutil.rmtree(tmp_path / "runs")
    # the first stage of a method is of the same request, so that both commands repeat it
    grown = [*COMMAND, *map(str, words(faces_folder, tmp_path, "ce,crt", "0,1"))]
    both = [subprocess.Popen(grown, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert numbers(tmp_path) == numbers(peace)
    shutil.rmtree(tmp_path / "runs")
    assert measured(find_sweep(tmp_path, "mine")) == measured(find_sweep(peace, "mine"))
