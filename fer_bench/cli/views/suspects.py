"""Suspected labels as terminal output."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fer_bench.core.text import one_line, visible
from fer_bench.report.suspects import Suspects

SHOWN = 20
"""Images that the terminal shows."""


def suspects_report(found: Suspects) -> RenderableType:
    """The first images, and the notes. How many runs and methods name an image is shown where there are several."""
    lines = found.lines.head(SHOWN)
    several = int(lines["runs"].iloc[0]) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("image", overflow="fold")
    for name in ("label", "suggested"):
        table.add_column(name, overflow="fold")
    for name in ("score", *(("runs", "methods") if several else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines.to_dict("records"):
        cells = [f"{line['rank']}", line["id"], line["label"], line["suggested"], f"{line['score']:.3g}"]
        if several:
            cells += [f"{line[f'named_by_{what}']}/{line[what]}" for what in ("runs", "methods")]
        table.add_row(*(Text(one_line(visible(str(cell)))) for cell in cells))
    more = len(found.lines) - len(lines)
    parts: list[RenderableType] = [Text(found.title, style="bold"), Padding(table, (1, 0))]
    if more:
        parts.append(Text(f"… and {more:,} more (--csv FILE holds all of them)", style="dim"))
    return Group(*parts, *(Text(f"- {note}", style="dim") for note in found.notes))
