"""Runs that did not learn: their accuracy on the test set is that of guessing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from fer_bench.core.text import counted
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.arrange import Runs

SIGN = "↓"

LEGEND = (
    f"{SIGN} at chance, not learning: a run of the cell has a mean accuracy over classes of at most one over the "
    "number of classes, plus two standard errors of guessing."
)


class Count(NamedTuple):
    """How many of the runs of a cell are at chance."""

    number: int
    total: int

    @property
    def all(self) -> bool:
        """Whether every run is."""
        return self.number == self.total


def at_chance(runs: pd.DataFrame, selection: str) -> pd.Series:
    """Whether the mean accuracy over classes of each run is at most its ``chance_limit``.

    Args:
        runs: Columns of ``load_runs``.
        selection: Key of ``SELECTIONS``. A run for which it selects no epoch is not at chance.
    """
    import pandas as pd

    mean, limit = (pd.to_numeric(runs[name]) for name in (SELECTIONS[selection].column("mean"), "chance_limit"))
    return mean <= limit + 1e-9


def count(runs: pd.DataFrame, selection: str) -> Count:
    """How many of some runs are at chance. Arguments as for :func:`at_chance`."""
    return Count(int(at_chance(runs, selection).sum()), len(runs))


def marks(runs: Runs, selection: str) -> dict[tuple[str, str], Count]:
    """The count of each (row, condition) that has a run at chance."""
    cells = at_chance(runs.frame, selection).groupby([runs.frame["row"], runs.frame["condition"]], sort=False)
    numbers = {
        place: Count(int(number), int(total)) for place, number, total in cells.agg(["sum", "size"]).itertuples()
    }
    return {(str(row), str(condition)): each for (row, condition), each in numbers.items() if each.number}


def note(runs: Runs, marked: Mapping[tuple[str, str], Count]) -> list[str]:
    """Which rows are at chance, and where; nothing if none is."""
    places: dict[str, list[str]] = {}
    for (row, condition), each in marked.items():
        share = "" if each.all else f" ({each.number} of {counted(each.total, 'run')})"
        places.setdefault(row, []).append(f"{condition}{share}")
    texts = [f"{runs.name(row)}: {', '.join(places[row])}" for row in runs.rows if row in places]
    return [f"At chance, not learning: {'; '.join(texts)}."] if texts else []
