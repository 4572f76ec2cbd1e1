"""Writes the list of operations of docs/add-a-method.md: ``python -m tests.docs.ops_table``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from benchmarks.reference.marks import replace_between
from fer_bench import ops
from tests.helpers.pages import ROOT

PAGE = ROOT / "docs" / "add-a-method.md"
BEGIN, END = "<!-- begin of the operations -->\n", "<!-- end of the operations -->\n"
WITHOUT_DOCSTRING = {
    "LOG_ZERO": "The value of log 0 in reverse cross-entropy, ln(1e-4).",
    "Shuffle": "The type of a function that shuffles rows, as `generator_shuffle` makes one.",
}


def first_sentence(name: str) -> str:
    """What an operation is, from its docstring."""
    if name in WITHOUT_DOCSTRING:
        return WITHOUT_DOCSTRING[name]
    text = " ".join((inspect.getdoc(getattr(ops, name)) or "").split("\n\n")[0].split())
    sentence, dot, _ = text.partition(". ")
    return f"{sentence}{'.' if dot else ''}".replace("|", "\\|").replace("``", "`").replace(":func:", "")


def lines() -> Iterator[str]:
    """A row for each operation, in the order of the alphabet."""
    yield "| `fer_bench.ops` | what |\n|---|---|"
    yield from (f"| `{name}` | {first_sentence(name)} |" for name in sorted(ops.__all__, key=str.lower))
    yield ""


def table() -> str:
    """The text between the marks of the page."""
    return "\n".join(lines())


def main() -> None:
    """Replaces the text between the marks."""
    replace_between(PAGE, BEGIN, END, table())


if __name__ == "__main__":
    main()
