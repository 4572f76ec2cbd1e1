"""The examples on the pages: commands, programs and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "published" / "README.md"])
LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    """A page as it is called in a report of tests."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path, program: str = "fer-bench") -> Iterator[list[str]]:
    """The words of each command in the blocks of a shell, the name of the program left out."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == program:
                yield words[1:]


def links(page: Path) -> list[str]:
    """Targets of links to files, without their anchors."""
    targets = (target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8")))
    return [target for target in targets if target and "://" not in target]
