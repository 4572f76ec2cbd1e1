"""A comparison table as terminal output. Blocks that are wider than the terminal continue below themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from fer_bench.core.text import one_line
from fer_bench.report.rendering import Block, Table


@dataclass(frozen=True)
class TableView:
    """``console.print(TableView(table))`` shows every cell of ``table`` whole."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield Padding(Text(self.table.caption), (0, 0, 1, 0))
        for block in self.table.blocks:
            for number, part in enumerate(_fitting(block, options.max_width)):
                title = block.title + (" (continued)" if number else "")
                yield Text(title, style="bold")
                yield Padding(_rich_table(part, options.max_width), (0, 0, 1, 0))
        for note in self.table.below:
            yield Text(f"- {note}", style="dim")


def _rich_table(block: Block, width: int) -> RichTable:
    """Every column with its own width, because rich shrinks names and cells together with long headers."""
    names = _names(block, width)
    wide = [_width(block, number) for number in range(len(block.columns))]
    free = width - names - sum(each + 2 for each in wide)
    for number, column in enumerate(block.columns):
        more = min(max(cell_len(one_line(column)) - wide[number], 0), max(free, 0))
        wide[number] += more
        free -= more
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(one_line(block.corner)), overflow="fold", width=names)
    for number, column in enumerate(block.columns):
        table.add_column(Text(one_line(column), justify="right"), justify="right", overflow="fold", width=wide[number])
    for name, cells in block.rows:
        table.add_row(Text(one_line(name)), *(Text(c.text, style="bold" if c.bold else "") for c in cells))
    return table


def _names(block: Block, width: int) -> int:
    """Width of the column of names: a name longer than half of the terminal is broken."""
    longest = max((cell_len(one_line(name)) for name, _ in block.rows), default=0)
    return max(min(longest, width // 2), cell_len(one_line(block.corner)))


def _width(block: Block, column: int) -> int:
    """Cells stay on one line; headers may break between words."""
    words = [cell_len(word) for word in block.columns[column].split()] or [0]
    return max(*words, *(cell_len(cells[column].text) for _, cells in block.rows), 0)


def _fitting(block: Block, width: int) -> Iterator[Block]:
    """The block in parts with as many columns as fit beside the row names; at least one."""
    widths = [_width(block, number) + 2 for number in range(len(block.columns))]
    return block.parts(widths, width - _names(block, width))
