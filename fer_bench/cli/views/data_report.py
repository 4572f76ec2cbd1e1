"""The report of ``fer-bench data check`` as terminal output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fer_bench.core.text import visible

_SHOWN = 10  # entries of a long list that the terminal shows


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text: a file called "[a].jpg" must not be read as markup."""
    table = Table(title=Text(title))
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if place and len(columns) > 2 else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"
