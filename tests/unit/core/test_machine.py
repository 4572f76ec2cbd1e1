"""What of a machine may be used, from files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_bench.core import machine
from fer_bench.core.machine import Cores, Memory


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu_DOT_max": "150000 100000\n"}, 1.5),
        ({"cpu_DOT_max": "max 100000\n"}, None),
        ({"cpu__cpu_DOT_cfs_quota_us": "400000\n", "cpu__cpu_DOT_cfs_period_us": "100000\n"}, 4.0),
        ({"cpu__cpu_DOT_cfs_quota_us": "-1\n", "cpu__cpu_DOT_cfs_period_us": "100000\n"}, None),
        ({"cpu_DOT_max": "rubbish"}, None),
        ({}, None),
    ],
)
def test_the_limit_of_a_control_group_is_read(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    assert machine.cores(write(tmp_path, **files)).cgroup == expected


def test_the_smallest_limit_of_cores_counts() -> None:
    assert Cores(16, 8, 2.5).usable == 2
    assert Cores(16, 4, None).usable == 4
    assert Cores(4, None, 0.5).usable == 1, "half a core still trains one run"
    assert Cores(4, None, 64.0).usable == 4


def test_the_cores_of_this_process_are_those_that_it_may_run_on() -> None:
    assert machine.cores().affinity == len(os.sched_getaffinity(0))


def test_memory_is_that_of_the_machine_and_of_its_control_group(tmp_path: Path) -> None:
    proc = write(tmp_path / "proc", meminfo="MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   600 kB\nPages: 7\n")
    group = write(tmp_path / "group", memory_DOT_max="512000\n", memory_DOT_current="12000\n")
    assert machine.memory(proc, group) == Memory(1_024_000, 614_400, 512_000, 500_000)
    assert machine.memory(proc, group).usable == 500_000


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", ""])
def test_no_limit_of_memory_is_none(tmp_path: Path, limit: str) -> None:
    proc = write(tmp_path / "proc", meminfo="MemTotal:  1000 kB\nMemAvailable:   600 kB\n")
    found = machine.memory(proc, write(tmp_path / "group", memory_DOT_max=limit))
    assert found.cgroup is None and found.usable == 614_400


def test_the_old_layout_of_control_groups_is_read(tmp_path: Path) -> None:
    names = {"memory__memory_DOT_limit_in_bytes": "2048", "memory__memory_DOT_usage_in_bytes": "48"}
    assert machine.memory(tmp_path, write(tmp_path / "group", **names)) == Memory(None, None, 2048, 2000)


def test_where_nothing_is_known_nothing_is_said(tmp_path: Path) -> None:
    assert machine.memory(tmp_path, tmp_path).usable is None
    assert machine.extensions(tmp_path) == [] and machine.processor(tmp_path)


def test_instruction_sets_are_whole_words(tmp_path: Path) -> None:
    cpuinfo = "model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx512fp16 avx2 avx512_bf16\nflags\t\t: fpu avx2\n"
    write(tmp_path, cpuinfo=cpuinfo)
    assert machine.extensions(tmp_path) == ["avx2", "avx512_bf16"]
    assert machine.processor(tmp_path) == "Some CPU @ 2 GHz"


def test_a_folder_is_tried_where_it_would_be_made(tmp_path: Path) -> None:
    found = machine.folder(tmp_path / "a" / "b")
    assert found.problem == "" and found.free and not (tmp_path / "a").exists()


def test_a_folder_below_a_file_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Not a directory" in machine.folder(tmp_path / "file" / "results").problem
