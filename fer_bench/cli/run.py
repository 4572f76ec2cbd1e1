"""Commands that train: run, reproduce; and those that follow a sweep: status, watch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fer_bench.cli.group import _command, _console, _fail, main, stoppable
from fer_bench.cli.options import (
    COMPILE,
    DATASET,
    DEDUP,
    DEVICE,
    JOBS,
    JOBS_PER_DEVICE,
    LAUNCHER,
    LAUNCHER_OPTIONS,
    OUT,
    PLUGINS,
    PRECISION,
    ROOT,
    Names,
    Numbers,
)
from fer_bench.core.text import counted


@main.command()
@click.option("--methods", type=Names(), required=True, help="Keys, globs, or 'all'; see `fer-bench methods`.")
@click.option("--noise", type=Numbers(float), default=None, help="Rates of label noise, 0 to 1 [default: 0].")
@click.option("--noise-type", "noise_types", type=Names(), default="symmetric", show_default=True,
              help="Kinds of label noise: symmetric, pair, class-dependent, instance, human, …")  # fmt: skip
@click.option("--noise-mode", type=click.Choice(["exact", "bernoulli"]), default="exact", show_default=True,
              help="An exact number of wrong labels, or one coin for each label.")  # fmt: skip
@click.option("--noise-file", type=click.Path(path_type=Path), help="For the kinds confusion, instance-hard and file.")
@click.option("--imbalance", type=Numbers(float), default="1", show_default=True,
              help="Imbalance factors (largest class over smallest); 1 leaves the data as they are.")  # fmt: skip
@click.option("--imbalance-type", type=click.Choice(["exp", "step"]), default="exp", show_default=True)
@click.option("--seeds", type=Numbers(int), default="0", show_default=True, help="Training seeds.")
@click.option("--data-seed", type=int, default=0, show_default=True, help="Draws noise, imbalance, part and hold-out.")
@DATASET
@ROOT
@DEDUP
@click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images.")
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="A recipe: quick (CPU), standard, paper (GPU), or a .toml file.",
)
@click.option("--epochs", type=int, default=None)
@click.option("--batch-size", type=int, default=None)
@click.option("--lr", type=float, default=None, help="Learning rate.")
@click.option("--backbone", default=None, help="ferres8 (small, built in) or any timm model.")
@click.option("--image-size", type=int, default=None, help="Side of the images in pixels.")
@PRECISION
@COMPILE
@click.option("--pretrained", default="", help="A file of weights, 'efficientnet-lite0', or 'timm'.")
@click.option("--unlabelled", type=click.Path(path_type=Path), default=None, metavar="FOLDER",
              help="Images for methods that learn from unlabelled ones [default: the training images].")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE", help="A hyper-parameter of a method.")
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the sweep's folder [default: data set and a hash].")
@JOBS
@JOBS_PER_DEVICE
@DEVICE
@LAUNCHER
@LAUNCHER_OPTIONS
@click.option("--force", is_flag=True, help="Train again what is already done.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=None, metavar="MINUTES",
              help="End a run that takes longer. It has failed; a later call goes on from its last epoch.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the runs, what is done, what is skipped and why, and the time.")
@stoppable
def run(
    out: Path, name: str | None, jobs: int | None, jobs_per_device: int | None, device: str, launcher: str,
    launcher_options: tuple[str, ...], force: bool, time_limit: float | None, dry_run: bool, **options: Any,
) -> None:  # fmt: skip
    """Trains methods under label noise and imbalance, and writes tables and plots. What is done is not done again."""
    from fer_bench import api
    from fer_bench.cli.views.progress import Display
    from fer_bench.launch import choose
    from fer_bench.sweep.plan import make_plan
    from fer_bench.sweep.record import folder_name
    from fer_bench.sweep.request import make_request

    console, launch = _console(), choose(launcher, launcher_options, time_limit)
    name = name if name is None else folder_name(name)
    request = make_request(**options)
    with console.status("looking at the data …") as status:
        planned = make_plan(
            request,
            lambda what, done, total: status.update(f"{what}: {done:,} of {total:,}"),
            on_checked=(lambda: None) if dry_run else launch.warm_up,
        )
    for reason in planned.skipped:
        console.print(f"skipped  {reason}", style="yellow", markup=False, highlight=False)
    if not planned.runs:
        _fail("no method can run", 1)
    if dry_run:
        _show_plan(planned, out, jobs, jobs_per_device, device, force, launch)
        return
    with Display(console) as display:
        outcome = api.execute_plan(
            planned, out, jobs, device, name, force, _command(), launch, jobs_per_device, display
        )
    _show_outcome(outcome, out)
    if outcome.failed:
        sys.exit(1)


def _show_plan(
    planned: Any, out: Path, jobs: int | None, jobs_per_device: int | None, device: str, force: bool, launcher: Any
) -> None:
    from rich.table import Table

    from fer_bench import api
    from fer_bench.launch.devices import check_compiled, choose_places
    from fer_bench.launch.progress import duration
    from fer_bench.store.folder import RunFolder
    from fer_bench.sweep.estimate import estimate

    todo = api.missing(planned, out, force)
    table = Table("run", "key", "state", title=f"sweep {planned.name}", title_justify="left")
    for item in planned.runs:
        state = "again" if force else RunFolder.of(out, item.spec).state
        table.add_row(item.spec.name, item.spec.key, {"new": "to train"}.get(state, state))
    console = _console()
    console.print(table)
    devices = choose_places(launcher, device, jobs, len(todo), jobs_per_device)
    check_compiled(todo, devices)
    done, skipped = len(planned.runs) - len(todo), len(planned.skipped)
    counts = (
        f"{counted(len(planned.runs), 'run')}: {done} done, {len(todo)} to train; {counted(skipped, 'method')} skipped"
    )
    if not launcher.local:
        console.print(f"{counts}; trained by {launcher.name}, where the speed is not known here")
        return
    with console.status("measuring the speed of this machine …"):
        seconds = estimate(todo, out, devices)
    console.print(
        f"{counts}; about {duration(seconds)} with {len(devices)} at a time on {', '.join(sorted(set(devices)))}"
    )


def _show_outcome(outcome: Any, out: Path) -> None:
    from fer_bench.cli.views.table import TableView
    from fer_bench.report import tables

    console, sweep = _console(), outcome.sweep
    runs = sweep.finished()
    if not runs.empty:
        console.print(TableView(tables.comparison(runs, notes=sweep.unfinished(), classes=sweep.classes)))
    if not outcome.trained:
        console.print("nothing to train: every run was done before", style="dim")
    console.print(f"tables, runs.csv and plots: [bold]{sweep.folder}[/bold]", highlight=False, soft_wrap=True)
    if outcome.failed:
        console.print(
            f"{counted(outcome.failed, 'run')} failed; why: fer-bench status {sweep.name} --out {out}",
            style="red",
            soft_wrap=True,
        )
    else:
        several = runs["seed"].nunique() > 1
        hint = f"fer-bench table {sweep.name} --out {out} --format latex" if several else "the same with --seeds 0,1,2"
        console.print(f"next: {hint}", style="dim", soft_wrap=True, highlight=False)


@main.command()
@click.argument("sweep", required=False)
@OUT
def status(sweep: str | None, out: Path) -> None:
    """Shows what is done, running, interrupted or failed (with the reason) in SWEEP, or in the newest one."""
    from collections import Counter

    from fer_bench.cli.views.watch import last_lines
    from fer_bench.sweep.record import find_sweep

    console, found = _console(), find_sweep(out, sweep)
    console.print(f"sweep [bold]{found.name}[/bold]  {found.content['command']}", highlight=False, soft_wrap=True)
    states = found.states()
    counts = Counter(now for now, _ in states)
    console.print(", ".join(f"{number} {now}" for now, number in counts.most_common()) or "no runs")
    for line in found.unfinished(states):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for folder, (now, _) in zip(found.runs, states, strict=True):
        if now == "failed":
            console.rule(str(folder.path), style="red")
            console.print(folder.failure.get("traceback", ""), markup=False, highlight=False)
            if lines := last_lines(folder.path / "log.txt", 20):
                console.print("last lines of log.txt:", style="dim")
                console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


@main.command()
@click.argument("sweep", required=False)
@OUT
@click.option("--once", is_flag=True, help="Show it once and leave; for scripts.")
def watch(sweep: str | None, out: Path, once: bool) -> None:
    """Follows SWEEP (or the newest one) from another shell, until it is done or Ctrl-C. Exit code 1 if a run failed."""
    from fer_bench.cli.views.watch import watch as follow
    from fer_bench.sweep.record import find_sweep

    if follow(find_sweep(out, sweep), _console(), once):
        sys.exit(1)


@main.command()
@click.argument("table", required=False)
@click.option("--list", "listing", is_flag=True, help="List the tables that fer-bench knows.")
@click.option("--on", default=None, metavar="DATASET", help="Measure every column on this data set instead.")
@ROOT
@DEDUP
@click.option("--preset", default=None, help="A recipe in place of the table's [default with --on: quick].")
@click.option("--epochs", type=int, default=None)
@click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images.")
@click.option("--seeds", type=Numbers(int), default=None, help="Training seeds [default: the table's].")
@click.option("--backbone", default=None, help="One network for all columns.")
@click.option("--image-size", type=int, default=None, help="Side of the images in pixels.")
@PRECISION
@COMPILE
@click.option("--pretrained", multiple=True, metavar="[BACKBONE=]FILE", help="A checkpoint, 'timm', or 'none'.")
@click.option("--select", "--protocol", "select", default=None,
              help="Which epoch is reported: last, mean_last_5, best_val, … [default: the table's].")  # fmt: skip
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the folder in reproduce/ [default: table and data set].")
@JOBS
@JOBS_PER_DEVICE
@DEVICE
@LAUNCHER
@LAUNCHER_OPTIONS
@click.option("--force", is_flag=True, help="Train again what is already done.")
@click.option("--dry-run", is_flag=True, help="Show the runs, what cannot be measured and why, and the time.")
@stoppable
def reproduce(
    table: str | None, listing: bool, out: Path, name: str | None, jobs: int | None, jobs_per_device: int | None,
    device: str, launcher: str, launcher_options: tuple[str, ...], force: bool, dry_run: bool, **budget: Any,
) -> None:  # fmt: skip
    """Trains the table of a paper again and puts the published numbers beside the measured ones.

    TABLE is an id of --list, or a TOML file of your own. Cells that cannot be measured keep their published number and
    say what is missing.
    """
    from fer_bench import api
    from fer_bench.cli.views.papers import paper_list
    from fer_bench.cli.views.progress import Display
    from fer_bench.cli.views.table import TableView
    from fer_bench.launch import choose
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.reproduce import definition
    from fer_bench.reproduce import plan as grid
    from fer_bench.reproduce import table as joined
    from fer_bench.sweep.record import folder_name

    console, launch = _console(), choose(launcher, launcher_options)
    name = name if name is None else folder_name(name)
    plugins = discover(plugin_folders(budget["plugins"]))
    if listing or table is None:
        console.print(paper_list(definition.load(each, plugins) for each in definition.available()))
        return
    wanted = definition.load(table, plugins)
    with console.status("looking at the data …") as status:
        planned = grid.prepare(
            wanted, grid.Budget(**budget), lambda what, done, total: status.update(f"{what}: {done:,} of {total:,}")
        )
    folder = out / "reproduce" / (name or planned.name)
    failed = 0
    for sweep, plan in planned.sweep_names(folder.name):
        if dry_run:
            _show_plan(plan, out, jobs, jobs_per_device, device, force, launch)
            continue
        with Display(console) as display:
            outcome = api.execute_plan(
                plan, out, jobs, device, sweep, force, _command(), launch, jobs_per_device, display
            )
        failed += outcome.failed
    content, runs = joined.join(planned, out)
    console.print(TableView(content))
    if not dry_run:
        joined.write(content, runs, folder)
        console.print(f"table.md, .csv, .tex and .html: [bold]{folder}[/bold]", highlight=False, soft_wrap=True)
    if failed or not planned.plans:
        _fail(f"{counted(failed, 'run')} failed" if failed else "nothing can be measured; the notes say why", 1)
