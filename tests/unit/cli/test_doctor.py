"""``fer-bench doctor`` as a person and as a program see it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.machine import Cores, Folder, Memory
from fer_bench.launch import doctor
from fer_bench.launch.doctor import Advice, Examination, Gpu, Machine, Speed

FOUND = Examination(
    Machine(
        "Some Processor @ 2 GHz",
        Cores(16, 8, 2.5),
        ["avx2", "avx512f"],
        "AVX512",
        Memory(64 * 10**9, 40 * 10**9, 8 * 10**9, 6 * 10**9),
        [Gpu("NVIDIA Something", "9.0", 80 * 10**9, 79 * 10**9)],
        3.25,
        {"torch": "2.9", "ray": "?"},
        Folder("results", "", 5 * 10**9),
        Folder("/cache", "", 10**9),
    ),
    {"synthetic": True, "rafdb": False},
    "data",
    {"efficientnet-lite0": True},
    "standard",
    Speed("cuda:0", "resnet18", 112, 64, {"float32": 4.0, "bf16": 2.0}, {"float32": 16.0, "bf16": 8.0}),
    Advice("bf16", "a step in bf16 takes 0.50 of the time of one in float32", "cuda:0", 1, "one", 600.0, ""),
    [],
)


def shown(monkeypatch: pytest.MonkeyPatch, found: Examination, *words: str) -> Any:
    monkeypatch.setattr(doctor, "examine", lambda *_: found)
    return CliRunner().invoke(main, ["doctor", *words], env={"COLUMNS": "80"}, catch_exceptions=False)


def test_it_tells_the_limits_the_speed_and_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    result = shown(monkeypatch, FOUND)
    lines = " ".join(result.output.split())
    for text in (
        "cores 2 usable of 16; affinity allows 8; control group allows 2.5",
        "memory 6.0 GB usable of 64.0 GB; control group allows 8.0 GB",
        "load 3.2; other programs slow a sweep down",
        "cuda:0 NVIDIA Something, 79.0 GB free of 80.0 GB, capability 9.0",
        "results results: 5.0 GB free",
        "versions torch 2.9 ",
        "not found rafdb (in data; see fer-bench datasets)",
        "resnet18, 112 px, batch 64 (preset standard), on cuda:0",
        "bf16 forward 2.0 ms, with backward 8.0 ms; 8,000 images/s",
        "--precision bf16: a step in bf16 takes 0.50 of the time of one in float32; it changes the numbers",
        "--jobs 1: one; small networks may gain by more, with --jobs-per-device",
        "every method once at noise 0.4, preset standard, in float32: about 10 min",
    ):
        assert text in lines, text
    assert result.exit_code == 0 and max(map(len, result.output.splitlines())) <= 80


def test_a_machine_without_limits_and_gpus_says_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(FOUND.machine, cores=Cores(4, 4, None), memory=Memory(10**9, 10**9, None, None), gpus=[], load=1.0)
    result = shown(monkeypatch, replace(FOUND, machine=here))
    lines = " ".join(result.output.split())
    assert "4 usable of 4 memory" in lines and "control group" not in lines and "none that PyTorch sees" in lines
    assert "load 1.0 GPU" in lines


def test_a_folder_that_cannot_be_written_to_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    result = shown(monkeypatch, replace(FOUND, problems=["nothing can be written to x"]))
    assert result.exit_code == 1 and result.output.splitlines()[-1] == "problem: nothing can be written to x"


def test_json_is_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(shown(monkeypatch, FOUND, "--json").output) == FOUND.plain()


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json", "--device", "cpu", "--out", str(tmp_path)])
    found = json.loads(result.output)
    assert result.exit_code == 0 and found["advice"]["seconds"] > 0 and found["speed"]["backbone"] == "ferres8"
