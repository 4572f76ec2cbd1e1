"""Writes the table of docs/methods.md: ``python -m tests.docs.methods_table``."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reference.marks import replace_between
from fer_bench.method import FAMILIES
from fer_bench.plugins.registry import discover
from tests.helpers.pages import ROOT

PAGE = ROOT / "docs" / "methods.md"
BEGIN, END = "<!-- begin of the methods -->\n", "<!-- end of the methods -->\n"
AGAINST = {"both": "label noise and imbalance", "baseline": "–"}


def lines() -> Iterator[str]:
    """A table for each family."""
    methods = {key: plugin.load().info for key, plugin in discover().items() if plugin.origin == "built in"}
    for family, heading in FAMILIES.items():
        yield f"### {heading}\n\n`--methods family:{family}`\n"
        yield "| key | name | paper | year | against |\n|---|---|---|---|---|"
        for key, info in methods.items():
            if info.family == family:
                title, against = info.title.replace("|", "\\|"), AGAINST.get(info.kind, info.kind)
                yield f"| `{key}` | {info.name or key} | {title} | {info.year or '–'} | {against} |"
        yield ""


def table() -> str:
    """The text between the marks of the page."""
    return "\n".join(lines())


def main() -> None:
    """Replaces the text between the marks."""
    replace_between(PAGE, BEGIN, END, table())


if __name__ == "__main__":
    main()
