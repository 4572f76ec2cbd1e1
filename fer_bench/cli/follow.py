"""Commands that look at a sweep while it trains, or after it stopped: status, watch."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fer_bench.cli.console import console
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT


@main.command()
@click.argument("sweep", required=False)
@OUT
def status(sweep: str | None, out: Path) -> None:
    """Shows what is done, running, interrupted or failed (with the reason) in SWEEP, or in the newest one."""
    from fer_bench.cli.views.sweep_status import sweep_status
    from fer_bench.sweep.record import find_sweep

    console().print(sweep_status(find_sweep(out, sweep)), soft_wrap=True)


@main.command()
@click.argument("sweep", required=False)
@OUT
@click.option("--once", is_flag=True, help="Show it once and exit; for scripts.")
def watch(sweep: str | None, out: Path, once: bool) -> None:
    """Follows SWEEP (or the newest one) from another shell, until it is done or Ctrl-C. Exit code 1 if a run failed."""
    from fer_bench.cli.views.watch import watch_sweep
    from fer_bench.sweep.record import find_sweep

    if watch_sweep(find_sweep(out, sweep), console(), once):
        sys.exit(1)
