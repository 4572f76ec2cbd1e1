"""Writes the table of docs/development/bad-input.md, and its length into robustness.md. Runs every case.

python -m tests.bad_input.table
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bad_input.cases import SECTIONS
from tests.bad_input.seen import Case, Seen, see, shown

DOCUMENT = Path(__file__).parents[2] / "docs" / "development" / "bad-input.md"
SUMMARY = DOCUMENT.with_name("robustness.md")
BEGIN, END = "<!-- begin of the cases -->\n", "<!-- end of the cases -->\n"


def line(case: Case, seen: Seen) -> str:
    """The row of a case: what is wrong, the command, the exit code, what is seen."""
    return f"| {case.what} | {_code(case.command)} | {seen.code} | {_code(shown(case, seen))} |"


def _code(text: str) -> str:
    """A code span in a table. No class called like a script can leave it."""
    plain = re.sub(r"[^\S ]|[\x00-\x1f]", " ", text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def lines() -> Iterator[str]:
    for title, cases in SECTIONS.items():
        yield f"\n### {title}\n"
        yield "| case | `fer-bench` … | exit | what is seen |\n|---|---|---:|---|"
        yield from (line(case, see(case)) for case in cases)
    yield ""


def main() -> None:
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FER_BENCH_CACHE"] = cache
        text = "\n".join(lines())
    DOCUMENT.write_text(f"{before}{BEGIN}{text}\n{END}{after}", encoding="utf-8")
    count = sum(map(len, SECTIONS.values()))
    summary = SUMMARY.read_text(encoding="utf-8")
    SUMMARY.write_text(re.sub(r"(?<=\(bad-input\.md\) \| )\d+", str(count), summary), encoding="utf-8")


if __name__ == "__main__":
    main()
