"""The command that lists training images whose labels methods trust least: suspects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fer_bench.cli.console import console, echo
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT, ROOT, reading_options


@main.command()
@click.argument("names", metavar="[SWEEP|RUN]...", nargs=-1)
@OUT
@click.option("--score", default="", metavar="NAME",
              help="mean_probability, mean_margin, own, loss, margin [default: mean_probability, own, loss: "
              "the first that a run has].")  # fmt: skip
@click.option("--top", type=int, default=None, metavar="N", help="Number of images [default: 100].")
@click.option("--budget", type=float, default=None, metavar="RATE",
              help="Instead of --top: a share of the training images, such as the expected noise rate.")  # fmt: skip
@click.option("--condition", default="", metavar="TEXT",
              help="If the runs have different training labels: which of them, as the message names them.")  # fmt: skip
@click.option("--csv", "csv", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE",
              help="Write all of them to a CSV file.")  # fmt: skip
@click.option("--dataset", default="", metavar="PATH", help="Where the images are, for their paths in the file.")
@ROOT
@reading_options
def suspects(
    names: tuple[str, ...], out: Path, csv: Path | None, dataset: str, data_root: Path | None, **options: Any
) -> None:
    """Lists the training images whose labels are trusted least in runs or a sweep (without a name: the newest one).

    RUN: a folder, a key, or how a key begins. Nothing is trained.
    """
    from fer_bench.cli.views.suspects import suspects_report
    from fer_bench.core.files import write_atomically
    from fer_bench.report.rendering import csv_text
    from fer_bench.report.suspects import Place, find_suspects
    from fer_bench.sweep.find import class_names, find_records
    from fer_bench.sweep.request import make_request

    ranking = {name: options.pop(name) for name in ("score", "top", "budget", "condition")}
    place = Place(dataset, data_root, make_request(methods=(), **options).reading)
    records = find_records(out, names)
    found = find_suspects(records, class_names(records[0]), place=place, **ranking)
    console().print(suspects_report(found))
    if csv is not None:
        write_atomically(csv, csv_text(found.lines).encode())
        echo(f"wrote {csv}: {len(found.lines):,} images")
