"""The command that trains a sweep: run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_bench.cli.console import command_line, console, echo, fail, quoted, status
from fer_bench.cli.group import main, stoppable
from fer_bench.cli.options import OUT, Numbers, execution_options, request_options, sweep_options
from fer_bench.core.text import counted

if TYPE_CHECKING:
    from fer_bench.api import Execution, Outcome, Prepared
    from fer_bench.sweep.plan import Plan


@main.command()
@request_options
@click.option("--seeds", type=Numbers(int), default="0", show_default=True, help="Training seeds.")
@click.option("--data-seed", type=Numbers(int), default="0", show_default=True,
              help="Seeds of draws of the training data: noise, imbalance, part and hold-out.")  # fmt: skip
@click.option("--settings", "settings_file", default=None, metavar="FILE|default",
              help="A file of `fer-bench tune`; 'default': the papers' values [default: the preset's].")  # fmt: skip
@click.option("--vary", multiple=True, metavar="METHOD.FIELD=V,V,…",
              help="A row for each value of a hyper-parameter; several make a grid.")  # fmt: skip
@OUT
@sweep_options
@execution_options
@stoppable
def run(name: str | None, dry_run: bool, **options: Any) -> None:
    """Trains methods under label noise and imbalance, and writes tables and plots. Finished runs are not repeated."""
    from fer_bench.api import EXECUTION, make_execution
    from fer_bench.sweep.plan import make_plan
    from fer_bench.sweep.record import check_sweep_name
    from fer_bench.sweep.request import make_request

    execution, plugins = make_execution(**{option: options.pop(option) for option in EXECUTION}), options["plugins"]
    name = name if name is None else check_sweep_name(name)
    planned = checked_plan(partial(make_plan, make_request(**options)), execution, dry_run)
    if dry_run:
        show_plan(planned, execution, name)
        return
    outcome = train(planned, execution, name)
    _show_outcome(outcome, execution.out, plugins)
    if outcome.failed:
        sys.exit(1)
    if outcome.missing:
        fail(f"{counted(outcome.missing, 'run')} cannot be read:\n" + "\n".join(outcome.sweep.unfinished()), 1)


def checked_plan(make: Callable[..., Plan], execution: Execution, dry_run: bool) -> Plan:
    """The plan that ``make(on_progress=, on_checked=)`` returns.

    Shows what is skipped, and ends the command if nothing can run.
    """
    with status("reading the data …") as update:
        planned = make(
            on_progress=lambda what, done, total: update(f"{what}: {done:,} of {total:,}"),
            on_checked=(lambda: None) if dry_run else execution.launcher.warm_up,
        )
    for sentence in planned.dataset.assumed:
        echo(f"data     {sentence}")
    if dry_run:
        echo(f"data     {planned.splits}")
    for reason in planned.skipped:
        echo(f"skipped  {reason}")
    if not planned.runs:
        fail("no method can run", 1)
    return planned


def show_plan(planned: Plan, execution: Execution, name: str | None) -> None:
    """Shows the name of the sweep, which of its runs are done, which would be trained, and how long that takes."""
    from fer_bench import api
    from fer_bench.cli.views.plan import plan_table

    prepared = api.prepare(planned, execution, name)
    table = plan_table(planned, name or planned.name, execution.out, execution.force, prepared.absent)
    console().print(table)
    show_totals(planned, execution, prepared)


def show_totals(planned: Plan, execution: Execution, prepared: Prepared) -> None:
    """Shows how many runs of a plan would be trained, and how long that takes."""
    from fer_bench.cli.views.plan import plan_totals
    from fer_bench.launch.progress import absent_runs
    from fer_bench.sweep.estimate import estimate

    todo, devices = prepared.todo, prepared.devices
    screen = console()
    if prepared.absent or prepared.again:
        screen.print(absent_runs(len(prepared.absent), prepared.again), soft_wrap=True)
    seconds = None
    if execution.launcher.local:
        with status("measuring the speed of this machine …"):
            seconds = estimate(todo, execution.out, devices)
    screen.print(plan_totals(planned, len(todo), devices, seconds, execution.launcher.name))


def train(planned: Plan, execution: Execution, name: str | None) -> Outcome:
    """Trains what is missing of a plan, and shows its progress."""
    from fer_bench import api
    from fer_bench.cli.views.progress import Display

    with Display(console()) as display:
        return api.execute_plan(planned, execution, name, command_line(), display)


def _show_outcome(outcome: Outcome, out: Path, plugins: Sequence[str]) -> None:
    from rich.text import Text

    from fer_bench.cli.views.table import TableView
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report.outputs import outputs_of

    screen, sweep = console(), outcome.sweep
    records = sweep.records()
    if records:
        known = discover(plugin_folders(plugins))
        screen.print(TableView(outputs_of(sweep, plugins=known).table))
    if not outcome.trained:
        screen.print("nothing to train: every run was done before", style="dim")
    screen.print(Text.assemble("tables, runs.csv and plots: ", (str(sweep.folder), "bold")), soft_wrap=True)
    if outcome.failed:
        why = quoted("fer-bench", "status", sweep.name, "--out", out)
        screen.print(f"{counted(outcome.failed, 'run')} failed; why: {why}", style="red", soft_wrap=True)
        return
    latex = quoted("fer-bench", "table", sweep.name, "--out", out, "--format", "latex")
    repeated = len({(record.spec["seed"], record.spec["data_seed"]) for record in records}) > 1
    hint = latex if repeated else "the same command with --seeds 0,1,2"
    screen.print(f"next: {hint}", style="dim", soft_wrap=True)
