"""``fer-bench report``: one self-contained HTML page of a sweep, or a folder of pages of several.

``collect`` gathers the content of a page, ``render`` writes it.
"""

from __future__ import annotations

from pathlib import Path

from fer_bench.core.files import write_atomically
from fer_bench.plugins.registry import discover
from fer_bench.report.html.collect import collect
from fer_bench.report.html.gallery import FacesShown
from fer_bench.report.html.render import render
from fer_bench.report.html.site import without_page, write_site
from fer_bench.report.shown import ALL, Shown
from fer_bench.sweep.record import Sweep

__all__ = ["without_page", "write", "write_site"]


def write(
    sweep: Sweep, path: Path, plugins: list[str] | None = None, faces: FacesShown = "own", shown: Shown = ALL
) -> Path:
    """Writes the page of a sweep.

    Args:
        sweep: A sweep with at least one finished run.
        path: The file to write.
        plugins: Folders with methods, as for ``fer-bench run``.
        faces: Which pictures may go into the page.
        shown: Which methods are shown, and in which order.

    Raises:
        SpecError: A name in ``shown`` is unknown, or no trial of a tuning is complete.
        ValueError: No run is finished.
    """
    write_atomically(path, render(collect(sweep, discover(plugins or []), faces, shown)).encode())
    return path
