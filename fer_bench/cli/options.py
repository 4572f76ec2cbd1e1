"""Options that several commands share, and their parameter types."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


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


class MethodNames(Names):
    """A comma-separated list of methods; a shell completes the last one."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The keys that the last name can become, after the names before it."""
        from fer_bench.plugins.registry import discover

        before, comma, begun = incomplete.rpartition(",")
        keys = [key for key in ("all", *discover()) if key.startswith(begun)]
        return [CompletionItem(f"{before}{comma}{key}") for key in keys]


OUT = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="results", show_default=True,
                   help="Folder of runs and sweeps.")  # fmt: skip

PLUGINS = click.option("--plugins", multiple=True, metavar="PATH",
                       help="A folder (or file) with methods of your own; can be repeated.")  # fmt: skip

DATASET = click.option("--dataset", default="synthetic", show_default=True,
                       help="A name (see `fer-bench datasets`), a folder of images, or a table (CSV, …).")  # fmt: skip

ROOT = click.option("--data-root", type=click.Path(path_type=Path), default=None,
                    help="Folder that holds the data sets [default: $FER_BENCH_DATA or ./data].")  # fmt: skip

PRECISION = click.option("--precision", default=None,
                         help="Precision of forward passes: float32 or bf16 [default: the recipe's].")  # fmt: skip

COMPILE = click.option("--compile/--no-compile", default=None,
                       help="Compile the networks; takes minutes at first [default: the recipe's].")  # fmt: skip

DEDUP = click.option("--dedup", type=click.Choice(["exact", "near"]), is_flag=False, flag_value="exact", default=None,
                     help="Leave out training images that are copies of test images; near: also near copies.",
                     )  # fmt: skip

VAL = click.option("--val", default=None, metavar="none|SHARE|N",
                   help="Hold out a share or a number of training images for validation, or none [default: the data "
                   "set's own validation split, else 0.1].")  # fmt: skip

