"""A table as text cells, and the same table as Markdown, LaTeX, HTML, CSV and for a terminal. No text is ever cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"

LATEX_WIDTH = 88
"""Characters across one LaTeX tabular, which then ends before the edge of a page at 10 pt; the columns beyond go on in
the next."""

LATEX_GAP = 2
"""Characters that LaTeX leaves between two columns."""


@dataclass(frozen=True)
class Cell:
    text: str = MISSING
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """One rectangle of the table: a metric of all methods under all conditions, or the costs, or the data."""

    title: str
    corner: str
    """Header above the row names."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    def part(self, first: int, last: int) -> Block:
        """The block with the columns from ``first`` up to, and without, ``last``."""
        rows = tuple((name, cells[first:last]) for name, cells in self.rows)
        return Block(self.title, self.corner, self.columns[first:last], rows)

    def parts(self, widths: Sequence[int], width: int) -> Iterator[Block]:
        """The block with as many columns at a time as ``width`` has room for; at least one."""
        first = used = 0
        for number, wide in enumerate(widths):
            if number > first and used + wide > width:
                yield self.part(first, number)
                first, used = number, 0
            used += wide
        yield self.part(first, len(self.columns))


@dataclass(frozen=True)
class Table:
    """``numbers`` are the values behind the cells, unrounded, one row each; the rest is text. ``legend`` is the part of
    the caption that explains signs behind names: wherever the table is parted, each part has it."""

    title: str
    blocks: tuple[Block, ...]
    caption: str
    notes: tuple[str, ...]
    numbers: pd.DataFrame = field(repr=False, compare=False)
    legend: tuple[str, ...] = ()

    def markdown(self) -> str:
        parts = [f"# {_md(self.title)}", _md(self.caption)]
        for block in self.blocks:
            parts += [f"## {_md(block.title)}", _md_table(block)]
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {_md(note)}" for note in self.notes)]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """Tidy: one line for each metric, method and condition, with n, mean, sd, 95 % interval, min and max."""
        return self.numbers.to_csv(index=False, lineterminator="\n")

    def latex(self) -> str:
        """``table`` environments and, below them, a list of the notes.

        They need ``\\usepackage{booktabs}`` and a LaTeX that reads UTF-8.
        """
        parts = ["% \\usepackage{booktabs}"]
        caption = self.caption
        for block in self.blocks:
            for part in _pages(block):
                parts.append(_latex_table(part, f"{block.title}. {caption}"))
                # once; the others are of the same runs, but a float must explain its own signs
                caption = "".join(f"{sentence}. " for sentence in self.legend).rstrip()
        if self.notes:
            items = (f"\\item {_tex(note)}" for note in self.notes)
            parts += ["{\\footnotesize", "\\begin{itemize}", *items, "\\end{itemize}", "}"]
        return "\n".join(parts) + "\n"

    def html(self) -> str:
        """One page without scripts or outside files."""
        from jinja2 import Environment

        template = resources.files(__package__).joinpath("table.html").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(template).render(table=self)

    def rich(self) -> RenderableType:
        """For ``rich.print``: blocks that are wider than the terminal continue below themselves."""
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for block in self.blocks:
            for number, part in enumerate(_fitting(block, options.max_width)):
                title = block.title + (" (continued)" if number else "")
                yield Text(title, style="bold")
                yield Padding(_rich_table(part, options.max_width), (0, 0, 1, 0))
        yield Text(self.caption, style="dim")
        for note in self.notes:
            yield Text(f"- {note}", style="dim")


def _line(text: str) -> str:
    """On one line: a name with a newline in it must not end a table row."""
    return " ".join(text.split())


# --- Markdown ------------------------------------------------------------------------------------------------------


def _md(text: str) -> str:
    escaped = re.sub(r"([\\|`*_\[\]~#])", r"\\\1", _line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _md_table(block: Block) -> str:
    lines = [[_md(name) for name in (block.corner, *block.columns)]]
    for name, cells in block.rows:
        lines.append([_md(name), *(f"**{_md(c.text)}**" if c.bold else _md(c.text) for c in cells)])
    widths = [max(cell_len(line[k]) for line in lines) for k in range(len(lines[0]))]

    def row(line: Sequence[str]) -> str:
        first, *rest = (text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([row(lines[0]), rule, *map(row, lines[1:])])


# --- LaTeX ---------------------------------------------------------------------------------------------------------

_TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
    "¶": r"$^\P$",
    **{sign: f"$^{{{letter}}}$" for sign, letter in zip("ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ", "abcdefghijklmnop", strict=True)},
    "–": "--",
    "×": r"$\times$",
    "[": "{[}",  # else an optional argument after \\
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in _line(text))


def _pages(block: Block) -> Iterator[Block]:
    """The block in parts that fit on a page; LaTeX breaks neither headers nor cells."""
    names = max(cell_len(text) for text in (block.corner, *(name for name, _ in block.rows)))
    widths = [
        LATEX_GAP + max(cell_len(text) for text in (head, *(cells[number].text for _, cells in block.rows)))
        for number, head in enumerate(block.columns)
    ]
    return block.parts(widths, LATEX_WIDTH - names)


def _latex_table(block: Block, caption: str) -> str:
    import pandas as pd

    # positions as labels: the Styler refuses names that occur twice, and cells and names are escaped here, because its
    # own escape knows neither ± nor †
    bodies = [[rf"\textbf{{{_tex(c.text)}}}" if c.bold else _tex(c.text) for c in cells] for _, cells in block.rows]
    frame = pd.DataFrame(bodies)
    names = [_tex(name) for name, _ in block.rows]
    style = frame.style.format_index(lambda place: names[place], axis=0)
    style = style.format_index(lambda place: _tex(block.columns[place]), axis=1)
    text = style.to_latex(
        hrules=True, column_format="l" + "r" * len(block.columns), caption=_tex(caption), position_float="centering"
    )
    # the Styler leaves the corner empty
    return text.replace("\\toprule\n &", f"\\toprule\n{_tex(block.corner)} &", 1)


# --- terminal ------------------------------------------------------------------------------------------------------


def _rich_table(block: Block, width: int) -> RichTable:
    """Every column with its own width, because rich shrinks names and cells together with long headers."""
    names = _names(block, width)
    wide = [_width(block, number) for number in range(len(block.columns))]
    free = width - names - sum(each + 2 for each in wide)
    for number, column in enumerate(block.columns):
        more = min(max(cell_len(_line(column)) - wide[number], 0), max(free, 0))
        wide[number] += more
        free -= more
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(_line(block.corner)), overflow="fold", width=names)
    for number, column in enumerate(block.columns):
        table.add_column(Text(_line(column), justify="right"), justify="right", overflow="fold", width=wide[number])
    for name, cells in block.rows:
        table.add_row(Text(_line(name)), *(Text(c.text, style="bold" if c.bold else "") for c in cells))
    return table


def _names(block: Block, width: int) -> int:
    """Width of the column of names: a name longer than half of the terminal is broken."""
    longest = max((cell_len(_line(name)) for name, _ in block.rows), default=0)
    return max(min(longest, width // 2), cell_len(_line(block.corner)))


def _width(block: Block, column: int) -> int:
    """Cells stay on one line; headers may break between words."""
    words = [cell_len(word) for word in block.columns[column].split()] or [0]
    return max(*words, *(cell_len(cells[column].text) for _, cells in block.rows), 0)


def _fitting(block: Block, width: int) -> Iterator[Block]:
    """The block in parts with as many columns as fit beside the row names; at least one."""
    widths = [_width(block, number) + 2 for number in range(len(block.columns))]
    return block.parts(widths, width - _names(block, width))
