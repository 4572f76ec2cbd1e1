"""The caption above a table: what the numbers are of, and what bold means."""

from __future__ import annotations

from pathlib import Path

from fer_bench.core.text import counted
from fer_bench.data.splits import describe_sizes
from fer_bench.report.arrange import Runs
from fer_bench.report.measures import View
from fer_bench.report.notes import split_sizes, values_text
from fer_bench.report.significance import Significance
from fer_bench.store.model_selection import SELECTIONS


def caption(runs: Runs, view: View, significance: Significance) -> str:
    """Two sentences, and one on images that were taken from the training set; the notes say the rest."""
    frame = runs.frame
    data = ", ".join(sorted({Path(name).name for name in frame["dataset"]}))
    titles = [SELECTIONS[key].title for key in dict.fromkeys(view.selections)]
    epochs = f"{values_text(frame, 'epochs')} epochs"
    text = (
        f"Test results of {counted(len(runs.rows), 'method')} on {data}, trained for {epochs}: {_cells(runs, view)}, "
        f"{' and '.join(titles)}."
    )
    text += _taken(runs)
    return f"{text} {significance.caption()}" if len(runs.rows) > 1 else text


def _taken(runs: Runs) -> str:
    """How many images were held out, or taken for a test split, of data sets that have no split for that."""
    found = ""
    for dataset, sizes in split_sizes(runs.frame["record"]).items():
        if any(each["held_out"] or each["source"] != "official" for each in sizes):
            name = f" of {Path(dataset).name}" if runs.frame["dataset"].nunique() > 1 else ""
            found += f" Images{name}: {describe_sizes(sizes)}."
    return found


def _cells(runs: Runs, view: View) -> str:
    sizes = runs.frame.groupby(["row", "condition"]).size()
    low, high = int(sizes.min()), int(sizes.max())
    if high == 1:
        return "one run per cell"
    spread = "standard deviation" if view.spread == "sd" else "95 % interval"
    cells = f"mean and {spread}" if view.spread == "interval" else f"mean ± {spread}"
    return f"{cells} over {high} runs" + ("" if low == high else " unless a cell says otherwise")
