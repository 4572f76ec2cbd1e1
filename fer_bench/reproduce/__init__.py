"""Tables of papers, trained again: a definition in TOML, the published numbers, and both in one table.

``definition`` reads what a table is, ``published`` finds the numbers that belong to it, ``grid`` plans and reads the
runs, ``joined`` puts measured and published side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fer_bench.reproduce.definition import Definition


def listed(tables: Iterable[Definition]) -> RenderableType:
    """Two lines per table: its size, how many published numbers it has and the data sets that it needs; what it is."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = [Text(f"{'id':<16}{'cells':<9}{'published':<11}data", style="bold")]
    for each in tables:
        seen = sum(each.number(row, column) is not None for row in each.rows for column in each.columns)
        data = ", ".join(dict.fromkeys(column.data for column in each.columns))
        size = f"{len(each.rows)} × {len(each.columns)}"
        lines.append(Text.assemble((f"{each.id:<16}", "bold"), f"{size:<9}{seen or 'none seen':<11}{data}"))
        lines.append(Padding(Text(f"{each.content.title}. {each.content.paper}", style="dim"), (0, 2)))
    hint = "one table: fer-bench reproduce ID; on data that you have: --on DATASET; your own: a .toml file"
    return Group(*lines, Text(hint, style="dim"))
