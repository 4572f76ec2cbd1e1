"""The command that searches settings: tune."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from fer_bench.cli.console import console, quoted
from fer_bench.cli.group import main, stoppable
from fer_bench.cli.options import OUT, execution_options, request_options, sweep_options
from fer_bench.cli.run import checked_plan, show_totals, train
from fer_bench.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fer_bench.api import Outcome
    from fer_bench.sweep.plan import Plan


@main.command()
@request_options
@click.option("--budget", type=float, default=15, show_default=True,
              help="Images per method, condition and study, in runs of cross-entropy.")  # fmt: skip
@click.option("--studies", type=int, default=3, show_default=True,
              help="Repetitions, each with another noise draw, hold-out and seed.")  # fmt: skip
@OUT
@sweep_options
@execution_options
@stoppable
def tune(name: str | None, dry_run: bool, budget: float, studies: int, **options: Any) -> None:
    """Searches the settings of every method with the same budget, by accuracy on noisy validation labels.

    Writes settings.toml for `fer-bench run --settings`, and a table: default, tuned, and best on test.
    """
    from fer_bench.api import EXECUTION, make_execution, prepare
    from fer_bench.sweep.record import check_sweep_name
    from fer_bench.sweep.request import make_request
    from fer_bench.tune.plan import Search, make_tuning

    search = Search(budget, studies)
    execution = make_execution(**{option: options.pop(option) for option in EXECUTION})
    name = name if name is None else check_sweep_name(name)
    planned = checked_plan(partial(make_tuning, make_request(**options), search), execution, dry_run)
    if dry_run:
        prepared = prepare(planned, execution, name)
        console().print(_trial_counts(planned))
        show_totals(planned, execution, prepared)
        return
    outcome = train(planned, execution, name)
    _show_outcome(outcome, options["plugins"])
    if outcome.failed:
        sys.exit(1)


def _trial_counts(planned: Plan) -> Table:
    """How many trials and runs each method has, and which settings are searched."""
    from rich.table import Table
    from rich.text import Text

    from fer_bench.tune.plan import trial_of

    table = Table("method", "trials", "runs", "searched", title=f"sweep {planned.name}", title_justify="left")
    runs = Counter(run.spec.method for run in planned.runs)
    for method, count in runs.items():
        variants = {trial_of(run): run.variant for run in planned.runs if run.spec.method == method}
        names = dict.fromkeys(name for each in variants.values() for name in (*each.recipe, *each.settings))
        table.add_row(Text(method), str(len(variants)), str(count), Text(", ".join(names) or "nothing"))
    return table


def _show_outcome(outcome: Outcome, plugins: Sequence[str]) -> None:
    from rich.text import Text

    from fer_bench.cli.views.table import TableView
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.report.outputs import outputs_of
    from fer_bench.sweep.settings import SETTINGS

    screen, sweep = console(), outcome.sweep
    if sweep.records():
        screen.print(TableView(outputs_of(sweep, plugins=discover(plugin_folders(plugins))).table))
    screen.print(Text.assemble("tables, runs.csv and plots: ", (str(sweep.folder), "bold")), soft_wrap=True)
    if outcome.failed:
        why = quoted("fer-bench", "status", sweep.name, "--out", sweep.out)
        screen.print(f"{counted(outcome.failed, 'run')} failed; why: {why}", style="red", soft_wrap=True)
    settings = sweep.folder / SETTINGS
    if settings.exists():
        use = quoted("fer-bench", "run", "--settings", settings)
        screen.print(f"next: {use} --methods … --seeds 0,1,2", style="dim", soft_wrap=True)
