"""The check of a GPU, rehearsed on the CPU: its findings, what it watches, and its summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import findings, summary, sweeps, waits
from benchmarks.gpu.correctness import _differences, distances
from benchmarks.gpu.findings import Part
from benchmarks.gpu.steps import Row, operations
from benchmarks.speed.training import random_faces
from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.engine.isolation import contained
from fer_bench.store.folder import RunFolder
from tests.helpers.pages import ROOT

# --- findings -----------------------------------------------------------------------------------------------------


def test_a_finding_is_on_the_disk_at_once_and_a_broken_last_line_is_left_out(tmp_path: Path) -> None:
    part = Part("steps", tmp_path, "cpu", True, 60)
    part.found("step", method="ce")
    with (tmp_path / findings.FILE).open("a") as file:
        file.write('{"part": "steps", "wh')
    (found,) = findings.read(tmp_path)
    assert (found["part"], found["what"], found["method"]) == ("steps", "step", "ce")


def test_an_error_is_a_finding_and_the_part_goes_on(tmp_path: Path) -> None:
    part = Part("steps", tmp_path, "cpu", True, 60)
    with part.failures_found("step", method="ce"):
        raise ValueError("no memory\nmore")
    (found,) = findings.read(tmp_path)
    assert found["error"] == "ValueError: no memory" and found["method"] == "ce" and "raise" in found["trace"]


def test_what_there_is_no_time_for_is_a_finding(tmp_path: Path) -> None:
    assert Part("steps", tmp_path, "cpu", True, 60).enough_time("a")
    assert not Part("steps", tmp_path, "cpu", True, -1).enough_time("b")
    assert [each["at"] for each in findings.read(tmp_path)] == ["b"]


# --- what is watched ----------------------------------------------------------------------------------------------


def test_a_mask_as_index_in_a_step_is_found_and_one_outside_is_not() -> None:
    watch = waits.Watch(torch.device("cpu"))
    x, mask = torch.arange(4), torch.tensor([True, False, True, False])
    with waits.Asked(watch):
        x[mask], x.sum().item()
        watch.begin_step()
        x[mask], x.sum().item(), x[x > 1], x[torch.tensor([0, 1])]
    assert {name.split(" at ")[0]: times for name, times in watch.waits.items()} == {
        "mask as index": 2,
        "_local_scalar_dense": 1,
    }


@pytest.mark.slow
def test_the_steps_of_a_method_are_watched_with_the_place(tmp_path: Path) -> None:
    waits.watch_steps(Part("correctness", tmp_path, "cpu", True, 60), ["ce", "dividemix"])
    plain, asking = findings.read(tmp_path)
    assert plain["places"] == {}, "the harness makes nobody wait"
    assert all("methods/dividemix.py:" in place for place in asking["places"]) and asking["places"]


def test_steps_of_the_second_epoch_are_timed_and_their_passes_counted(tmp_path: Path) -> None:
    recipe = Recipe(image_size=16, batch_size=8, epochs=2)
    with contained(1):
        row = Row("dividemix", recipe, random_faces(tmp_path, 16, 8 * 9, 14), tmp_path / "run", "cpu")
    assert (row.steps, row.networks, row.seconds > 0) == (9 - 5, 2, True)
    assert row.passes == (8, 4), "after the warm-up: both networks guess for two views of two parts, and train on them"


def test_operations_are_counted_by_passes() -> None:
    recipe = Recipe(image_size=16)
    forward, step = operations(recipe, 1, 0), operations(recipe, 1, 1)
    assert 2.5 * forward < step < 3 * forward
    assert operations(recipe, 5, 2) == 2 * step + 3 * forward


# --- sweeps -------------------------------------------------------------------------------------------------------


def store(out: Path, seed: int, begin: float, end: float | None, **record: Any) -> RunFolder:
    spec = RunSpec("faces", "f" * 64, "ce", "c" * 64, {}, Noise("none"), seed=seed, recipe=Recipe(epochs=1))
    folder = RunFolder.of(out, spec)
    with folder.claim():
        folder.start(spec, {})
        folder.save_epochs([{"epoch": 1, "test": {"overall": 0.5}, **record}])
        if end is not None:
            folder.finish({"test": {"overall": 0.5}, "seconds": 1.0}, {"a": torch.zeros(2).numpy()}, {})
            os.utime(folder.path / "final.json", (end, end))
    os.utime(folder.path / "spec.json", (begin, begin))
    return folder


def test_workers_are_busy_between_the_first_and_the_last_file_of_a_run(tmp_path: Path) -> None:
    now = time.time()
    store(tmp_path, 0, now, now + 10)
    store(tmp_path, 1, now + 15, now + 20)
    store(tmp_path, 2, now + 2, None)
    pace = sweeps.pace(tmp_path, workers=2)
    assert (pace.runs, round(pace.seconds, 3), round(pace.busy, 4)) == (2, 20.0, 15 / 40)
    assert pace.per_hour == pytest.approx(360)


def test_a_difference_of_the_last_bit_is_found(tmp_path: Path) -> None:
    first, same = store(tmp_path / "a", 0, 0, 1, loss=0.1), store(tmp_path / "b", 0, 0, 1, loss=0.1)
    assert _differences(first, same) == []
    other = store(tmp_path / "c", 0, 0, 1, loss=0.1 + 2**-56)
    assert _differences(first, other) == ["loss"]


def test_the_distance_from_the_cpu() -> None:
    one = {"test": {"nll": 1.5, "overall": 0.5}, "train": {"loss": 1.1}}
    other = {"test": {"nll": 1.25, "overall": 0.75}, "train": {"loss": 1.0}}
    assert distances(one, other) == {"nll": 0.25, "overall": 0.25, "loss": pytest.approx(0.1)}
    assert "loss" not in distances({**one, "train": {}}, other)


# --- the summary --------------------------------------------------------------------------------------------------

MACHINE = {"what": "machine", "device": "NVIDIA X", "small": False, "cores": 16, "python": "3.12", "cuda": "13.0",
           "packages": {"torch": "2.11"}, "cudnn": 91000, "commit": "abc"}  # fmt: skip
CELL = {"method": "ce", "backbone": "resnet18", "size": 112, "batch": 64, "precision": "bf16"}
FOUND = [
    {"part": "correctness", **MACHINE},
    {"part": "correctness", "what": "trains", "method": "ce", "error": "", "seconds": 2.0},
    {"part": "correctness", "what": "trains", "method": "eac", "error": "ValueError: x", "seconds": None},
    {"part": "correctness", "what": "waits", "method": "ce", "places": {"methods/ce.py:1": 3},
     "no_deterministic_form": {"some_op at methods/ce.py:2": 4}},
    {"part": "correctness", "what": "the same seed twice", "method": "ce", "equal": False, "differ": ["train.loss"]},
    {"part": "correctness", "what": "kill", "resumed": ["ce"]},
    {"part": "correctness", "what": "kill and resume", "method": "ce", "equal": True, "differ": []},
    {"part": "correctness", "what": "the CPU", "method": "ce", "within": False, "nll": 0.3, "overall": 0.1,
     "loss": 0.2},
    {"part": "correctness", "what": "end"},
    {"part": "steps", **MACHINE},
    {"part": "steps", "what": "bf16 peak", "tflops": 780.0},
    {"part": "steps", "what": "step", **CELL, "compile": True, "passes": [1, 1], "floor_ms": 4.0, "over_floor": 1.05,
     "images_per_second": 15238.0, "share_of_peak": 0.125, "memory": 3 << 30},
    {"part": "steps", "what": "step", **CELL, "compile": False, "error": "OutOfMemoryError: no", "trace": "…"},
    {"part": "steps", "what": "not reached", "at": "step of nla"},
    {"part": "jobs", **MACHINE},
    {"part": "jobs", "what": "runs per hour", "jobs": 8, "runs": 30, "asked": 32, "per_hour": 9876.5, "busy": 0.91},
    {"part": "loader", "what": "plain loop", **CELL, "workers": 8,
     "ratios": {"training": 3.0, "epoch": 2.5, "test only": 2.0}},
    {"part": "paper", "what": "paper run", "method": "lanet", "noise": 0.3, "overall": 0.815, "seconds": 12.0},
    {"part": "paper", "what": "paper", "faces": "ferplus", "weights": False},
]  # fmt: skip


def test_every_kind_of_finding_is_in_the_summary() -> None:
    shown = summary.markdown(FOUND)
    for line in (
        "# GPU check on NVIDIA X",
        "- part steps: did not end",
        "- part paper: was not begun",
        "- steps: no time for step of nla",
        "- steps: step (ce, resnet18, 112, 64, bf16, False) failed: OutOfMemoryError: no",
        "| ce | yes | 2.0 | differs: train.loss | equal | too far: loss 20.0%, test loss 0.300, accuracy 10.0 |",
        "| eac | ValueError: x |  |  |  |  |",
        "- ce: waits: methods/ce.py:1, 3 times",
        "- ce: no deterministic form: some_op at methods/ce.py:2, 4 times",
        "| resnet18 | 112 | 64 | ce | bf16 | compiled | 1 / 1 | 4.00 | 1.05 | 15,238 | 12.5% | 3,072 |",
        "| 8 | 30 of 32 | 9,876 | 91% |",
        "| ce | resnet18 | 112 | 64 | 8 | 3.00 | 2.50 | 2.00 |",
        "## LA-Net, Table 1, shortened: ferplus, random weights",
        "| lanet | 0.3 | 81.5 | 12 |",
    ):
        assert line in shown.splitlines(), line
    assert "part correctness" not in shown and "rehearsal" not in shown


@pytest.mark.parametrize("count", range(len(FOUND)))
def test_a_check_that_was_stopped_anywhere_has_a_summary(count: int, tmp_path: Path) -> None:
    (tmp_path / findings.FILE).write_text("".join(json.dumps(each) + "\n" for each in FOUND[:count]) + '{"part')
    summary.main(tmp_path)
    assert (tmp_path / "summary.md").read_text().startswith("# GPU check")


# --- the whole ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_part_runs_by_the_script_and_leaves_a_summary(tmp_path: Path) -> None:
    environment = {"DEVICE": "cpu", "PARTS": "jobs", "OUT": str(tmp_path), "PYTHON": sys.executable, "WHEELS": "none"}
    ran = subprocess.run(
        ["bash", ROOT / "benchmarks/gpu/check.sh"], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert ran.returncode == 0 and "jobs: exit code 0" in ran.stdout, ran.stderr
    shown = (tmp_path / "summary.md").read_text()
    assert "A rehearsal" in shown and "| 1 | 2 of 2 |" in shown and "| 2 | 4 of 4 |" in shown


def test_the_script_needs_no_installation(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/bash
for folder in ${{PYTHONPATH//:/ }}; do
    for name in fer_bench/method.py fer_bench_methods/ce.py fer_bench_benchmarks/published; do
        [ -e "$folder/$name" ] && echo "$name" >>'{tmp_path}/found'
    done
done
""")
    python.chmod(0o755)
    given = {"DEVICE": "cpu", "PARTS": "jobs", "OUT": str(tmp_path), "PYTHON": str(python), "WHEELS": "none"}
    subprocess.run(["bash", ROOT / "benchmarks/gpu/check.sh"], env={**os.environ, **given}, capture_output=True)
    found = set((tmp_path / "found").read_text().split())
    assert found == {"fer_bench/method.py", "fer_bench_methods/ce.py", "fer_bench_benchmarks/published"}
