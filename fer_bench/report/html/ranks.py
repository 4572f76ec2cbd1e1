"""The critical-difference diagram: mean ranks over blocks, and which methods a test cannot tell apart."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fer_bench.report.html.rounding import rounded
from fer_bench.report.html.summary import TABLE
from fer_bench.report.statistics import ALPHA, MIN_PAIRS, blocks, friedman, nemenyi
from fer_bench.store.model_selection import SELECTIONS


def diagrams(frame: pd.DataFrame, rows: list[str]) -> dict[str, Any]:
    """By selection of epochs and measure: ``ranks`` as [row, mean rank], best first, Friedman's ``p``, the number of
    ``blocks``, and ``groups``, index ranges [first, last] of ``ranks`` that Nemenyi's test does not tell apart.

    ``frame`` are the arranged runs. A measure without enough complete blocks is left out; the page says why.
    """
    found: dict[str, Any] = {"alpha": ALPHA, "least": MIN_PAIRS}
    for selection in SELECTIONS:
        found[selection] = {
            measure.key: diagram
            for measure in TABLE
            if measure.chosen and measure.key != "gap" and measure.higher is not None
            if (diagram := _diagram(blocks(frame, measure.column(selection)), measure.higher, rows))
        }
    return found


def _diagram(table: pd.DataFrame, higher: bool, rows: list[str]) -> dict[str, Any] | None:
    ranked = friedman(table, higher)
    if ranked is None:
        return None
    order = ranked.mean.sort_values(kind="stable")
    return {
        "ranks": [[rows.index(str(row)), rounded(rank, 3)] for row, rank in order.items()],
        "p": ranked.p,
        "blocks": ranked.blocks,
        "groups": _groups(nemenyi(table).loc[order.index, order.index]),
    }


def _groups(p: pd.DataFrame) -> list[list[int]]:
    """The longest runs of neighbours, in the order of their ranks, whose ends the test does not tell apart."""
    ends = [
        max(last for last in range(first, len(p)) if p.iat[first, last] >= ALPHA or last == first)
        for first in range(len(p))
    ]
    return [[first, last] for first, last in enumerate(ends) if last > first and (first == 0 or last > ends[first - 1])]
