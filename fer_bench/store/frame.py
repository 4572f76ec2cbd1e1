"""Finished runs as rows of a table, and which of their epochs a number is of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.variant import Variant
from fer_bench.store.index import read_runs
from fer_bench.store.records import Record
from fer_bench.store.row import JOINT, to_row

if TYPE_CHECKING:
    import pandas as pd


def load_runs(out: str | Path = "results") -> pd.DataFrame:
    """All finished runs under ``out``, one row each: settings, realised noise, last and selected epochs, cost.

    Accuracies are fractions in [0, 1], all on the test split. ``test_*`` is the last epoch, ``mean_last_5_*`` the mean
    of the last five, ``best_val_*`` the epoch with the best overall accuracy on the validation split, ``best_test_*``
    the one with the best on the test split (an oracle). ``*_head`` and ``*_tail`` are explained at
    :func:`fer_bench.store.head_tail.head_and_tail_classes`. ``chance_limit`` is the highest mean accuracy over classes
    that cannot be told from guessing (:func:`fer_bench.store.chance.chance_limit`).
    ``device``, ``commit``, ``version`` (of fer-bench), ``torch`` and ``cpu_capability`` tell what trained the run; a
    run that was resumed elsewhere has several values, joined by "; ".
    A run that cannot be read (damaged, or of another version of fer-bench) is left out with a warning that names it.
    """
    import pandas as pd

    out = Path(out)
    names = ["/".join(path.parts[-5:-1]) for path in sorted(out.glob("runs/*/*/*/final.json"))]
    found, unreadable = read_runs(out, names)
    for reason in unreadable:
        warnings.warn(f"left out: {reason}", stacklevel=2)
    return pd.DataFrame([to_row(record) for record in found])


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row for each record, in their order.

    It has the columns of :func:`load_runs` and, if any run is a variant, those of :func:`variant_columns`.
    """
    import pandas as pd

    records = list(records)
    frame = pd.DataFrame([to_row(record) for record in records])
    plain = all(record.variant == Variant() for record in records)
    return frame if plain else frame.assign(**variant_columns(records))


def variant_columns(records: Iterable[Record]) -> dict[str, list[Any]]:
    """What sweeps say of their runs.

    ``own_recipe`` holds settings of the recipe for the method alone, as JSON; ``settings_from`` the source of the
    settings, "" for the defaults; ``trial`` the number of the trial in a search, None outside of one.
    """
    variants = [record.variant for record in records]
    return {
        "own_recipe": [json.dumps(each.recipe, sort_keys=True) for each in variants],
        "settings_from": [each.note for each in variants],
        "trial": [each.trial for each in variants],
    }


def trained_with(frame: pd.DataFrame, column: str) -> list[str]:
    """The known values of ``device``, ``commit``, ``version``, ``torch`` or ``cpu_capability`` of all runs, sorted."""
    return sorted({value for text in frame[column].unique() for value in text.split(JOINT) if value})
