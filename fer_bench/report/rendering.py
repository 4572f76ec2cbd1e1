"""A table as text cells, and the same table as Markdown, LaTeX, HTML and CSV. No text is ever cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from fer_bench.core.text import display_width, one_line

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"

LATEX_WIDTH = 88
"""Characters across one LaTeX tabular, so that it ends before the edge of a page at 10 pt. Further columns go into the
next one."""

LATEX_GAP = 2
"""Characters that LaTeX leaves between two columns."""


LATEX_FLOATS = 10
"""Tables after which a new page begins. LaTeX stops with an error if too many of them wait for a page."""


@dataclass(frozen=True)
class Cell:
    """The text of one cell."""

    text: str = MISSING
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """One rectangle of the table: a metric of all methods under all conditions, or the costs, or the data.

    Attributes:
        title: Heading.
        corner: Header above the row names.
        columns: Headers of the columns.
        rows: Name and cells of each row.
    """

    title: str
    corner: str
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
    """A table of several blocks.

    Attributes:
        title: Heading of the whole.
        blocks: The blocks, in order.
        caption: What a reader needs before the first number: two sentences.
        notes: Everything else that a reader may ask, one or two sentences each.
        numbers: The values behind the cells, unrounded, one line each.
        legend: What the signs in names and cells mean, one sentence each. It stands before the notes; in LaTeX it is
            part of every caption, because floats move.
    """

    title: str
    blocks: tuple[Block, ...]
    caption: str
    notes: tuple[str, ...]
    numbers: pd.DataFrame = field(repr=False, compare=False)
    legend: tuple[str, ...] = ()

    @property
    def below(self) -> tuple[str, ...]:
        """The lines below the blocks: legend and notes."""
        return (*self.legend, *self.notes)

    def markdown(self) -> str:
        """The table as a Markdown document."""
        parts = [f"# {_md(self.title)}", _md(self.caption)]
        for block in self.blocks:
            parts += [f"## {_md(block.title)}", _md_table(block)]
        if self.below:
            parts += ["## Notes", "\n".join(f"- {_md(note)}" for note in self.below)]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """Tidy: one line for each metric, method and condition, with n, mean, sd, 95 % interval, min and max."""
        return csv_text(self.numbers)

    def latex(self) -> str:
        """``table`` environments and, below them, a list of the notes.

        They need the package booktabs and a LaTeX that reads UTF-8.
        """
        parts = ["% \\usepackage{booktabs}"]
        caption = f"{self.caption} "
        floats = [(block.title, part) for block in self.blocks for part in _pages(block)]
        for number, (title, part) in enumerate(floats):
            if number and number % LATEX_FLOATS == 0:
                parts.append("\\clearpage")
            parts.append(_latex_table(part, f"{title}. {caption}{' '.join(self.legend)}".rstrip()))
            caption = ""  # the others are of the same runs
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


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV. Text that a spreadsheet would run as a formula has an apostrophe before it, as OWASP advises."""
    safe = frame.map(_no_formula)
    return safe.rename(columns=_no_formula).to_csv(index=False, lineterminator="\n")


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


# --- numbers as text ------------------------------------------------------------------------------------------------


def value_range(values: pd.Series, form: Callable[[float], str]) -> str:
    """One number, or the lowest and the highest; ``MISSING`` for no number."""
    if values.empty or values.isna().all():
        return MISSING
    low, high = form(float(values.min())), form(float(values.max()))
    return low if low == high else f"{low} to {high}"


def short_count(value: float, unit: str = "") -> str:
    """A count with a prefix: 812, 12.3 k, 4.56 M."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            number = f"{value / size:.3g}" if value < 100 * size else f"{value / size:.0f}"
            return f"{number} {prefix}{unit}"
    return (f"{value:.3g}" if value < 100 else f"{value:.0f}") + (f" {unit}" if unit else "")


# --- Markdown ------------------------------------------------------------------------------------------------------


def _md(text: str) -> str:
    escaped = re.sub(r"([\\|`*_\[\]~#])", r"\\\1", one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _md_table(block: Block) -> str:
    lines = [[_md(name) for name in (block.corner, *block.columns)]]
    for name, cells in block.rows:
        lines.append([_md(name), *(f"**{_md(c.text)}**" if c.bold else _md(c.text) for c in cells)])
    widths = [max(display_width(line[k]) for line in lines) for k in range(len(lines[0]))]

    def row(line: Sequence[str]) -> str:
        first, *rest = (text + " " * (width - display_width(text)) for text, width in zip(line, widths, strict=True))
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
    "◊": r"$^\diamond$",
    **{sign: f"$^{{{letter}}}$" for sign, letter in zip("ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ", "abcdefghijklmnop", strict=True)},
    "–": "--",
    "×": r"$\times$",
    "[": "{[}",  # else an optional argument after \\
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in one_line(text))


def _pages(block: Block) -> Iterator[Block]:
    """The block in parts that fit on a page; LaTeX breaks neither headers nor cells."""
    names = max(display_width(text) for text in (block.corner, *(name for name, _ in block.rows)))
    widths = [
        LATEX_GAP + max(display_width(text) for text in (head, *(cells[number].text for _, cells in block.rows)))
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
