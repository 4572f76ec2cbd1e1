"""Text from data for people: what a terminal may show, how wide it is, and counted nouns."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, changes of the writing direction, and bytes that are not UTF-8."""


def visible(text: str) -> str:
    r"""The text with everything written out that is neither text nor newline nor tab.

    Control characters become ``\x1b``, so that a file's name cannot move the cursor, set colours or turn the direction
    of writing. A byte of a name
    that is not UTF-8 becomes ``\xbd``, so that the name can be written at all.
    """
    return _HIDDEN.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: str) -> bool:
    """Whether :func:`visible` leaves the text as it is: letters of any script, spaces of any kind, newlines, tabs."""
    return visible(text) == text


def one_line(text: str) -> str:
    """The text on one line: a name with a newline in it must not end the row of a table."""
    return " ".join(text.split())


def display_width(text: str) -> int:
    """Columns that the text takes in a fixed-width font: East Asian characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def natural_key(text: str) -> tuple[tuple[bool, float, str], ...]:
    """A key that sorts numbers in texts by their value: "lam=2" comes before "lam=10"."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return tuple((number % 2 == 1, float(part) if number % 2 else 0.0, part) for number, part in enumerate(parts))


def counted(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
