"""A table as text cells, and the same table as Markdown, LaTeX, HTML and CSV. No text is ever cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from fer_bench.core.text import display_width, one_line

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"


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
        main: Whether it is a result, which belongs into a paper, and not a cost or a description of the data.
    """

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    main: bool = True

    def part(self, first: int, last: int) -> Block:
        """The block with the columns from ``first`` up to, and without, ``last``."""
        rows = tuple((name, cells[first:last]) for name, cells in self.rows)
        return replace(self, columns=self.columns[first:last], rows=rows)

    def parts(self, widths: Sequence[int], width: int) -> Iterator[Block]:
        """The block with as many columns at a time as ``width`` has room for; at least one."""
        first = used = 0
        for number, wide in enumerate(widths):
            if number > first and used + wide > width:
                yield self.part(first, number)
                first, used = number, 0
            used += wide
        yield self.part(first, len(self.columns))

    def markdown(self) -> str:
        """The rows as a table in Markdown, without the title."""
        lines = [[_md(name) for name in (self.corner, *self.columns)]]
        for name, cells in self.rows:
            lines.append([_md(name), *(f"**{_md(c.text)}**" if c.bold else _md(c.text) for c in cells)])
        widths = [max(display_width(line[k]) for line in lines) for k in range(len(lines[0]))]

        def row(line: Sequence[str]) -> str:
            first, *rest = (
                text + " " * (width - display_width(text)) for text, width in zip(line, widths, strict=True)
            )
            return "| " + " | ".join([first, *rest]) + " |"

        rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
        return "\n".join([row(lines[0]), rule, *map(row, lines[1:])])


@dataclass(frozen=True)
class Table:
    """A table of several blocks.

    Attributes:
        title: Heading of the whole.
        blocks: The blocks, in order.
        caption: What a reader needs before the first number: two sentences.
        notes: Everything else that a reader may ask, one or two sentences each.
        numbers: The values behind the cells, unrounded, one line each.
        legend: What the signs in names and cells mean, one sentence each. It stands before the notes.
        name: A short name, for the label in LaTeX.
    """

    title: str
    blocks: tuple[Block, ...]
    caption: str
    notes: tuple[str, ...]
    numbers: pd.DataFrame = field(repr=False, compare=False)
    legend: tuple[str, ...] = ()
    name: str = "results"

    @property
    def below(self) -> tuple[str, ...]:
        """The lines below the blocks: legend and notes."""
        return (*self.legend, *self.notes)

    def markdown(self) -> str:
        """The table as a Markdown document."""
        parts = [f"# {_md(self.title)}", _md(self.caption)]
        for block in self.blocks:
            parts += [f"## {_md(block.title)}", block.markdown()]
        if self.below:
            parts += ["## Notes", "\n".join(f"- {_md(note)}" for note in self.below)]
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """Tidy: one line for each metric, method and condition, with n, mean, sd, 95 % interval, min and max."""
        return csv_text(self.numbers)

    def latex(self) -> str:
        """One ``table`` environment with caption, label and notes: :func:`fer_bench.report.latex.latex`."""
        from fer_bench.report.latex import latex

        return latex(self)

    def html(self) -> str:
        """One page without scripts or outside files."""
        from jinja2 import Environment

        template = resources.files(__package__).joinpath("table.html").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(template).render(table=self)


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV. Text that a spreadsheet would run as a formula has an apostrophe before it, as OWASP advises."""
    texts = frame.select_dtypes(exclude=["number", "bool"])  # few of many columns; most cells are numbers
    changed = {str(name): safe for name in texts if (safe := _no_formulas(texts[name])) is not None}
    safe = frame.assign(**changed).rename(columns=_no_formula)
    return safe.astype(object).to_csv(index=False, lineterminator="\n")  # objects take a quarter less time than numbers


def _no_formulas(column: pd.Series) -> pd.Series | None:
    """The column without formulas; None if it has none. Most columns have few different values."""
    values = {value: safe for value in set(column.tolist()) if (safe := _no_formula(value)) != value}
    return column.map(lambda value: values.get(value, value)) if values else None


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
