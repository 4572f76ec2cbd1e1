"""Parts of a page that a program writes. They stand between two marks, which are comments and do not show."""

from __future__ import annotations

from pathlib import Path


def replace_between(page: Path, begin: str, end: str, content: str) -> None:
    """Replaces what stands between two marks of a page."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}", encoding="utf-8")
