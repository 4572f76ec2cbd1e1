"""The report of ``fer-bench data check`` as terminal output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fer_bench.core.text import visible
from fer_bench.data.check import Report
from fer_bench.data.dataset import SPLITS

SHOWN = 10
"""Entries of a long list that the terminal shows."""


def data_report(report: Report) -> RenderableType:
    """Counts, landmarks, duplicates, damaged images and every warning."""
    parts: list[RenderableType] = [_counts(report)]
    if report.located is not None:
        parts.append(_landmarks(report, report.located))
    parts.append(_duplicates(report))
    if report.undecodable:
        title = f"images that cannot be decoded ({len(report.undecodable)}, first {SHOWN} shown)"
        parts.append(_table(title, ("id", "cause"), report.undecodable[:SHOWN]))
    leaks = sorted(set(report.across) | set(report.conflicting))[:SHOWN]
    if leaks:
        lines = [("; ".join(f"{copy.id}, {copy.split}, {copy.label}" for copy in group),) for group in leaks]
        parts.append(_table(f"leaks and conflicts (first {len(leaks)})", ("id, split, label of each image",), lines))
    if report.twins:
        lines = [
            ("; ".join(f"{copy.id}, {copy.split}, {copy.label}" for copy in pair),) for pair in report.twins[:SHOWN]
        ]
        parts.append(_table(f"near copies (first {len(lines)})", ("id, split, label of each image",), lines))
    parts += [Text(visible(sentence)) for sentence in report.assumed]
    parts.append(Text("\n".join(f"! {warning}" for warning in report.warnings) or "nothing to complain about"))
    return Group(*parts)


def _counts(report: Report) -> Table:
    """Classes are rows, so that the table fits a terminal of 80 columns."""
    counts, expected = report.counts, report.expected
    splits = [split for split in SPLITS if any(counts[split]) or split in expected]
    rows = [(name, *(f"{counts[split][at]:,}" for split in splits)) for at, name in enumerate(report.classes)]
    rows.append(("images", *(f"{sum(counts[split]):,}" for split in splits)))
    rows.append(("expected", *(f"{expected[split]:,}" if split in expected else "not known" for split in splits)))
    return _table(f"{report.name}: images", ("class", *splits), rows)


def _landmarks(report: Report, located: Mapping[str, tuple[int, ...]]) -> Table:
    """Shares by class: a detector that loses one expression more often than another biases the data."""
    splits = [split for split in SPLITS if any(report.counts[split])]
    rows = [
        (name, *(_share(located[split][at], report.counts[split][at]) for split in splits))
        for at, name in enumerate(report.classes)
    ]
    rows.append(("all", *(_share(sum(located[split]), sum(report.counts[split])) for split in splits)))
    return _table("images with landmarks", ("class", *splits), rows)


def _duplicates(report: Report) -> Table:
    kinds = (
        ("within one split", report.within),
        ("across splits", report.across),
        ("with different labels", report.conflicting),
    )
    rows = [(kind, f"{len(groups):,}", f"{sum(map(len, groups)):,}") for kind, groups in kinds]
    return _table("duplicates", ("identical images", "groups", "images"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text: a file called "[a].jpg" must not be read as markup."""
    table = Table(title=Text(title))
    for number, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if number and len(columns) > 2 else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"
