"""The command that trains the table of a paper: reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_bench.cli.console import command_line, console, fail, status
from fer_bench.cli.group import main, stoppable
from fer_bench.cli.options import COMPILE, DEDUP, OUT, PLUGINS, PRECISION, ROOT, VAL, Numbers, execution_options
from fer_bench.cli.run import show_plan
from fer_bench.core.text import counted

if TYPE_CHECKING:
    from fer_bench.api import Execution
    from fer_bench.reproduce.plan import Grid


@main.command()
@click.argument("table", required=False)
@click.option("--list", "listing", is_flag=True, help="List the tables that fer-bench knows.")
@click.option("--on", default=None, metavar="DATASET", help="Measure every column on this data set instead.")
@ROOT
@DEDUP
@VAL
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
              help="Epoch to report: last, mean_last_5, best_val, … [default: the table's].")  # fmt: skip
@PLUGINS
@OUT
@click.option("--name", default=None, help="Name of the folder in reproduce/ [default: table and data set].")
@execution_options
@click.option("--dry-run", is_flag=True,
              help="Show the runs, what cannot be measured and why, and the time; train nothing.")  # fmt: skip
@stoppable
def reproduce(
    table: str | None, listing: bool, out: Path, name: str | None, dry_run: bool, **options: Any
) -> None:  # fmt: skip
    """Trains the table of a paper again and puts the published numbers beside the measured ones.

    TABLE is an id of --list, or a TOML file of your own. Cells that cannot be measured keep their published number and
    say what is missing.
    """
    from fer_bench.api import EXECUTION, make_execution
    from fer_bench.cli.views.papers import paper_list
    from fer_bench.plugins.registry import discover, plugin_folders
    from fer_bench.reproduce.definition import available, load
    from fer_bench.reproduce.plan import Budget, prepare
    from fer_bench.sweep.arguments import to_dedup, to_val
    from fer_bench.sweep.record import check_sweep_name

    given = {option: options.pop(option) for option in EXECUTION if option in options}
    execution = make_execution(out=out, replace=True, **given)  # the sweeps of a table hold the last budget
    name = name if name is None else check_sweep_name(name)
    options["dedup"] = to_dedup(options["dedup"] or False, "dedup")
    options["val"] = None if options["val"] is None else to_val(options["val"], "val")
    plugins = discover(plugin_folders(options["plugins"]))
    if listing or table is None:
        console().print(paper_list(load(each, plugins) for each in available()))
        return
    wanted = load(table, plugins)
    with status("reading the data …") as update:
        planned = prepare(wanted, Budget(**options), lambda what, done, total: update(f"{what}: {done:,} of {total:,}"))
    folder = out / "reproduce" / (name or planned.name)
    failed = _train(planned, execution, folder.name, dry_run)
    _show(planned, folder, out, dry_run)
    if failed or not planned.plans:
        fail(f"{counted(failed, 'run')} failed" if failed else "nothing can be measured; the notes say why", 1)


def _train(planned: Grid, execution: Execution, name: str, dry_run: bool) -> int:
    """Trains, or only shows, the sweep of each plan; how many runs failed."""
    from fer_bench import api
    from fer_bench.cli.views.progress import Display

    failed = 0
    for sweep, plan in planned.sweep_names(name):
        if dry_run:
            show_plan(plan, execution, sweep)
            continue
        with Display(console()) as display:
            failed += api.execute_plan(plan, execution, sweep, command_line(), display).failed
    return failed


def _show(planned: Grid, folder: Path, out: Path, dry_run: bool) -> None:
    """Shows the table and, after training, writes its files."""
    from rich.text import Text

    from fer_bench.cli.views.table import TableView
    from fer_bench.report.outputs import write_table
    from fer_bench.reproduce.table import paper_table

    screen = console()
    content, runs = paper_table(planned, out, planned.absent(out, folder.name))
    screen.print(TableView(content))
    if not dry_run:
        write_table(content, runs, folder)
        screen.print(Text.assemble("table.md, .csv, .tex and .html: ", (str(folder), "bold")), soft_wrap=True)
