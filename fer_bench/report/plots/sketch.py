"""A figure that can be drawn, and which figures of a folder are still those that would be drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.files import write_atomically
from fer_bench.report.plots.style import SUFFIXES, figure_style, file_name, save

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DRAWN = "drawn.json"
"""File in the folder of plots: what each of them shows."""


@dataclass(frozen=True)
class Sketch:
    """A figure that was not drawn yet.

    Attributes:
        name: What it is called; its file name follows from it.
        runs: The runs that it shows, with the columns of arranged runs.
        draw: Draws it.
        about: Whatever else changes the picture: names, families, orders.
    """

    name: str
    runs: pd.DataFrame
    draw: Callable[[], Figure]
    about: object = ""

    @property
    def file(self) -> str:
        """Name of its files without their suffix."""
        return file_name(self.name)

    @property
    def shows(self) -> str:
        """A hash of what the figure shows and of the code that draws it."""
        columns = (self.runs[name].tolist() for name in ("row", "condition", "key"))  # a series is slow to walk through
        lines = sorted(map("\t".join, zip(*columns, strict=True)))
        text = json.dumps([self.name, repr(self.about), lines, _code()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def update(sketches: Iterable[Sketch], folder: Path, others: Iterable[Sketch] = (), redraw: bool = False) -> list[Path]:
    """Draws the figures that a folder does not have, or that show something else there; the paths of these.

    What an earlier call drew and what is neither drawn now nor one of the others as it would be drawn, is removed.

    Args:
        sketches: The figures to draw.
        folder: Where they are.
        others: Figures that stay as they are.
        redraw: Draws all figures.
    """
    before = _drawn(folder)
    now: dict[str, str] = {}
    paths: list[Path] = []
    for sketch in sketches:
        shows = sketch.shows
        if redraw or before.get(sketch.file) != shows or not (folder / f"{sketch.file}.png").exists():
            before.pop(sketch.file, None)
            with figure_style():
                paths += save(sketch.draw(), folder / sketch.file)
        now[sketch.file] = shows
        if before.get(sketch.file) != shows:
            before[sketch.file] = shows
            _note(folder, before)  # after each, so that a kill loses one figure at most
    kept = {sketch.file: sketch.shows for sketch in others}
    gone = [name for name, shows in before.items() if name not in now and kept.get(name) != shows]
    for name in gone:
        for suffix in SUFFIXES:
            (folder / f"{file_name(name)}{suffix}").unlink(missing_ok=True)
        del before[name]
    if gone:
        _note(folder, before)
    return paths


def _note(folder: Path, drawn: dict[str, str]) -> None:
    write_atomically(folder / DRAWN, json.dumps(drawn, indent=1).encode())


def _drawn(folder: Path) -> dict[str, str]:
    """What the figures of a folder show, by file; nothing where that is not known."""
    try:
        found = json.loads((folder / DRAWN).read_bytes())
        return {str(name): str(shows) for name, shows in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


@cache
def _code() -> str:
    """A hash of the code of this package: other code draws other figures."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
