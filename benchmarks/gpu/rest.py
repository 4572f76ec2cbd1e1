"""Runs per hour by the number of runs on one device, a plain loop on the same device, and a table of a paper."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.findings import Part
from benchmarks.gpu.sweeps import pace, runs, train_apart
from benchmarks.speed import peers

JOBS = (1, 4, 16, 8, 2)
"""In the order of their worth."""
LOADER_WORKERS = 8


def runs_per_hour(part: Part) -> None:
    """Sweeps of short runs of ``ce`` with 1 to 16 runs at a time on the device."""
    levels, per_worker = ((1, 2), 2) if part.small else (JOBS, 3)
    for jobs in levels:
        if not part.enough_time(f"{jobs} runs at a time"):
            return
        count = max(per_worker * jobs, 2 if part.small else 6)
        request: dict[str, Any] = {"methods": ["ce"], "noise": 0.2, "seeds": range(count), "epochs": 1}
        request |= {"train_size": 210} if part.small else {}
        with tempfile.TemporaryDirectory() as name, part.failures_found("runs per hour", jobs=jobs):
            code = train_apart(Path(name), part.device, jobs, request, part.left)
            found = pace(Path(name), jobs)
            counts = {"jobs": jobs, "runs": found.runs, "asked": count, "exit_code": code}
            part.found("runs per hour", **counts, per_hour=found.per_hour, busy=found.busy)


def plain_loop(part: Part) -> None:
    """The same training by a loop with a DataLoader on the same device."""
    cells = [("ce", "ferres8", 48, 64, 1500), ("ce", "resnet18", 112, 64, 1500), ("eac", "resnet18", 112, 64, 1500)]
    cells = [("ce", "ferres8", 32, 16, 210)] if part.small else cells
    workers = 0 if part.small else LOADER_WORKERS
    for method, backbone, size, batch, images in cells:
        if not part.enough_time(f"plain loop of {method}, {backbone}"):
            return
        cell = {"method": method, "backbone": backbone, "size": size, "batch": batch, "workers": workers}
        with part.failures_found("plain loop", **cell):
            times = peers.measure(method, backbone, size, batch, images, workers, repeats=2, device=part.device)
            part.found("plain loop", **cell, ratios=times["plain_over_harness"]["wall"])


def paper(part: Part) -> None:
    """Table 1 of LA-Net, shortened, on DATASET, else on FERPlus where DATA_ROOT has it, else on drawn faces; its files
    go beside the findings."""
    root, weights = Path(os.environ.get("DATA_ROOT", "data")), os.environ.get("WEIGHTS", "")
    faces = os.environ.get("DATASET") or ("ferplus" if (root / "ferplus").is_dir() else "synthetic")
    words = ["reproduce", "lanet-t1", "--on", faces, "--data-root", str(root), "--seeds", "0"]
    words += ["--pretrained", f"resnet18={weights}"] if weights else []
    words += ["--device", part.device, *_size(part.small)]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        log = (out / "log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_bench.cli", *words, "--out", str(out)],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            try:
                code = process.wait(max(1.0, part.left))
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        for path, folder in runs(out).items():
            spec, final = folder.spec or {}, folder.final
            if final:
                part.found("paper run", method=path.split("/")[2], noise=spec["noise"]["rate"],
                           overall=final["test"]["overall"], seconds=final["seconds"])  # fmt: skip
        said = (out / "log").read_text()[-2000:] if code else ""
        part.found("paper", faces=Path(faces).name, weights=bool(weights), exit_code=code, said=said)
        for path in out.glob("reproduce/*/*"):
            if path.name in ("table.md", "runs.csv"):
                shutil.copy(path, part.out / f"lanet-t1-{path.name}")


def _size(small: bool) -> list[str]:
    if small:
        return [*("--preset", "quick", "--epochs", "1", "--train-size", "140", "--image-size", "32", "--jobs", "2")]
    return [*("--preset", "standard", "--epochs", "5", "--train-size", "6000", "--jobs-per-device", "5")]
