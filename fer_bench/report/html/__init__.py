"""``fer-bench report``: one self-contained HTML page of a sweep. ``collect`` reads, ``render`` writes."""

from __future__ import annotations

from pathlib import Path

from fer_bench.core.files import write_atomically
from fer_bench.plugins.registry import discover
from fer_bench.report.html.collect import collect
from fer_bench.report.html.gallery import FacesShown
from fer_bench.report.html.render import render
from fer_bench.sweep.record import Sweep


def write(sweep: Sweep, path: Path, plugins: list[str] | None = None, faces: FacesShown = "own") -> Path:
    """Writes the page of ``sweep`` to ``path``. ``plugins`` are folders with methods, as for ``fer-bench run``;
    ``faces`` says which pictures may be in it. ValueError where no run is finished."""
    write_atomically(path, render(collect(sweep, discover(plugins or []), faces)).encode())
    return path
