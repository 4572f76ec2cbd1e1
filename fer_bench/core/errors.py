"""The errors that a user can fix. Each message names the value and the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(Exception):
    """The data are missing, damaged or not in the expected layout; the message names the file and what to do."""


class PluginError(Exception):
    """A plugin cannot be used: it is broken, or two places claim its key."""


class SpecError(ValueError):
    """A setting is unknown, of the wrong type or out of range; the message names it, its value and the nearest one."""


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
