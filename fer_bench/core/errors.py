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


LONGEST_LIST = 100
"""Names that a message lists at most."""


def nearest(name: str, names: Iterable[str], count: int = 2) -> str:
    """``"; did you mean 'x'?"`` for the closest of ``names``, else a list of them.

    Args:
        name: What was given. Its case does not matter.
        names: What there is. Of more than LONGEST_LIST names the ``count`` nearest are listed, else all.
        count: How many names are proposed at most.
    """
    names = sorted(names)
    folded = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.5)
    if close:
        *others, last = (repr(folded[each]) for each in close)
        return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    if len(names) > LONGEST_LIST:
        close = difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0)
        return f"; the nearest of {len(names):,} are: {', '.join(folded[each] for each in close)}"
    return "; there are: " + ", ".join(names) if names else ""


def require(condition: bool, message: str) -> None:
    """Raises SpecError(message) unless the condition holds."""
    if not condition:
        raise SpecError(message)
