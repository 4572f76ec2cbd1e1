"""The page of a tuning: the runs of each column of its table, and what tuning gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from fer_bench.core.errors import require
from fer_bench.core.text import counted
from fer_bench.plugins.registry import Plugin
from fer_bench.report.arrange import Runs
from fer_bench.report.html.rounding import percent
from fer_bench.report.measures import View
from fer_bench.report.shown import Shown
from fer_bench.report.trials import Outcome, outcome, values_text
from fer_bench.report.wording import signed
from fer_bench.sweep.record import Sweep
from fer_bench.sweep.trials import trials_of

FIRST = "tuned"
"""The column that the page shows first; it has the rows and their order for all columns."""

ABOUT = {
    "default": "Default: the values of the recipe and of the papers.",
    "tuned": (
        "Tuned: the trial with the best accuracy on noisy validation labels. It was chosen from these runs, so report "
        "the numbers of other seeds: fer-bench run --settings."
    ),
    "oracle": (
        "Oracle: the trial with the best test accuracy. It needs the test labels, so it is an upper bound and no "
        "result."
    ),
}
"""What each column is, by its key."""


def columns(sweep: Sweep, plugins: Mapping[str, Plugin], shown: Shown) -> dict[str, Runs]:
    """The runs of each column, arranged; all have the order of the tuned ones.

    Raises:
        SpecError: No trial is complete, or a name in ``shown`` is unknown.
    """
    found = _outcomes(sweep)
    records = {
        key: [record for each in found.values() if (trial := getattr(each, key)) for record in trial.records]
        for key in ABOUT
    }
    require(any(records.values()), f"{sweep.name}: no trial is complete yet")
    first = shown.arrange(records[FIRST], sweep.classes, plugins, View())
    order = "Rows are those of the tuned settings, in their order."
    others = {
        key: replace(shown, sort="name", top=None).arrange(mine, sweep.classes, plugins, View())
        for key, mine in records.items()
        if mine and key != FIRST
    }
    parts = {FIRST: first} | {
        key: runs.show([row for row in first.rows if row in runs.rows], order) for key, runs in others.items()
    }
    return {key: parts[key] for key in ABOUT if key in parts}


def gaps(sweep: Sweep, runs: Runs) -> dict[str, Any]:
    """Test accuracy of each method with each setting, per cent, and what tuning gained, in words.

    Args:
        sweep: A tuning.
        runs: Its tuned runs, which name the rows.
    """
    found = _outcomes(sweep)
    methods = dict(zip(runs.frame["row"], runs.frame["method"], strict=True))
    lines = [_line(runs.name(row), found[methods[row]]) for row in runs.rows]
    whole = [line["values"] for line in lines if None not in line["values"]]
    imbalanced = (runs.frame["imbalance_factor"] > 1).any()
    what = "Test accuracy after the last epoch" + (", mean over classes under imbalance" if imbalanced else "")
    return {"lines": lines, "about": f"{what}; mean over conditions and studies.", "text": _gained(whole)}


def _gained(whole: Sequence[Sequence[float]]) -> str:
    """The means over the methods that have all settings, and the gaps between them."""
    if not whole:
        return "No method has complete trials of all three settings yet."
    default, tuned, oracle = (fmean(values) for values in zip(*whole, strict=True))
    return (
        f"Mean test accuracy of {counted(len(whole), 'method')}: {default:.1f} % with default settings, {tuned:.1f} % "
        f"as tuned ({signed(tuned - default, '+.1f')} points), {oracle:.1f} % for the oracle "
        f"({signed(oracle - tuned, '+.1f')}). The last gap is the cost of choosing by noisy validation labels."
    )


def _outcomes(sweep: Sweep) -> dict[str, Outcome]:
    return {method: outcome(trials) for method, trials in trials_of(sweep).items()}


def _line(name: str, found: Outcome) -> dict[str, Any]:
    values = [percent(trial.score("test")) if trial else None for trial in found.columns]
    return {"name": name, "values": values, "chosen": [values_text(trial) for trial in found.columns]}
