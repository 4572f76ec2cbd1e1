"""The command that trains a sweep: run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_bench.cli.console import command_line, console, echo, fail, quoted, status
from fer_bench.cli.group import main, stoppable
from fer_bench.cli.options import (
    COMPILE,
    DATASET,
    DEDUP,
    OUT,
    PLUGINS,
    PRECISION,
    ROOT,
    Names,
    Numbers,
    execution_options,
)
from fer_bench.core.text import counted

if TYPE_CHECKING:
    from fer_bench.api import Execution, Outcome
    from fer_bench.sweep.plan import Plan


@main.command()
@click.option(
    "--methods", type=Names(), required=True, help="Keys, globs, family:NAME or all; see `fer-bench methods`."
)
@click.option("--noise", type=Numbers(float), default=None, help="Rates of label noise, 0 to 1 [default: 0].")
@click.option("--noise-type", "--noise-types", "noise_types", type=Names(), default="symmetric", show_default=True,
              help="Kinds of label noise: symmetric, pair, class-dependent, instance, human, …")  # fmt: skip
@click.option("--noise-mode", type=click.Choice(["exact", "bernoulli"]), default="exact", show_default=True,
              help="An exact number of wrong labels, or an independent draw for each label.")  # fmt: skip
@click.option("--noise-file", type=click.Path(path_type=Path), help="For the kinds confusion, instance-hard and file.")
@click.option("--imbalance", type=Numbers(float), default="1", show_default=True,
              help="Imbalance factors (largest class over smallest); 1 leaves the data as they are.")  # fmt: skip
@click.option("--imbalance-type", type=click.Choice(["exp", "step"]), default="exp", show_default=True)
@click.option("--seeds", type=Numbers(int), default="0", show_default=True, help="Training seeds.")
@click.option("--data-seed", type=int, default=0, show_default=True,
              help="Seed of the noise, the imbalance, the training part and the hold-out.")  # fmt: skip
@DATASET
@ROOT
@DEDUP
@click.option("--train-size", type=int, default=None, help="Train on a stratified part of this many images.")
@click.option("--preset", default="quick", show_default=True,
              help="A recipe: quick (CPU), standard, paper (GPU), or a .toml file.")  # fmt: skip
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
@click.option("--set", "--settings", "settings", multiple=True, metavar="METHOD.FIELD=VALUE",
              help="A hyper-parameter of a method.")  # fmt: skip
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the sweep's folder [default: data set and a hash].")
@click.option("--replace", is_flag=True, help="Take the place of a sweep of that name with other runs.")
@execution_options
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=None, metavar="MINUTES",
              help="Stop a run that takes longer. It counts as failed; a later call resumes it.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Show the runs, what is done, what is skipped and why, and the time; train nothing.")  # fmt: skip
@stoppable
def run(name: str | None, dry_run: bool, **options: Any) -> None:
    """Trains methods under label noise and imbalance, and writes tables and plots. Finished runs are not repeated."""
    from fer_bench.api import EXECUTION, make_execution
    from fer_bench.sweep.record import check_sweep_name

    execution = make_execution(**{option: options.pop(option) for option in EXECUTION})
    name = name if name is None else check_sweep_name(name)
    planned = _plan(options, execution, dry_run)
    if dry_run:
        show_plan(planned, execution, name)
    else:
        _train(planned, execution, name)


def _plan(options: dict[str, Any], execution: Execution, dry_run: bool) -> Plan:
    """The checked plan; shows what is skipped, and ends the command if nothing can run."""
    from fer_bench.sweep.plan import make_plan
    from fer_bench.sweep.request import make_request

    request = make_request(**options)
    with status("reading the data …") as update:
        planned = make_plan(
            request,
            lambda what, done, total: update(f"{what}: {done:,} of {total:,}"),
            on_checked=(lambda: None) if dry_run else execution.launcher.warm_up,
        )
    for reason in planned.skipped:
        echo(f"skipped  {reason}")
    if not planned.runs:
        fail("no method can run", 1)
    return planned


def show_plan(planned: Plan, execution: Execution, name: str | None) -> None:
    """Shows the name of the sweep, which of its runs are done, which would be trained, and how long that takes."""
    from fer_bench import api
    from fer_bench.cli.views.plan import plan_table, plan_totals
    from fer_bench.sweep.estimate import estimate

    prepared = api.prepare(planned, execution, name)
    todo, devices = prepared.todo, prepared.devices
    screen = console()
    screen.print(plan_table(planned, prepared.sweep.name, execution.out, execution.force))
    seconds = None
    if execution.launcher.local:
        with status("measuring the speed of this machine …"):
            seconds = estimate(todo, execution.out, devices)
    screen.print(plan_totals(planned, len(todo), devices, seconds, execution.launcher.name))


def _train(planned: Plan, execution: Execution, name: str | None) -> None:
    from fer_bench import api
    from fer_bench.cli.views.progress import Display

    with Display(console()) as display:
        outcome = api.execute_plan(planned, execution, name, command_line(), display)
    _show_outcome(outcome, execution.out)
    if outcome.failed:
        sys.exit(1)


def _show_outcome(outcome: Outcome, out: Path) -> None:
    from rich.text import Text

    from fer_bench.cli.views.table import TableView
    from fer_bench.report.arrange import arrange
    from fer_bench.report.tables import comparison

    screen, sweep = console(), outcome.sweep
    records = sweep.records()
    if records:
        screen.print(TableView(comparison(arrange(records, sweep.classes), unfinished=sweep.unfinished())))
    if not outcome.trained:
        screen.print("nothing to train: every run was done before", style="dim")
    screen.print(Text.assemble("tables, runs.csv and plots: ", (str(sweep.folder), "bold")), soft_wrap=True)
    if outcome.failed:
        why = quoted("fer-bench", "status", sweep.name, "--out", out)
        screen.print(f"{counted(outcome.failed, 'run')} failed; why: {why}", style="red", soft_wrap=True)
        return
    latex = quoted("fer-bench", "table", sweep.name, "--out", out, "--format", "latex")
    hint = latex if len({record.spec["seed"] for record in records}) > 1 else "the same command with --seeds 0,1,2"
    screen.print(f"next: {hint}", style="dim", soft_wrap=True)
