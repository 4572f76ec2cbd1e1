"""The list of ``fer-bench reproduce --list``."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from fer_bench.reproduce.definition import Definition


def paper_list(tables: Iterable[Definition]) -> RenderableType:
    """Two lines per table: its size, how many published numbers it has and the data sets that it needs; its title."""
    lines: list[RenderableType] = [Text(f"{'id':<16}{'cells':<9}{'published':<11}data", style="bold")]
    for each in tables:
        seen = sum(each.number(row, column) is not None for row in each.rows for column in each.columns)
        data = ", ".join(dict.fromkeys(column.data for column in each.columns))
        size = f"{len(each.rows)} × {len(each.columns)}"
        lines.append(Text.assemble((f"{each.id:<16}", "bold"), f"{size:<9}{seen or 'none seen':<11}{data}"))
        lines.append(Padding(Text(f"{each.content.title}. {each.content.paper}", style="dim"), (0, 2)))
    hint = "one table: fer-bench reproduce ID; on data that you have: --on DATASET; your own table: a .toml file"
    return Group(*lines, Text(hint, style="dim"))
