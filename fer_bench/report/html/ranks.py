"""The critical-difference diagram of the page: mean ranks over blocks, and which methods do not differ."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fer_bench.report.arrange import Runs
from fer_bench.report.html.rounding import rounded
from fer_bench.report.html.summary import SHOWN
from fer_bench.report.statistics import ALPHA, MIN_PAIRS, blocks, friedman, nemenyi
from fer_bench.store.model_selection import SELECTIONS


def diagrams(runs: Runs) -> dict[str, Any]:
    """The diagrams by selected epoch and metric, of the metrics that have enough complete blocks.

    Returns:
        For each: ``ranks`` as [row, mean rank], best first; Friedman's ``p``; the number of ``blocks``; and ``groups``,
        index ranges [first, last] of ``ranks`` that Nemenyi's test does not find different. Besides, ``alpha`` and
        ``least``, the fewest blocks.
    """
    found: dict[str, Any] = {"alpha": ALPHA, "least": MIN_PAIRS}
    for selection in SELECTIONS:
        found[selection] = {
            metric.name: diagram
            for metric in SHOWN
            if metric.compared and metric.by_epoch
            if (diagram := _diagram(blocks(runs.tested, metric.column(selection)), metric.better > 0, runs.rows))
        }
    return found


def _diagram(table: pd.DataFrame, higher: bool, rows: tuple[str, ...]) -> dict[str, Any] | None:
    ranked = friedman(table, higher)
    if ranked is None:
        return None
    # rows that are not shown are ranked with the others
    order = ranked.mean[ranked.mean.index.isin(rows)].sort_values(kind="stable")
    return {
        "ranks": [[rows.index(str(row)), rounded(rank, 8)] for row, rank in order.items()],
        "p": ranked.p,
        "blocks": ranked.blocks,
        "groups": _groups(nemenyi(table).loc[order.index, order.index]),
    }


def _groups(p: pd.DataFrame) -> list[list[int]]:
    """The longest runs of neighbours, in the order of their ranks, whose ends the test does not find different."""
    ends = [
        max(last for last in range(first, len(p)) if p.iat[first, last] >= ALPHA or last == first)
        for first in range(len(p))
    ]
    return [[first, last] for first, last in enumerate(ends) if last > first and (first == 0 or last > ends[first - 1])]
