"""The command that looks at this machine: doctor."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fer_bench.cli.console import console, echo, status
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT, ROOT


@main.command()
@OUT
@ROOT
@click.option("--device", default="auto", show_default=True, help="As for run; the first device is measured.")
@click.option("--preset", default=None, help="The recipe to measure [default: quick on a CPU, standard on a GPU].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(out: Path, data_root: Path | None, device: str, preset: str | None, as_json: bool) -> None:
    """Tells what this machine is, what fer-bench finds on it, and what to use.

    Measures for about two seconds and trains nothing. Exit code 1 if a folder that a sweep needs cannot be written to.
    """
    import json

    from fer_bench.cli.views.doctor import examination
    from fer_bench.launch.doctor import examine

    with status("looking at this machine …"):
        found = examine(out, data_root, device, preset)
    if as_json:
        echo(json.dumps(found.plain(), indent=1))
    else:
        console().print(examination(found))
    if found.problems:
        sys.exit(1)
