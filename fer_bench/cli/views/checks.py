"""Results of ``fer-bench test-method`` as terminal output."""

from __future__ import annotations

from rich.text import Text


def check_line(name: str, proves: str, wrong: str | None) -> Text:
    """One check: whether it passed, what it proves, and below it what is wrong (None if it passed)."""
    style, word = ("green", "pass") if wrong is None else ("red", "FAIL")
    line = Text.assemble((word, style), "  ", (name, "bold"), f": {proves}")
    for reason in (wrong or "").splitlines():
        line.append(f"\n      {reason}", style=style)
    return line


def verdict(failed: int, count: int, seconds: float) -> Text:
    """How many of ``count`` checks failed."""
    result = f"{failed} of {count} checks failed" if failed else f"all {count} checks passed"
    return Text(f"{result} in {seconds:.0f} s", style="red" if failed else "green")
