"""Pages of several sweeps in a folder: an index, a page for each sweep, and a comparison across data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from fer_bench.core.families import FAMILIES
from fer_bench.core.files import write_atomically
from fer_bench.core.text import counted
from fer_bench.plugins.registry import Plugin
from fer_bench.report import palette
from fer_bench.report.footnotes import SETTINGS
from fer_bench.report.groups import OTHERS, groups
from fer_bench.report.html.answer import Answer, Standing, points, standing
from fer_bench.report.html.collect import arranged, collect
from fer_bench.report.html.gallery import FacesShown
from fer_bench.report.html.render import render, render_index
from fer_bench.report.shown import ALL, Shown
from fer_bench.sweep.record import Sweep

INDEX = "index.html"


@dataclass(frozen=True)
class Entry:
    """A sweep on the index.

    Attributes:
        name: Its name.
        link: The address of its page, relative to the index.
        data: Names of its data sets.
        size: Methods, conditions and runs, in words.
        command: The command that made it.
        answer: What its page says first; None where no two methods share a block.
    """

    name: str
    link: str
    data: str
    size: str
    command: str
    answer: Answer | None


@dataclass(frozen=True)
class Cell:
    """A method in a sweep: its mean, its difference from the baseline, and what of that is coloured, -100 to 100."""

    value: str = ""
    difference: str = ""
    shade: int = 0


@dataclass(frozen=True)
class Compared:
    """A sweep beside others.

    Attributes:
        standing: How its methods stand.
        searched: Its rows with settings that were searched: those of a file, or the tuned ones of a tuning.
    """

    standing: Standing
    searched: frozenset[str]


@dataclass(frozen=True)
class Row:
    """A method across sweeps: name, colours, a cell for each sweep, and its mean rank if it is in all of them."""

    name: str
    light: str
    dark: str
    cells: tuple[Cell, ...]
    rank: str


def write_site(
    sweeps: Sequence[Sweep],
    folder: Path,
    plugins: Mapping[str, Plugin],
    faces: FacesShown = "own",
    shown: Shown = ALL,
) -> Iterator[Path]:
    """Writes the pages; yields the path of each when it is written, the index last.

    A sweep with none of the methods that are asked for has no page.

    Args:
        sweeps: Sweeps with at least one finished run each.
        folder: Where the pages go. Other files in it stay.
        plugins: Methods by key.
        faces: Which pictures may go into the pages.
        shown: Which methods are shown, and in which order.

    Raises:
        SpecError: A pattern of ``shown`` matches no method of any sweep.
    """
    entries, compared = [], {}
    for sweep, mine, file in zip(sweeps, _asked(sweeps, plugins, shown), _files(sweeps), strict=True):
        if mine is None:
            continue
        content = collect(sweep, plugins, faces, mine)
        write_atomically(folder / file, render({**content, "index": INDEX}).encode())
        yield folder / file
        entries.append(_entry(sweep, quote(file), content))
        runs = arranged(sweep, plugins, mine)
        if found := standing(runs, groups(runs)):
            searched = found.known.rows if sweep.tuning else runs.frame.loc[runs.frame["settings_from"] != "", "row"]
            compared[quote(file)] = Compared(found, frozenset(searched))
    columns = [entry for entry in entries if entry.link in compared]
    rows = _rows(list(compared.values()))
    write_atomically(folder / INDEX, render_index(entries, columns, rows).encode())
    yield folder / INDEX


def _asked(sweeps: Sequence[Sweep], plugins: Mapping[str, Plugin], shown: Shown) -> list[Shown | None]:
    """What is shown of each sweep; None where it has none of the methods that are asked for."""
    if shown.only is None:
        return [shown] * len(sweeps)
    keys = [{record.spec["method"] for record in sweep.records()} for sweep in sweeps]
    asked = set(shown.methods(set().union(*keys), plugins))
    return [replace(shown, only=tuple(sorted(asked & mine))) if asked & mine else None for mine in keys]


def without_page(sweeps: Sequence[Sweep], plugins: Mapping[str, Plugin], shown: Shown) -> list[str]:
    """The names of the sweeps with none of the methods that are asked for: :func:`write_site` leaves them out."""
    return [sweep.name for sweep, mine in zip(sweeps, _asked(sweeps, plugins, shown), strict=True) if mine is None]


def _files(sweeps: Sequence[Sweep]) -> list[str]:
    """A file name for each sweep. Further sweeps of one name, from other folders, have numbers."""
    names = [sweep.name for sweep in sweeps]
    counts = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"sweep-{name}{f'~{count + 1}' * (count > 0)}.html" for name, count in zip(names, counts, strict=True)]


def _entry(sweep: Sweep, link: str, content: Mapping[str, Any]) -> Entry:
    data = ", ".join(dict.fromkeys(condition["data"] for condition in content["conditions"]))
    counts = ((content["rows"], "method"), (content["conditions"], "condition"), (content["runs"], "run"))
    size = ", ".join(counted(len(values), name) for values, name in counts)
    return Entry(sweep.name, link, data, size, content["command"], content["answer"])


def _rows(compared: Sequence[Compared]) -> dict[str, tuple[Row, ...]]:
    """The methods of all sweeps by family, those with the best mean rank first."""
    families: dict[str, dict[str, str]] = {}
    found = [each.standing for each in compared]
    for each in found:
        for title, rows in each.known.families.items():
            families.setdefault(title, {}).update({row: each.known.name(row) for row in rows if row in each.order})
    titles = [title for title in (*FAMILIES.values(), OTHERS) if families.get(title)]
    names = {row: name for title in titles for row, name in families[title].items()}
    baseline = next((each.base for each in found if each.base), "")
    colours = palette.places(names, baseline if baseline in names else "")
    gains = [float((each.order - each.order[each.base]).abs().max()) for each in found if each.base]
    limit = max(gains, default=0.0)
    ranks = _ranks(found)
    return {
        title: tuple(
            Row(
                names[row],
                palette.LIGHT[colours[row]],
                palette.DARK[colours[row]],
                tuple(_cell(each, row, limit) for each in compared),
                f"{ranks[row]:.1f}" if row in ranks else "",
            )
            for row in sorted(families[title], key=lambda row: ranks.get(row, len(names)))
        )
        for title in titles
    }


def _ranks(found: Sequence[Standing]) -> dict[str, float]:
    """Mean over sweeps of the place of each row among those that are in all of them."""
    common = [str(row) for row in found[0].order.index if all(row in each.order for each in found)] if found else []
    places = [each.order[common].rank(ascending=False) for each in found]
    return {row: fmean(float(each[row]) for each in places) for row in common}


def _cell(compared: Compared, row: str, limit: float) -> Cell:
    found = compared.standing
    if row not in found.order:
        return Cell()
    value = f"{found.order[row] * found.metric.scale:.{found.metric.digits}f}" + SETTINGS * (row in compared.searched)
    if not found.base or row == found.base:
        return Cell(value)
    difference = float(found.order[row] - found.order[found.base])
    return Cell(value, points(difference, found.metric), round(100 * difference / (limit or 1)))
