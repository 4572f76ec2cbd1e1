"""The families of the rows of plots and pages, the row that others are compared with, and the colour of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fer_bench.core.families import FAMILIES
from fer_bench.report import palette
from fer_bench.report.arrange import Runs

OTHERS = "Other methods"
"""Heading of the rows whose method names no family, or is not on this machine."""


@dataclass(frozen=True)
class Groups:
    """The rows by family.

    Attributes:
        families: Rows by heading of their family, in the order of the list of methods.
        names: What each row is called.
        baseline: The first row of a baseline; "" if there is none.
    """

    families: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    baseline: str

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows, those of a family beside each other."""
        return tuple(row for rows in self.families.values() for row in rows)

    @property
    def places(self) -> dict[str, int]:
        """The colour of each row, see :func:`fer_bench.report.palette.places`."""
        return palette.places(self.rows, self.baseline)

    def colour(self, row: str) -> str:
        """The colour of a row on a light ground."""
        return palette.LIGHT[self.places[row]]

    def name(self, row: str) -> str:
        """What a row is called."""
        return self.names[row]


def groups(runs: Runs) -> Groups:
    """The rows of arranged runs by family; within a family in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for key, title in {**FAMILIES, "": OTHERS}.items():
        if rows := tuple(row for row in runs.rows if _family(runs, row) == key):
            found[title] = rows
    baseline = next((row for row in runs.rows if row in runs.baselines), "")
    return Groups(found, {row: runs.name(row) for row in runs.rows}, baseline)


def _family(runs: Runs, row: str) -> str:
    """The key of the family of a row; "" for none and for one that is not known here."""
    family = runs.families.get(row, "")
    return family if family in FAMILIES else ""
