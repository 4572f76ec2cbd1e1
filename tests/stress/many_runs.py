"""Times what a person waits for when a store holds ten thousand finished runs. Not part of the test suite.

    python -m tests.stress.many_runs [RUN] [--count 10000] [--keep FOLDER]

RUN is a finished run's folder that serves as the template; without it a small one is trained. Its copies differ in
method, noise, imbalance and seed, and in their accuracies, so that tables and tests have something to compute. Arrays
are hard links of the template's, because only ``pack`` and ``report`` read them.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from fer_bench.core.files import checksum
from fer_bench.core.schema import build
from fer_bench.core.spec import RunSpec
from fer_bench.store.folder import RunFolder

METHODS = ("ce", "cb", "coteaching", "crt", "eac", "jocor", "nla", "rul", "scn", "mentornet")
NOISES = tuple({"kind": "symmetric", "rate": rate / 10, "mode": "exact", "file": ""} for rate in range(1, 6))
IMBALANCES = (1.0, 50.0)
CLI = (sys.executable, "-m", "fer_bench.cli")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("template", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="an empty folder for the runs, or one that holds them already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.keep or Path(scratch) / "out"
        if not (out / "sweeps").exists():
            multiply(options.template or trained(Path(scratch) / "one"), out, options.count)
        times = {
            "load_runs": timed(sys.executable, "-c", f"import fer_bench; print(len(fer_bench.load_runs({str(out)!r})))")
        }
        for words in (
            ("status",),
            ("watch", "--once"),
            ("table",),
            ("table", "--format", "csv"),
            ("clean", "--dry-run"),
        ):
            times[" ".join(words)] = timed(*CLI, *words, "--out", str(out))
        for name, (wall, cpu) in times.items():
            print(f"{name:20} {wall:6.1f} s, {cpu:5.1f} s of a core", flush=True)


def trained(out: Path) -> Path:
    """A run of the preset ``quick`` on few images."""
    subprocess.run([*CLI, "run", "--methods", "ce", "--noise", "0.3", "--train-size", "350", "--out", str(out)],
                   check=True, capture_output=True)  # fmt: skip
    return next(out.glob("runs/*/*/*"))


def multiply(template: Path, out: Path, count: int) -> None:
    """Writes ``count`` finished runs and a sweep of all of them."""
    source, rng = RunFolder(template), random.Random(0)
    final, epochs = source.final, source.epochs()
    arrays = [path for path in template.iterdir() if path.suffix == ".npz"]
    runs, names = [], {}
    for spec in islice(specs(source.spec or {}), count):
        folder = RunFolder.of(out, spec)
        shift = rng.gauss(0, 0.02)
        folder.path.mkdir(parents=True)
        records = [shifted(record, shift) for record in epochs]
        files = {
            "spec.json": json.dumps(json.loads(spec.canonical), indent=1),
            "env.json": json.dumps(source.environment, sort_keys=True),
            "epochs.jsonl": "".join(json.dumps(record, sort_keys=True) + "\n" for record in records),
            "final.json": json.dumps({**(final or {}), "test": records[-1]["test"]}, sort_keys=True),
            "log.txt": "",
        }
        summed = {name: files[name].encode() for name in ("final.json", "epochs.jsonl")}
        summed |= {path.name: path.read_bytes() for path in arrays}
        files["sums.json"] = json.dumps({name: checksum(content) for name, content in summed.items()})
        for name, text in files.items():
            (folder.path / name).write_text(text)
        for path in arrays:
            os.link(path, folder.path / path.name) if same_disk(path, out) else (folder.path / path.name).write_bytes(
                path.read_bytes()
            )
        runs.append(str(folder.path.relative_to(out)))
        names[spec.key] = spec.name
    sweep = {"name": "many", "command": "fer-bench run …", "runs": runs, "names": names, "skipped": [],
             "classes": {}, "created": "2026-01-01T00:00:00Z"}  # fmt: skip
    (out / "sweeps" / "many").mkdir(parents=True)
    (out / "sweeps" / "many" / "sweep.json").write_text(json.dumps(sweep, indent=1))


def specs(template: dict[str, Any]) -> Iterator[RunSpec]:
    for seed in range(1_000_000):
        for method, noise, factor in product(METHODS, NOISES, IMBALANCES):
            changed = {"method": method, "noise": noise, "seed": seed, "imbalance": {"kind": "exp", "factor": factor}}
            yield build(RunSpec, {**template, **changed}, "spec")


def shifted(record: dict[str, Any], by: float) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    for name in ("overall", "mean", "macro_f1"):
        changed["test"][name] = min(1.0, max(0.0, changed["test"][name] + by))
    return changed


def same_disk(path: Path, out: Path) -> bool:
    return path.stat().st_dev == out.stat().st_dev


def timed(*command: str) -> tuple[float, float]:
    """Seconds by the clock, which a busy machine stretches, and of a core."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, spent


if __name__ == "__main__":
    main()
