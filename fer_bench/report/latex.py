"""A table as LaTeX: one float with caption, label and notes, which fits on a page where that is possible."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from fer_bench.core.text import display_width, one_line
from fer_bench.report.rendering import Block, Cell, Table

WIDTH = 120
"""Characters across one ``tabular``; further columns go below. In script size it is then at most a quarter wider than
a text of 12 cm, to which it is scaled down."""

GAP = 2
"""Characters that LaTeX leaves between two columns."""

SHORTEST_HEAD = 10
"""Characters that a line of a header may always have."""

SHORTEST_TITLE = 24
"""The same for a heading."""

NOTE_WIDTH = 95
"""Characters of a line of notes, about."""

PAGE = 76
"""Lines of a float in script size, about. What is longer continues in another float."""

TALLEST = 46
"""Lines of a ``tabular`` to which another block is added, so that the notes have room below the last one."""

SMALLEST_FROM = 46
"""Lines from which script size replaces footnote size."""


@dataclass
class Panel:
    """One ``tabular``.

    Attributes:
        beside: Blocks of the same rows, beside each other.
        below: Blocks of the columns of the only block in ``beside``, below it, without headers of their own.
    """

    beside: list[Block]
    below: list[Block] = field(default_factory=list)


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
    "↓": r"$\downarrow$",
    **{sign: f"$^{{{letter}}}$" for sign, letter in zip("ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ", "abcdefghijklmnop", strict=True)},
    "–": "--",
    "×": r"$\times$",
    "[": "{[}",  # else an optional argument after \\, and a star belongs to it
    "*": "{*}",
}


def latex(table: Table) -> str:
    """One ``table`` environment; a second one where the results do not fit on a page.

    It needs the packages booktabs and graphicx, and a LaTeX that reads UTF-8. Blocks that are no results (costs,
    training data) are named in a comment.
    """
    results = [block for block in table.blocks if block.main]
    others = [block.title for block in table.blocks if not block.main]
    lines = ["% \\usepackage{booktabs,graphicx}"]
    if others:
        lines.append("% in table.md and table.html only: " + "; ".join(map(one_line, others)))
    notes = one_line(" ".join((*table.legend, *table.notes)))
    floats = list(_floats(_panels(results), _note_lines(notes)))
    label = "tab:" + re.sub(r"[^a-z0-9]+", "-", table.name.lower()).strip("-")
    for number, panels in enumerate(floats):
        caption = f"\\caption{{{_tex(table.caption)}}}\n\\label{{{label}}}"
        if number:
            caption = f"\\caption{{Continuation of Table~\\ref{{{label}}}.}}"
        below = notes if number == len(floats) - 1 else ""
        height = sum(map(_height, panels)) + _note_lines(below)
        size = "\\scriptsize" if height > SMALLEST_FROM else "\\footnotesize"
        lines += ["\\begin{table}[tbp]", "\\centering", caption, size]
        lines.append("\n\\par\\medskip\n".join(map(_tabular, panels)))
        if below:
            lines += ["\\par\\smallskip", "\\begin{minipage}{\\linewidth}", "\\scriptsize\\raggedright",
                      _tex(below), "\\end{minipage}"]  # fmt: skip
        lines.append("\\end{table}")
    return "\n".join(lines) + "\n"


def _panels(blocks: Sequence[Block]) -> list[Panel]:
    """The blocks: those of the same rows beside each other as far as the width allows, else below each other."""
    found: list[Panel] = []
    for panel in _beside(blocks):
        first, last = panel.beside[0], found[-1].beside if found else []
        same = len(panel.beside) == len(last) == 1 and (first.corner, first.columns) == (
            last[0].corner,
            last[0].columns,
        )
        if same and _height(found[-1]) + len(first.rows) < TALLEST:
            found[-1].below.append(first)
        else:
            found.append(panel)
    return found


def _beside(blocks: Sequence[Block]) -> Iterator[Panel]:
    for _, group in groupby(blocks, key=lambda block: (block.corner, tuple(name for name, _ in block.rows))):
        inside: list[Block] = []
        free = 0
        for block in group:
            names = max(display_width(text) for text in (block.corner, *(name for name, _ in block.rows)))
            widths = [GAP + _width(block, number) for number in range(len(block.columns))]
            for part in block.parts(widths, WIDTH - names):
                wide = sum(GAP + _width(part, number) for number in range(len(part.columns)))
                if inside and wide > free:
                    yield Panel(inside)
                    inside = []
                free = (free if inside else WIDTH - names) - wide
                inside.append(part)
        if inside:
            yield Panel(inside)


def _floats(panels: Sequence[Panel], notes: int) -> Iterator[list[Panel]]:
    """The panels of each float. The notes are in the last one."""
    if sum(map(_height, panels)) + notes <= PAGE:
        yield list(panels)
        return
    float_: list[Panel] = []
    for number, panel in enumerate(panels):
        needed = _height(panel) + (notes if number == len(panels) - 1 else 0)
        if float_ and sum(map(_height, float_)) + needed > PAGE:
            yield float_
            float_ = []
        float_.append(panel)
    yield float_


def _height(panel: Panel) -> int:
    """Lines of a panel, its rules and the space below it among them."""
    heads = max(len(_head(block, number)) for block in panel.beside for number in range(len(block.columns)))
    return len(panel.beside[0].rows) + heads + 4 + sum(len(block.rows) + 2 for block in panel.below)


def _note_lines(notes: str) -> int:
    return -(-display_width(notes) // NOTE_WIDTH)


def _width(block: Block, column: int) -> int:
    """Characters of a column. Its header breaks between words."""
    return max(map(display_width, (*_head(block, column), *(cells[column].text for _, cells in block.rows))))


def _head(block: Block, column: int) -> list[str]:
    """The lines of a header: about as wide as the cells of the block, as far as its words allow."""
    head = one_line(block.columns[column])
    cells = max((display_width(cell.text) for _, cells in block.rows for cell in cells), default=0)
    room = max(cells + GAP, SHORTEST_HEAD, *(len(word) for word in head.split(" ")))
    return textwrap.wrap(head, room, break_long_words=False, break_on_hyphens=False) or [""]


def _tabular(panel: Panel) -> str:
    first = panel.beside[0]
    heads = [_stack(_head(block, number), "r") for block in panel.beside for number in range(len(block.columns))]
    lines = [f"\\begin{{tabular}}{{l{'r' * len(heads)}}}", "\\toprule"]
    if not panel.below:
        lines += _headings(panel.beside)
    lines.append(" & ".join([_tex(first.corner), *heads]) + r" \\")
    for block in [first, *panel.below] if panel.below else ():
        heading = f"\\multicolumn{{{len(heads) + 1}}}{{l}}{{\\textit{{{_tex(block.title)}}}}} " + r"\\"
        lines += ["\\midrule", heading, *_rows([block])]
    if not panel.below:
        lines += ["\\midrule", *_rows(panel.beside)]
    body = "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])
    # scaled down where it is wider than the text, never up
    return f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{body}}}"


def _headings(blocks: Sequence[Block]) -> list[str]:
    """The headings above the columns of each block, and rules below them."""
    titles, rules, place = [], [], 2
    for block in blocks:
        last = place + len(block.columns) - 1
        titles.append(f"\\multicolumn{{{len(block.columns)}}}{{c}}{{{_stack(_title(block), 'c')}}}")
        rules.append(f"\\cmidrule(lr){{{place}-{last}}}")
        place = last + 1
    return ["& " + " & ".join(titles) + r" \\", "".join(rules)]


def _rows(blocks: Sequence[Block]) -> Iterator[str]:
    """A line for each row, with its cells in all blocks."""
    for number, (name, _) in enumerate(blocks[0].rows):
        cells = [_cell(cell) for block in blocks for cell in block.rows[number][1]]
        yield " & ".join([_tex(name), *cells]) + r" \\"


def _title(block: Block) -> list[str]:
    """The lines of a heading: as wide as its columns, as far as its words allow."""
    room = sum(GAP + _width(block, number) for number in range(len(block.columns))) - GAP
    words = one_line(block.title)
    return textwrap.wrap(words, max(room, SHORTEST_TITLE, *map(len, words.split(" "))), break_long_words=False) or [""]


def _stack(lines: Sequence[str], side: str) -> str:
    if len(lines) == 1:
        return _tex(lines[0])
    text = r" \\ ".join(map(_tex, lines))
    return f"\\shortstack[{side}]{{{text}}}"


def _cell(cell: Cell) -> str:
    return rf"\textbf{{{_tex(cell.text)}}}" if cell.bold else _tex(cell.text)


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in one_line(text))
