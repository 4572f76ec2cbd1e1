"""What ``fer-bench clean`` would remove, as terminal output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fer_bench.sweep.clean import Waste


def leftover_list(found: Sequence[Waste]) -> RenderableType:
    """What would be removed, line by line, and how large it is."""
    if not found:
        return Text("nothing to remove")
    table = Table("what", "why", "MB", box=None, header_style="dim", pad_edge=False)
    table.columns[2].justify = "right"
    for column in table.columns[:2]:
        column.overflow = "fold"
    for waste in found:
        table.add_row(Text(str(waste.path)), Text(waste.why), f"{waste.size / 1e6:.1f}")
    return Group(table, Text(f"{len(found)} to remove, {sum(w.size for w in found) / 1e6:.1f} MB", style="bold"))
