"""Options that several commands share, and their parameter types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Numbers(click.ParamType):
    """A comma-separated list of numbers of one type."""

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, "N,N,…" if kind is int else "X,X,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        """The numbers; a usage error names the part that is none."""
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
        """The names, without empty ones."""
        return [part.strip() for part in value.split(",") if part.strip()]


OUT = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="results", show_default=True,
                   help="Folder of runs and sweeps.")  # fmt: skip

PLUGINS = click.option("--plugins", multiple=True, metavar="PATH",
                       help="A folder (or file) with methods of your own; can be repeated.")  # fmt: skip

DATASET = click.option("--dataset", default="synthetic", show_default=True,
                       help="A name (see `fer-bench datasets`), a folder of images, or a CSV file.")  # fmt: skip

ROOT = click.option("--data-root", type=click.Path(path_type=Path), default=None,
                    help="Folder that holds the data sets [default: $FER_BENCH_DATA or ./data].")  # fmt: skip

PRECISION = click.option("--precision", default=None,
                         help="Of forward passes: float32 or bf16 [default: the recipe's].")  # fmt: skip

COMPILE = click.option("--compile/--no-compile", default=None,
                       help="Compile the networks; takes minutes at first [default: the recipe's].")  # fmt: skip

DEDUP = click.option("--dedup", is_flag=True, help="Leave out training images that are copies of test images.")

_EXECUTION = (
    click.option("--jobs", type=int, default=None,
                 help="Runs at the same time [default: one per core, or one per GPU]."),
    click.option("--jobs-per-device", type=int, default=None, metavar="N",
                 help="Instead of --jobs: N runs at the same time on each device."),
    click.option("--device", default="auto", show_default=True,
                 help="auto, cpu, cuda, cuda:N, or a list: cuda:0,cuda:1."),
    click.option("--launcher", default="local", show_default=True,
                 help="Who trains: local, ray (a Ray cluster) or slurm; see docs/cluster.md."),
    click.option("--launcher-option", "--launcher-options", "launcher_options", multiple=True,
                 metavar="KEY=VALUE", help="Of ray: address, gpus, …; of slurm: partition, minutes, array, …"),
    click.option("--force", is_flag=True, help="Repeat runs that are done."),
)  # fmt: skip


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of who trains, where, and how many runs at a time."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(_EXECUTION), command)
