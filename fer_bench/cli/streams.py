"""Standard output and standard error, in any encoding, and with or without a reader."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def replace_unwritable() -> None:
    """Lets both streams replace what their encoding lacks, instead of raising UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def discard_output(err: bool = False) -> None:
    """Drops what is written to standard output (or standard error) from now on, because nobody reads it.

    After ``fer-bench run … | head -1`` the command continues.
    """
    name, number = ("stderr", 2) if err else ("stdout", 1)
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  it stays open
