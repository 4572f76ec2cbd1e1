"""Command line of one part of the check of a GPU."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
import torch

from benchmarks.gpu import correctness, rest, steps
from benchmarks.gpu.findings import Part
from fer_bench.engine.environment import describe
from fer_bench.engine.memory import keep_freed_memory

PARTS = {
    "correctness": correctness.check,
    "steps": steps.measure,
    "jobs": rest.runs_per_hour,
    "loader": rest.plain_loop,
    "paper": rest.paper,
}


@click.command(help="One part of the check of a GPU; see docs/development/gpu.md.")
@click.argument("part", type=click.Choice(list(PARTS)))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--device", default="cuda:0", show_default=True)
@click.option("--seconds", type=float, default=120.0, show_default=True, help="No new finding is begun after them.")
@click.option("--small", is_flag=True, help="Scaled down, to rehearse on a CPU.")
def main(part: str, out: Path, device: str, seconds: float, small: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what this process has started
    keep_freed_memory()
    torch.set_num_threads(1)
    this = Part(part, out, device, small, seconds)
    this.found("machine", small=small, **describe(device))
    PARTS[part](this)
    this.found("end")


if __name__ == "__main__":
    main()
