"""What the stress scripts share: drawn faces, the command that trains them, and the comparison bit for bit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import fer_bench.api
import fer_bench.data.open
import fer_bench.engine.trainer
import fer_bench.report.plots.figures
import fer_bench.report.tables  # noqa: F401
from fer_bench.cli.main import main as command
from fer_bench.launch import local
from fer_bench.launch.task import Task, train_run
from fer_bench.launch.work import Work
from fer_bench.plugins.registry import discover

METHODS = tuple(key for key, plugin in sorted(discover().items()) if plugin.origin == "built in")
TIMES = ("seconds", "peak_memory_bytes")
"""Results that differ between two runs of one specification."""


def draw_faces(folder: Path) -> Path:
    """A CSV data set under ``folder``: three expressions, each a bright band at its own height, with landmarks."""
    rng, table = np.random.default_rng(0), folder / "faces.csv"
    folder.mkdir(parents=True)
    with table.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("path", "label", "split", "landmarks"))
        for split, count in (("train", 40), ("val", 4), ("test", 10)):
            for place, name in enumerate(("anger", "happiness", "neutral")):
                for number in range(count):
                    pixels = rng.integers(60, 120, (32, 32, 3)).astype(np.uint8)
                    pixels[10 * place : 10 * place + 10, :, place] += 100
                    file = f"{split}-{name}-{number:03d}.png"
                    Image.fromarray(pixels).save(folder / file)
                    rows.writerow((file, name, split, json.dumps(rng.random((19, 2)).round(3).tolist())))
    return table


def words(table: Path, out: Path, methods: Sequence[str], epochs: int, jobs: int) -> list[str]:
    """The command's arguments."""
    return [
        *("run", "--dataset", str(table), "--out", str(out), "--methods", ",".join(methods), "--noise", "0.3"),
        *("--image-size", "32", "--batch-size", "32", "--epochs", str(epochs), "--device", "cpu", "--jobs", str(jobs)),
    ]


def start(
    words: Sequence[str], cache: Path, log: Path, program: Sequence[str] = ("-m", "fer_bench.cli")
) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, *program, *words],
            stdout=said, stderr=said, start_new_session=True, env={**os.environ, "FER_BENCH_CACHE": str(cache)},
        )  # fmt: skip


class Forked:
    """A call of the command in a copy of this process, which has loaded everything; the runs are trained in it, one
    after the other. Looks like ``subprocess.Popen`` as far as these scripts need."""

    def __init__(self, words: Sequence[str], cache: Path, log: Path) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            os.setsid()
            said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(said, 1), os.dup2(said, 2)
            os.environ["FER_BENCH_CACHE"] = str(cache)
            local.train_all = _train_here
            command(list(words), standalone_mode=False)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        code = self._reap(0)
        assert code is not None
        return code

    def _reap(self, flags: int) -> int | None:
        if self.returncode is None and (found := os.waitpid(self.pid, flags))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode


def _train_here(work: Work, **_: Any) -> None:
    for run in work.todo:
        work.on_event(0, run, train_run(Task(work.plan, run, work.out, "cpu", work.force)))


def results(out: Path) -> dict[str, dict[str, Any]]:
    """Everything measured, by method and key: epochs, results, and the bytes of every stored array; no times."""
    found = {}
    for folder in sorted(path.parent for path in out.glob("runs/*/*/*/final.json")):
        epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
        final = json.loads((folder / "final.json").read_text())
        arrays = {}
        for name in ("scores.npz", "probe.npz"):
            with np.load(folder / name, allow_pickle=False) as stored:
                arrays[name] = {each: stored[each].tobytes() for each in stored.files}
        found[f"{folder.parent.name}/{folder.name}"] = {
            "epochs": [{name: value for name, value in each.items() if name not in TIMES} for each in epochs],
            "final": {name: value for name, value in final.items() if name not in TIMES},
            **arrays,
        }
    return found


def leftovers(out: Path) -> list[str]:
    """Files that only a process at work has."""
    patterns = ("*.part", "checkpoint.pt", "claim", ".claim-*", ".gone-*")
    return [str(path.relative_to(out)) for pattern in patterns for path in out.rglob(pattern)]


def differences(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> list[str]:
    """Runs and parts of runs that are not the same to the last bit."""
    if one.keys() != other.keys():
        return [f"finished by one only: {sorted(one.keys() ^ other.keys())}"]
    return [f"{run}: {part}" for run in one for part in one[run] if one[run][part] != other[run][part]]
