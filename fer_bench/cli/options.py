"""Options that several commands share, and their parameter types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class Numbers(click.ParamType):
    """A comma-separated list of numbers of one type."""

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, "N,N,…" if kind is int else "X,X,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        numbers = []
        for part in value.split(","):
            try:
                numbers.append(self.kind(part.strip()))
            except ValueError:
                self.fail(f"{part.strip()!r} is not {'a whole number' if self.kind is int else 'a number'}", param, ctx)
        return numbers


class Names(click.ParamType):
    """A comma-separated list of names."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return [part.strip() for part in value.split(",") if part.strip()]


OUT = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="results", show_default=True,
                   help="Folder of runs and sweeps.")  # fmt: skip

PLUGINS = click.option("--plugins", multiple=True, metavar="PATH",
                       help="A folder (or file) with methods of your own; may be given more than once.")  # fmt: skip

DATASET = click.option("--dataset", default="synthetic", show_default=True,
                       help="A name (see `fer-bench datasets`), a folder of images, or a CSV file.")  # fmt: skip

ROOT = click.option("--data-root", type=click.Path(path_type=Path), default=None,
                    help="Folder that holds the data sets [default: $FER_BENCH_DATA or ./data].")  # fmt: skip

PRECISION = click.option("--precision", default=None,
                         help="Of the networks' forward passes: float32 or bf16 [default: the recipe's].")  # fmt: skip

COMPILE = click.option("--compile/--no-compile", default=None,
                       help="Compile the networks, which takes minutes at first [default: the recipe's].")  # fmt: skip

JOBS = click.option("--jobs", type=int, default=None,
                    help="Runs at the same time [default: one a core, or one a GPU].")  # fmt: skip

JOBS_PER_DEVICE = click.option("--jobs-per-device", type=int, default=None, metavar="N",
                               help="In place of --jobs: N runs at the same time on each device.")  # fmt: skip

DEVICE = click.option("--device", default="auto", show_default=True,
                      help="auto, cpu, cuda, cuda:N, or a list: cuda:0,cuda:1.")  # fmt: skip

LAUNCHER = click.option("--launcher", default="local", show_default=True,
                        help="Who trains: local, ray (a Ray cluster) or slurm; see docs/cluster.md.")  # fmt: skip

LAUNCHER_OPTIONS = click.option("--launcher-option", "launcher_options", multiple=True, metavar="KEY=VALUE",
                                help="Of ray: address, gpus, …; of slurm: partition, minutes, array, …")  # fmt: skip

DEDUP = click.option("--dedup", is_flag=True, help="Leave out training images that are copies of test images.")
