"""Ranges of hyper-parameters: the ``[search]`` table of a method's TOML file."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fer_bench.core.errors import nearest, require
from fer_bench.core.schema import convert

KEYS = ("low", "high", "log", "choices")
EXAMPLE = "write { low = …, high = … } with log = true if you like, or { choices = […] }"


@dataclass(frozen=True)
class Range:
    """The values that a search may try for one setting.

    Attributes:
        low: Smallest number, included. An int for a whole-number setting: then only whole numbers are tried.
        high: Largest number, included.
        log: Whether values are spread evenly on a logarithmic scale; ``low`` is then greater than 0.
        choices: The values themselves, in place of bounds; empty where there are bounds.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()


def read_ranges(table: Mapping[str, Any], config_class: type, where: str) -> dict[str, Range]:
    """Reads a table of ranges.

    Args:
        table: Ranges by the name of the setting, as in TOML.
        config_class: The ``Config`` of the method.
        where: How messages begin.

    Returns:
        The ranges by the name of the setting.

    Raises:
        SpecError: A name is no setting, a value has another type than its setting, or the bounds are no range.
    """
    hints = typing.get_type_hints(config_class)
    ranges = {}
    for name, entry in table.items():
        require(name in hints, f"{where} has no setting {name!r}{nearest(name, hints)}")
        ranges[name] = _range(entry, hints[name], f"{where}.{name}")
    return ranges


def _range(entry: Any, hint: Any, where: str) -> Range:
    require(isinstance(entry, Mapping), f"{where}: {EXAMPLE}")
    for key in entry:
        require(key in KEYS, f"{where} has no {key!r}{nearest(key, KEYS)}")
    if "choices" in entry:
        choices = entry["choices"]
        require(len(entry) == 1, f"{where}: either choices or bounds; {EXAMPLE}")
        require(isinstance(choices, list) and len(choices) > 0, f"{where}: choices must be a list that is not empty")
        return Range(choices=tuple(convert(hint, value, where) for value in choices))
    require("low" in entry and "high" in entry, f"{where}: {EXAMPLE}")
    low, high = (convert(hint, entry[key], f"{where}.{key}") for key in ("low", "high"))
    log = convert(bool, entry.get("log", False), f"{where}.log")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    require(numbers, f"{where}: bounds are numbers; {EXAMPLE}")
    require(low < high, f"{where}: low = {low} is not below high = {high}")
    require(not log or low > 0, f"{where}: a log scale needs low > 0, not {low}")
    return Range(low, high, log)
