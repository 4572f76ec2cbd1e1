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
    """One line per table: its size, the data sets that it needs, and how many published numbers it has."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines = Table("id", "rows × columns", "published", "data", "what", box=None, header_style="bold", pad_edge=False)
    for each in tables:
        seen = sum(each.number(row, column) is not None for row in each.rows for column in each.columns)
        data = ", ".join(dict.fromkeys(column.data for column in each.columns))
        size = f"{len(each.rows)} × {len(each.columns)}"
        what = Text(f"{each.content.title}\n{each.content.paper}")
        lines.add_row(Text(each.id, style="bold"), size, str(seen or "none seen"), data, what)
    hint = "one table: fer-bench reproduce ID; on data that you have: --on DATASET; your own: a .toml file"
    return Group(lines, Text(hint, style="dim"))
