"""The families of the methods of a table, and the row that the others are compared with in plots and pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fer_bench.core.errors import PluginError
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.report import palette
from fer_bench.report.arrange import Runs

BASELINE = "baseline"
"""The family of the methods that others are compared with."""

OTHERS = "Other methods"
"""Heading of the rows whose method names no family, or is not on this machine."""


@dataclass(frozen=True)
class Groups:
    """The rows by family.

    Attributes:
        families: Rows by heading of their family, in the order of the list of methods.
        baseline: The first row of the family "baseline"; "" if there is none.
    """

    families: Mapping[str, tuple[str, ...]]
    baseline: str

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows, those of a family beside each other."""
        return tuple(row for rows in self.families.values() for row in rows)

    @property
    def places(self) -> dict[str, int]:
        """The colour of each row, see :func:`fer_bench.report.palette.places`."""
        return palette.places(self.rows, self.baseline)


def groups(runs: Runs, plugins: Mapping[str, Plugin] | None = None) -> Groups:
    """The rows of arranged runs by family.

    Args:
        runs: Arranged runs.
        plugins: Methods by key; those that are installed if it is None.
    """
    methods = dict(zip(runs.frame["row"], runs.frame["method"], strict=True))
    families = family_keys(methods.values(), discover() if plugins is None else plugins)
    return grouped({row: families[methods[row]] for row in runs.rows})


def grouped(families: Mapping[str, str]) -> Groups:
    """Groups from the key of the family of each row, "" for none."""
    from fer_bench.method import FAMILIES  # PyTorch takes seconds to load

    found: dict[str, tuple[str, ...]] = {}
    for key, title in {**FAMILIES, "": OTHERS}.items():
        if rows := tuple(row for row, family in families.items() if family == key):
            found[title] = rows
    baseline = next((row for row, family in families.items() if family == BASELINE), "")
    return Groups(found, baseline)


def family_keys(methods: Iterable[str], plugins: Mapping[str, Plugin]) -> dict[str, str]:
    """The key of the family of each method; "" for methods of no family, and for those that cannot be loaded."""
    found = {}
    for method in dict.fromkeys(methods):
        try:
            found[method] = plugins[method].load().info.family if method in plugins else ""
        except PluginError:
            found[method] = ""
    return found
