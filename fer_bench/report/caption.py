"""The caption above a table: what the numbers are of, and what bold means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.text import counted
from fer_bench.data.splits import short_sizes
from fer_bench.report.arrange import Runs
from fer_bench.report.measures import View
from fer_bench.report.notes import epochs_text, split_sizes
from fer_bench.report.significance import Significance
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.store.records import Record


def caption(runs: Runs, view: View, significance: Significance) -> str:
    """Two sentences: what the numbers are, and what bold means. The notes say the rest."""
    titles = [SELECTIONS[key].title for key in dict.fromkeys(view.selections)]
    rows = f"{len(runs.rows)} of " if len(runs.rows) < runs.tested["row"].nunique() else ""
    text = (
        f"Test results of {rows}{counted(runs.tested['row'].nunique(), 'method')} on {data_text(runs.frame)}, trained "
        f"for {epochs_text(runs.frame)}{_longer(runs.frame)}: {_cells(runs, view)}, {' and '.join(titles)}."
    )
    return f"{text} {significance.caption()}" if len(runs.rows) > 1 else text


def _longer(frame: pd.DataFrame) -> str:
    longer = (frame["test_epoch"].astype(float) > frame["epochs"]).any()
    return " (more where a method trains in several stages)" if longer else ""


def data_text(frame: pd.DataFrame) -> str:
    """The data sets. One alone has the sizes of its splits in brackets, if its runs stored them.

    Args:
        frame: Runs with the columns dataset and record.
    """
    names = sorted({Path(name).name for name in frame["dataset"]})
    sizes = split_sizes(frame["record"])
    if len(names) > 1 or not sizes:
        return ", ".join(names)
    return f"{names[0]} ({short_sizes(next(iter(sizes.values())))})"


def means_text(frame: pd.DataFrame) -> str:
    """What a point of a figure is, for its notes: "mean over 3 seeds", or "one run".

    Args:
        frame: Runs with the columns row, condition and data_seed.
    """
    sizes = frame.groupby(["row", "condition"]).size()
    low, high = int(sizes.min()), int(sizes.max())
    if high == 1:
        return "one run"
    what = "seeds" if frame["data_seed"].nunique() == 1 else "runs"
    return f"mean over {high if low == high else f'{low} to {high}'} {what}"


def images_note(records: Iterable[Record]) -> str:
    """How many images were trained, selected and tested on, for the notes of a figure; "" where no run stored it."""
    sizes = {Path(name).name: short_sizes(each) for name, each in split_sizes(records).items()}
    if len(sizes) == 1:
        return f"{next(iter(sizes.values()))}."
    return f"Images: {'; '.join(f'{name}: {text}' for name, text in sizes.items())}." if sizes else ""


def _cells(runs: Runs, view: View) -> str:
    sizes = runs.frame.groupby(["row", "condition"]).size()
    low, high = int(sizes.min()), int(sizes.max())
    if high == 1:
        return "one run per cell"
    spread = "standard deviation" if view.spread == "sd" else "95 % interval"
    cells = f"mean and {spread}" if view.spread == "interval" else f"mean ± {spread}"
    return f"{cells} over {high} runs" + ("" if low == high else " unless a cell says otherwise")
