"""Errors that fer-bench raises on purpose. Each message names the value at fault and says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FerBenchError(Exception):
    """Base of all errors of fer-bench. The command line shows them as one line, without a traceback."""


class SpecError(FerBenchError, ValueError):
    """A setting is unknown, has the wrong type or is out of range."""


class DataError(FerBenchError):
    """A data set is missing, damaged or not in the expected layout."""


class PluginError(FerBenchError):
    """A method cannot be used: its file is broken, or two places define the same key."""


class StoreError(FerBenchError):
    """The files of a run are damaged or cannot be read."""


class UnreadableRun(StoreError):
    """The results of a run cannot be used: they are damaged, incomplete or of another version of fer-bench."""


class ArchiveError(StoreError):
    """An archive is damaged, was tampered with, or contradicts what is stored. Nothing of it was written."""


class IncompleteSweep(FerBenchError):
    """Some runs of a sweep failed. The others are finished and are in the tables."""


class NonFiniteLoss(FerBenchError):
    """A loss became NaN or infinite while a method was trained."""


def nearest(name: str, names: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest of ``names``, else the list of all of them."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "; there are: " + ", ".join(names) if names else ""


def require(condition: bool, message: str) -> None:
    """Raises SpecError(message) unless the condition holds."""
    if not condition:
        raise SpecError(message)