_READING = (
    click.option("--columns", type=Names(), default=None, metavar="ROLE=COLUMN,…",
                 help="Columns of a table: path, label, split, group, reference, id; votes=none [default: by name]."),
    click.option("--group-by", default=None, metavar="COLUMN|REGEX",
                 help="Names the person in an image, who is then in one split only; none for no groups "
                 "[default: a column, well-known file names or sub-folders]."),
    click.option("--ties", type=click.Choice(["drop", "first", "distribution"]), default="drop", show_default=True,
                 help="What to do with an image with tied votes."),
    DEDUP,
)  # fmt: skip


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of how a data set is read."""
    return _decorated(command, _READING)


_EXECUTION = (
    click.option("--jobs", type=int, default=None,
                 help="Runs at the same time [default: one per core, or one per GPU]."),
    click.option("--jobs-per-device", type=int, default=None, metavar="N",
                 help="Instead of --jobs: N runs at the same time on each device."),
    click.option("--device", default="auto", show_default=True,
                 help="auto, cpu, cuda, cuda:N, or a list: cuda:0,cuda:1."),
    click.option("--launcher", default="local", show_default=True,
                 help="Where to train: local, ray (a Ray cluster) or slurm; see docs/cluster.md."),
    click.option("--launcher-option", "--launcher-options", "launcher_options", multiple=True,
                 metavar="KEY=VALUE", help="For ray: address, gpus, …; for slurm: partition, minutes, array, …"),
    click.option("--force", is_flag=True, help="Repeat runs that are done."),
    click.option("--keep-model", is_flag=True,
                 help="Store the trained networks, for `fer-bench predict`; runs that are done need --force."),
)  # fmt: skip


_REQUEST = (
    click.option("--methods", type=MethodNames(), required=True,
                 help="Keys, globs, family:NAME or all; see `fer-bench methods`."),
    click.option("--noise", type=Numbers(float), default=None, help="Rates of label noise, 0 to 1 [default: 0]."),
    click.option("--noise-type", "--noise-types", "noise_types", type=Names(), default="symmetric", show_default=True,
                 help="Kinds of label noise: symmetric, pair, class-dependent, instance, human, …"),
    click.option("--noise-mode", type=click.Choice(["exact", "bernoulli"]), default="exact", show_default=True,
                 help="An exact number of wrong labels, or an independent draw for each label."),
    click.option("--noise-file", type=click.Path(path_type=Path),
                 help="For the kinds confusion, instance-hard and file."),
    click.option("--imbalance", type=Numbers(float), default="1", show_default=True,
                 help="Imbalance factors (largest class over smallest); 1 leaves the data as they are."),
    click.option("--imbalance-type", type=click.Choice(["exp", "step"]), default="exp", show_default=True),
    click.option("--separate", is_flag=True,
                 help="Noise and imbalance as separate conditions, instead of every combination."),
    DATASET,
    ROOT,
    *_READING,
    VAL,
    click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images."),
    click.option("--preset", default="quick", show_default=True,
                 help="A recipe: quick, faces (CPU), standard, paper (GPU), or a .toml file."),
    click.option("--epochs", type=int, default=None),
    click.option("--batch-size", type=int, default=None),
    click.option("--lr", type=float, default=None, help="Learning rate."),
    click.option("--backbone", default=None,
                 help="ferres8 (small, built in), ferres8_wide, any timm model, or FILE.py:FUNCTION."),
    click.option("--image-size", type=int, default=None, help="Side of the images in pixels."),
    PRECISION,
    COMPILE,
    click.option("--pretrained", default="", help="A file of weights, a name of `fer-bench weights`, or 'timm'."),
    click.option("--unlabelled", type=click.Path(path_type=Path), default=None, metavar="FOLDER",
                 help="Images for methods that learn from unlabelled ones [default: the training images]."),
    click.option("--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE",
                 help="A hyper-parameter of a method; also its lr and weight_decay."),
    PLUGINS,
)  # fmt: skip

_SWEEP = (
    click.option("--name", default=None, help="Name of the sweep's folder [default: data set and a hash]."),
    click.option("--replace", is_flag=True, help="Replace a sweep of the same name that has other runs."),
    click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=None, metavar="MINUTES",
                 help="Stop a run that takes longer. It counts as failed; a later call resumes it."),
    click.option("--dry-run", is_flag=True,
                 help="Show the runs, what is done, what is skipped and why, and the time; train nothing."),
)  # fmt: skip


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of what is trained: methods, labels, data, recipe, and hyper-parameters."""
    return _decorated(command, _REQUEST)


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a sweep that is made from a request."""
    return _decorated(command, _SWEEP)


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of who trains, where, and how many runs at a time."""
    return _decorated(command, _EXECUTION)


_ROWS = (
    click.option("--only", type=Names(), default=None, metavar="METHOD,…",
                 help="Show these methods: keys, globs, family:NAME [default: all]."),
    click.option("--sort", default="", metavar="COLUMN|METRIC|name",
                 help="Best first by a column, such as 'symmetric 0.4', or a metric [default: the first column]."),
    click.option("--top", type=int, default=None, metavar="N", help="Show the N best methods, and the baseline."),
    PLUGINS,
)  # fmt: skip


def row_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of which methods are shown, and in which order, and folders of methods for their names.

    The command has the first three as one argument ``shown``.
    """

    @functools.wraps(command)
    def with_rows(*, only: list[str] | None, sort: str, top: int | None, **others: Any) -> Any:
        from fer_bench.report.shown import Shown

        with _rare_garbage_collection():
            return command(shown=Shown(None if only is None else tuple(only), sort, top), **others)

    return _decorated(with_rows, _ROWS)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Many runs are millions of objects that stay: visiting them again and again takes a quarter of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _decorated(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """The command with the options, which its help shows in this order."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)
