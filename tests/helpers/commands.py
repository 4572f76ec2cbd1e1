"""The command line in a process of its own, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "fer_bench.cli")


def call(*arguments: str | Path, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, "COLUMNS": "160", **environment},
    )  # fmt: skip


def numbers(out: Path) -> dict[str, list[dict[str, object]]]:
    """The epochs of every run under ``out`` by method and key, without the seconds that they took."""
    found = {}
    for path in sorted(out.glob("runs/*/*/*/epochs.jsonl")):
        epochs = [json.loads(line) for line in path.read_text().splitlines()]
        found["/".join(path.parts[-3:-1])] = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in epochs]
    return found
