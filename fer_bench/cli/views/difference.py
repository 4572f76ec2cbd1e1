"""The difference of two runs as terminal output."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fer_bench.store.diff import Difference


def difference_report(found: Difference) -> RenderableType:
    """Both runs, then every field in which they differ, section by section, then the verdict."""
    return Group(*_parts(found))


def _parts(found: Difference) -> Iterator[RenderableType]:
    for letter, name, state, count in zip("AB", found.names, found.states, found.compared, strict=True):
        yield Text(f"{letter}  {name}  ({state}, {count} epochs)")
    yield from _section("specification", found.spec)
    yield from _section("environment", found.environment)
    yield from _epochs(found)
    yield from _section("results", found.final)
    verdict = "the runs are identical" if found.identical else "the runs differ"
    yield Text(f"\n{verdict}", style="bold green" if found.identical else "bold yellow")


def _epochs(found: Difference) -> Iterator[RenderableType]:
    common = min(found.compared)
    if found.epochs:
        first = found.epochs[0][0]
        same = f"epochs 1 to {first - 1} are identical" if first > 1 else "they differ from the first epoch on"
        yield Text(f"\n{len(found.epochs)} of {common} common epochs differ; {same}", style="bold")
        for epoch, fields in found.epochs:
            yield from _section(f"epoch {epoch}", fields)
    else:
        yield Text(f"\nepochs: identical ({common} in common; times and memory are not compared)", style="bold")
    if found.compared[0] != found.compared[1]:
        yield Text(f"A has {found.compared[0]} epochs, B has {found.compared[1]}", style="bold")


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
