"""The committed results without runs that were trained in this checkout, which come first where a sweep has them."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.pages import ROOT


def committed_results(folder: Path) -> Path:
    """A folder of results below ``folder`` that has the committed sweeps and tables of papers, and no runs."""
    out = folder / "results"
    out.mkdir()
    for name in ("sweeps", "reproduce"):
        (out / name).symlink_to(ROOT / "results" / name)
    return out
