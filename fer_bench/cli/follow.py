"""Commands that look at a sweep while it trains, or after it stopped: status, watch."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fer_bench.cli.console import console, echo, fail
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT

if TYPE_CHECKING:
    from fer_bench.sweep.record import Sweep


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
@click.option("--once", is_flag=True, help="Show it once and exit; for scripts. The sweep must be there.")
@click.option("--timeout", type=click.FloatRange(min=0), default=None, metavar="SECONDS",
              help="How long to wait for a sweep that is not there yet [default: until Ctrl-C].")  # fmt: skip
def watch(sweep: str | None, out: Path, once: bool, timeout: float | None) -> None:
    """Follows SWEEP (or the newest one) from another shell, until it is done or Ctrl-C. Exit code 1 if a run failed.

    A sweep that is not there yet is waited for.
    """
    from fer_bench.cli.views.watch import watch_sweep

    if watch_sweep(_awaited(out, sweep, 0.0 if once else timeout), console(), once):
        sys.exit(1)


def _awaited(out: Path, name: str | None, timeout: float | None, every: float = 1.0) -> Sweep:
    """The sweep, as soon as it is there; ends the command after ``timeout`` seconds.

    Args:
        out: Folder of the results.
        name: See ``find_sweep``.
        timeout: None to wait for ever.
        every: Seconds between two looks.

    Raises:
        SpecError: It is not there, and ``timeout`` is 0.
        StoreError: It is damaged.
    """
    from fer_bench.core.errors import SpecError
    from fer_bench.sweep.record import find_sweep

    start, said = time.monotonic(), False
    try:
        while True:
            try:
                return find_sweep(out, name)
            except SpecError as error:
                left = every if timeout is None else timeout - (time.monotonic() - start)
                if timeout == 0:
                    raise
                if left <= 0:
                    fail(f"{error}; waited for {timeout:g} s", 1)
                if not said:
                    echo(f"{error}\nwaiting until it is there; Ctrl-C stops", err=True)
                    said = True
            time.sleep(min(every, left))
    except KeyboardInterrupt:
        fail("stopped waiting", 130)
