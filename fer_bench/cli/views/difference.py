"""The difference of two runs as terminal output."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def _section(title: str, fields: tuple[tuple[str, str, str], ...]) -> Iterator[RenderableType]:
    if not fields:
        return
    yield Text(f"\n{title}", style="bold")
    table = Table("field", "A", "B", box=None, header_style="dim", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for name, one, two in fields:
        table.add_row(Text(name), Text(one), Text(two))
    yield Padding(table, (0, 0, 0, 2))
