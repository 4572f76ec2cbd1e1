"""Commands about data: datasets, data check, data landmarks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fer_bench.cli.console import console, echo, status
from fer_bench.cli.group import main
from fer_bench.cli.options import DATASET, ROOT, Numbers, reading_options


@main.command()
@click.argument("name", required=False)
def datasets(name: str | None) -> None:
    """Lists the data sets, or tells where to get one and how its files must be arranged."""
    from fer_bench.cli.views import cards

    console().print(cards.dataset_list() if name is None else cards.dataset_card(name))


@main.group()
def data() -> None:
    """Looks at data before anything is trained."""


@data.command()
@DATASET
@ROOT
@reading_options
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Draw 16 faces with their landmarks, each beside its mirror image.")  # fmt: skip
def check(dataset: str, data_root: Path | None, sheet: Path | None, **reading: Any) -> None:
    """Counts, decodes every image, and finds copies across splits. Exit code 1 if an image is damaged."""
    from fer_bench.cli.views.data_report import data_report
    from fer_bench.core.errors import require
    from fer_bench.core.files import write_atomically
    from fer_bench.data import landmarks
    from fer_bench.data.check import check as examine
    from fer_bench.data.names import IMAGE_SUFFIXES
    from fer_bench.data.open import read_manifest
    from fer_bench.sweep.request import make_request

    known = sheet is None or sheet.suffix.lower() in IMAGE_SUFFIXES
    require(known, f"--sheet {sheet}: its name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    with status(f"decoding {dataset} …"):
        options = make_request(methods=(), **reading).reading
        manifest = landmarks.added(read_manifest(dataset, data_root, options), dataset, data_root)
        report = examine(manifest)
    console().print(data_report(report))
    if sheet is not None:
        from fer_bench.data.contact_sheet import draw, encoded

        write_atomically(sheet, encoded(draw(manifest), sheet.suffix))
        echo(f"wrote {sheet}")
    if report.undecodable:
        sys.exit(1)


@data.command("landmarks")
@click.argument("points", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@DATASET
@ROOT
@reading_options
@click.option("--frame", type=Numbers(float), default="1", show_default=True,
              help="Width,height (or one side) in pixels of the image in which the points were found.")  # fmt: skip
def write_landmarks(points: Path, dataset: str, data_root: Path | None, frame: list[float], **reading: Any) -> None:
    """Writes landmarks.npz beside the images of a data set from POINTS, an .npz file of what a detector found.

    \b
    POINTS holds the arrays
      points   [N, 19, 2] in the order of AFLW, or [N, 68, 2] in that of iBUG: (x, y) in pixels of --frame
      ids      (optional) str [N]; without it, the rows are those of the data set, sorted by id
      found    (optional) bool [N]; without it, a face with NaN among its points was not found

    Methods that learn landmarks find the file by its place. Runs of other methods do not change.
    Look at the result: fer-bench data check --dataset … --sheet faces.png
    """
    from fer_bench.core.errors import SpecError, require
    from fer_bench.data import landmarks
    from fer_bench.data.open import read_manifest
    from fer_bench.sweep.request import make_request

    sound = len(frame) in (1, 2) and all(0 < side < float("inf") for side in frame)
    require(sound, f"--frame {frame}: one side or width,height, above 0")
    target = landmarks.landmarks_path(dataset, data_root)
    if target is None:
        raise SpecError(f"--dataset {dataset}: drawn faces have landmarks of their own")
    with status(f"reading {dataset} …"):
        options = make_request(methods=(), **reading).reading
        ids = read_manifest(dataset, data_root, options).ids
        written = landmarks.write(points, target, ids, (frame[0], frame[-1]))
    echo(f"wrote {target}: landmarks of {written.found.sum():,} of {len(ids):,} images of {dataset}")
