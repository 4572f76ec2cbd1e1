"""Class probabilities of images as terminal output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fer_bench.core.text import one_line, visible

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
"""Images that the terminal shows."""


def predictions_report(found: pd.DataFrame) -> RenderableType:
    """The most probable class of the first images, and the next one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("image", overflow="fold")
    for name in ("predicted", "next"):
        table.add_column(name, overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    for line in found.head(SHOWN).to_dict("records"):
        probability = {str(name).removeprefix("p_"): p for name, p in line.items() if str(name).startswith("p_")}
        first, second = sorted(probability, key=lambda name: -probability[name])[:2]
        cells = [line["image"], first, f"{probability[first]:.3f}", second, f"{probability[second]:.3f}"]
        table.add_row(*(Text(one_line(visible(str(cell)))) for cell in cells))
    more = len(found) - SHOWN
    return Group(
        table, *([Text(f"… and {more:,} more (--csv FILE holds all of them)", style="dim")] if more > 0 else [])
    )
