"""The command that asks a trained method about new images: predict."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fer_bench.cli.console import console, echo, fail, warn
from fer_bench.cli.group import main
from fer_bench.cli.options import OUT, PLUGINS
from fer_bench.core.text import counted


@main.command()
@click.argument("run")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUT
@PLUGINS
@click.option("--csv", "csv", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE",
              help="Write the probabilities of all images to a CSV file.")  # fmt: skip
@click.option("--backbone", default="", metavar="FILE.py:FUNCTION", help="Where the network is one of your own.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N, or auto.")
def predict(
    run: str,
    images: tuple[Path, ...],
    out: Path,
    plugins: tuple[str, ...],
    csv: Path | None,
    backbone: str,
    device: str,
) -> None:
    """Class probabilities of IMAGES (files, folders) by a RUN that was trained with --keep-model.

    RUN: a folder, a key, or how a key begins; or a sweep with one run. Images are prepared as the test images of the
    run were. Those that cannot be read are named, and the exit code is 1 then.
    """
    from fer_bench.cli.views.predictions import predictions_report
    from fer_bench.core.files import write_atomically
    from fer_bench.launch.inference import load_model, predictions
    from fer_bench.report.rendering import csv_text

    unreadable: list[str] = []
    model = load_model(run, out=out, device=device, plugins=plugins, backbone=backbone)
    found = predictions(model, images, unreadable.append)
    for message in unreadable:
        warn(message)
    if found.empty:
        fail("no image could be read", 1)
    console().print(predictions_report(found))
    if csv is not None:
        write_atomically(csv, csv_text(found).encode())
        echo(f"wrote {csv}: {counted(len(found), 'image')}")
    if unreadable:
        sys.exit(1)
