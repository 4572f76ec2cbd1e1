"""Trains the reference sweeps and writes what the documentation shows of them.

What is done is not done again, here or in a fresh clone: a sweep goes on from its records.jsonl.gz.

    python -m benchmarks.reference                           the sweeps and how far they are
    python -m benchmarks.reference run [NAMES] [--minutes N] trains them in order, and stops in time
    python -m benchmarks.reference settings                  writes the settings of the preset quick that were searched
    python -m benchmarks.reference page                      writes docs/results.md from the committed records
    python -m benchmarks.reference validation                writes the validation table of docs/methods.md
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import click

from benchmarks.reference import page as results_page
from benchmarks.reference import quick_settings
from benchmarks.reference import validation as validation_table
from benchmarks.reference.sweeps import references
from fer_bench.core.errors import SpecError, StoreError
from fer_bench.sweep.record import find_sweep

GRACE = 120
"""Seconds that a command has to end after it was told to stop."""


@click.group(help=__doc__, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        for each in references().values():
            click.echo(f"{each.name}: {each.what}. {progress(each.name, Path('results'))}")


def progress(name: str, out: Path) -> str:
    """How many runs of a sweep are done."""
    try:
        sweep = find_sweep(out, name)
        return f"{len(sweep.records())} of {len(sweep.runs)} planned runs are done."
    except (SpecError, StoreError, FileNotFoundError):
        return "Not begun."


@main.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where FER2013 and FERPlus are.")
@click.option("--jobs", type=int)
@click.option("--minutes", type=float, help="Stops after this time. Finished epochs are kept.")
def run(names: tuple[str, ...], out: Path, data_root: Path | None, jobs: int | None, minutes: float | None) -> None:
    """Trains the reference sweeps NAMES, or all of them."""
    known = references()
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    end = time.monotonic() + 60 * minutes if minutes else None
    for each in (known[name] for name in names or known):
        if each.data_root and data_root is None:
            click.echo(f"{each.name}: left out, it needs --data-root", err=True)
            continue
        for command in each.commands(out, data_root, jobs):
            click.echo(shlex.join(command[2:]), err=True)
            if not _within(command, end):
                click.echo("the time is over; the same command goes on", err=True)
                return


def _within(command: list[str], end: float | None) -> bool:
    """Runs a command until the time ``end``. Whether it ended by itself; SystemExit if it failed."""
    process = subprocess.Popen(command)
    try:
        process.wait(None if end is None else max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    finally:  # also after Ctrl-C
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(GRACE)
    if process.returncode:
        raise SystemExit(process.returncode)
    return True


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def settings(out: Path) -> None:
    """Writes the settings of the preset quick from the search tune-quick."""
    quick_settings.write(find_sweep(out, quick_settings.SWEEP))


@main.command()
def page() -> None:
    """Writes docs/results.md from the committed records."""
    results_page.write()


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def validation(out: Path) -> None:
    """Writes the table of validation results into docs/methods.md."""
    validation_table.write(find_sweep(out, validation_table.SWEEP))


if __name__ == "__main__":
    main()
