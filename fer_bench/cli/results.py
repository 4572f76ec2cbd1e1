"""Commands that read finished runs: table, report, export, diff."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fer_bench.cli.console import console, echo, fail, quoted, status
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT, Names, row_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_bench.report.shown import Shown
    from fer_bench.sweep.record import Sweep

SWEEPS = click.argument("sweeps", nargs=-1, metavar="[SWEEP]…")

TO = click.option("--to", type=click.Path(path_type=Path, file_okay=False), default=None,
                  help="Folder of the files [default: the sweep's; tables/A+B for several].")  # fmt: skip


@main.command()
@SWEEPS
@OUT
@TO
@click.option("--format", "style", type=click.Choice(["terminal", "markdown", "csv", "latex", "html"]),
              default="terminal", show_default=True)  # fmt: skip
@click.option("--select", "--protocol", "selections", type=Names(), default="last", show_default=True,
              help="Epoch to report: last, mean_last_5, best_val, best_test (an oracle).")  # fmt: skip
@click.option("--metrics", type=Names(), default="overall,mean,gap,memorised", show_default=True,
              help="Also macro_f1, worst, head, tail, nll, detection_auroc, detection_missed, …; or all.")  # fmt: skip
@click.option("--baseline", default="", metavar="METHOD",
              help="Test every method against this one [default: the best].")  # fmt: skip
@click.option("--test", default="sign-flip", show_default=True, help="Paired test: sign-flip or wilcoxon.")
@click.option("--unit", default="seed", show_default=True,
              help="What a pair is: a training seed, or a draw of the data (its seeds averaged).")  # fmt: skip
@click.option("--spread", default="sd", show_default=True, help="Shown with a mean: sd, or interval (95 %).")
@click.option("--interval", default="t", show_default=True, help="Kind of 95 % interval: t or bootstrap.")
@row_options
def table(
    sweeps: tuple[str, ...],
    out: Path,
    to: Path | None,
    style: str,
    shown: Shown,
    plugins: tuple[str, ...],
    **options: Any,
) -> None:
    """Prints the comparison table of SWEEPS (or of the newest one); writes its files, and plots over all conditions.

    Nothing is trained. Several sweeps have one table. A run that is in several of them counts once.
    """
    from fer_bench.cli.views.table import TableView
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report.measures import View
    from fer_bench.report.outputs import outputs_of
    from fer_bench.report.plots import OVERVIEW

    view = View(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})  # type: ignore[arg-type]
    found = _finished(out, sweeps)
    outputs = outputs_of(*found, view=view, shown=shown, plugins=discover(plugin_folders(plugins)), to=to)
    if style == "terminal":
        console().print(TableView(outputs.table))
    else:
        echo(getattr(outputs.table, style)())
    # last, so that a folder that is full or read-only still shows its table
    outputs.write()
    outputs.write_plots(OVERVIEW)


def _finished(out: Path, names: Sequence[str]) -> list[Sweep]:
    """The sweeps of these names, or the newest one; ends the command if none has a finished run."""
    from fer_bench.sweep.record import find_sweep

    found = [find_sweep(out, name) for name in names] or [find_sweep(out, None)]
    if not any(sweep.records() for sweep in found):
        _nothing_finished(found[0])
    return found


def _nothing_finished(sweep: Sweep) -> NoReturn:
    if (sweep.folder / "runs.csv").exists():
        fail(f"the runs of {sweep.name} are not on this machine, only the files in {sweep.folder}; to train them "
             f"again: {sweep.content['command']}", 1)  # fmt: skip
    fail(f"no run of {sweep.name} is finished yet; see: {quoted('fer-bench', 'status', sweep.name)}", 1)


@main.command()
@SWEEPS
@OUT
@TO
@click.option("--kinds", type=Names(), default="", metavar="KIND,…",
              help="accuracy, noise, imbalance, joint, ranks, recall, confusion, curves [default: all].")  # fmt: skip
@row_options
def plot(
    sweeps: tuple[str, ...],
    out: Path,
    to: Path | None,
    kinds: list[str],
    shown: Shown,
    plugins: tuple[str, ...],
) -> None:
    """Draws the plots of SWEEPS (or of the newest one), also if they are there, as PNG and PDF."""
    from fer_bench.core.errors import nearest, require
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report.outputs import outputs_of
    from fer_bench.report.plots import KINDS

    for kind in kinds:
        require(kind in KINDS, f"--kinds: unknown kind {kind!r}{nearest(kind, KINDS)}")
    found = _finished(out, sweeps)
    for sweep in found:
        require(not (kinds and sweep.tuning), f"--kinds: {sweep.name} is a tuning; its only plot is that of its trials")
    outputs = outputs_of(*found, shown=shown, plugins=discover(plugin_folders(plugins)), to=to)
    for path in outputs.write_plots(kinds, redraw=True):
        echo(path)


@main.command()
@SWEEPS
@OUT
@click.option("--to", type=click.Path(path_type=Path), default=None,
              help="The file to write, or for several sweeps the folder [default: report.html in the sweep's folder; "
              "OUT/site].")  # fmt: skip
@click.option("--faces", type=click.Choice(["own", "all", "none"]), default="own", show_default=True,
              help="Training faces on the page: of drawn sets and your own; all: of licensed sets too.")  # fmt: skip
@row_options
def report(
    sweeps: tuple[str, ...], out: Path, to: Path | None, faces: Any, shown: Shown, plugins: tuple[str, ...]
) -> None:
    """Writes one HTML page of a sweep (or the newest one): tables, plots, faces, settings. It opens without a network.

    The page of a tuning switches between default, tuned and oracle settings. Several SWEEPS have a folder of pages:
    an index that compares them, and a page for each. Any web server shows it.
    """
    from fer_bench.core.text import counted
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report import html
    from fer_bench.sweep.record import find_sweep

    found = [find_sweep(out, name) for name in sweeps] or [find_sweep(out, None)]
    for sweep in found:
        if not sweep.records():
            _nothing_finished(sweep)
    several = len(found) > 1
    if to and to.exists() and to.is_dir() != several:
        fail(f"--to {to}: this is {'a file' if several else 'a folder'}, and {counted(len(found), 'sweep')} "
             f"{'have a folder' if several else 'has a file'}", 2)  # fmt: skip
    if several:
        known = discover(plugin_folders(plugins))
        for path in html.write_site(found, to or out / "site", known, faces, shown):
            echo(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
        for name in html.without_page(found, known, shown):
            echo(f"{name}: no page, it has none of these methods")
        return
    path = html.write(found[0], to or found[0].folder / "report.html", plugin_folders(plugins), faces, shown)
    echo(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")


@main.command()
@click.argument("names", metavar="[SWEEP] TARGET", nargs=-1)
@click.option("--to", "form", type=click.Choice(["csv", "tensorboard"]), required=True,
              help="csv: TARGET is a file; tensorboard: a new folder for `tensorboard --logdir`.")  # fmt: skip
@OUT
def export(names: tuple[str, ...], form: str, out: Path) -> None:
    """Writes every stored epoch of SWEEP (or the newest one) to TARGET: a row of CSV each, or files of TensorBoard."""
    from fer_bench.report.export import write_csv, write_tensorboard
    from fer_bench.sweep.record import find_sweep

    if not 1 <= len(names) <= 2:
        raise click.UsageError("name one file or folder to write; the name of a sweep may come before it")
    target = Path(names[-1])
    found = find_sweep(out, names[0] if len(names) == 2 else None)
    if not found.records():
        _nothing_finished(found)
    write = write_csv if form == "csv" else write_tensorboard
    with status(f"writing {target} …"):
        path = write(found, target)
    echo(path)


@main.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@OUT
def diff(first: str, second: str, out: Path) -> None:
    """Shows every setting, epoch and result in which two runs differ. RUN: a folder, a key, or how a key begins.

    Exit code 0 if both measured the same, 1 if not.
    """
    from fer_bench.cli.views.difference import difference_report
    from fer_bench.store.diff import difference, find_run

    found = difference(find_run(out, first), find_run(out, second))
    console().print(difference_report(found))
    if not found.identical:
        sys.exit(1)
