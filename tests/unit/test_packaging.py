"""The wheel holds what the tree holds: every module, plugin, preset, template, paper table and published number."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = {"fer_bench": "fer_bench", "methods": "fer_bench_methods"}
SUFFIXES = {".py", ".toml", ".html", ".txt", ".js", ".css", ".json"}


def test_wheel_holds_the_tree(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (*INSTALLED, "benchmarks", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).symlink_to(ROOT / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{installed}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, installed in INSTALLED.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES or path.name == "py.typed"
    }
    tables = (*(ROOT / "benchmarks").glob("*.toml"), ROOT / "benchmarks" / "published" / "results.csv")
    wanted |= {f"fer_bench_benchmarks/{path.relative_to(ROOT / 'benchmarks').as_posix()}" for path in tables}
    assert wanted - held == set()
    assert "fer_bench_methods/nla.py" in held and "fer_bench/core/recipes/quick.toml" in held


@pytest.mark.xdist_group("together")
def test_groups_of_tests_stay_on_one_worker(request: pytest.FixtureRequest, worker_id: str) -> None:
    """Where pytest and its plugin for many workers do not fit, dear fixtures are silently made once a worker."""
    if worker_id == "master":
        pytest.skip("tests run in one process")
    assert request.node.nodeid.endswith("@together")
