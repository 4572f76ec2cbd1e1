"""Signs behind the names of rows, and the footnotes that explain them, in every table and figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_bench.core.text import counted
from fer_bench.report.wording import GIVEN
from fer_bench.store.frame import trained_with

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.arrange import Runs

NOISE_RATE, CLEAN, EXTRA, ENSEMBLE, SETTINGS = "†", "‡", "§", "¶", "◊"

LETTERS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"


@dataclass(frozen=True)
class Footnotes:
    """Signs by row, and what they mean.

    Attributes:
        signs: Signs of each row, "" for most.
        names: What each row is called.
        legend: One sentence for each sign in use.
    """

    signs: Mapping[str, str]
    names: Mapping[str, str]
    legend: tuple[str, ...]

    def name(self, row: str) -> str:
        """What the row is called, with its signs."""
        return self.names.get(row, row) + self.signs.get(row, "")


def footnotes(runs: Runs) -> Footnotes:
    """The footnotes of arranged runs. A row has a sign if any of its runs calls for it; each remark has a letter."""
    frame = runs.frame
    facts: dict[str, dict[str, list[str]]] = {NOISE_RATE: {}, CLEAN: {}, EXTRA: {}, ENSEMBLE: {}, SETTINGS: {}}
    remarks: dict[str, list[str]] = {}
    for row in runs.rows:
        mine = frame[frame["row"] == row]
        for sign, text in _facts(mine):
            facts[sign].setdefault(text, []).append(row)
        for text in (*_remarks(mine), *_draws_that_lack(mine, frame)):
            remarks.setdefault(text, []).append(row)
    meanings = {
        NOISE_RATE: "is given the true noise rate",
        CLEAN: "is given labels from before noise was injected"
        if GIVEN in set(frame["labels"])
        else "is given labels that are known to be correct",
        EXTRA: "is given images beyond the training set",
        ENSEMBLE: "predicts with more than one network",
        SETTINGS: "uses the settings of a file",
    }
    legend = [f"{sign} {meaning}{_which(facts[sign], runs)}." for sign, meaning in meanings.items() if facts[sign]]
    for number, (text, rows) in enumerate(remarks.items()):
        sign = LETTERS[number % len(LETTERS)] * (1 + number // len(LETTERS))
        facts[sign] = {text: rows}
        legend.append(f"{sign} {text}.")
    signs = dict.fromkeys(runs.rows, "")
    for sign, texts in facts.items():
        for row in {row for rows in texts.values() for row in rows}:
            signs[row] += sign
    names = {row: runs.name(row) + " (baseline)" * (row in runs.baselines) for row in signs}
    return Footnotes(signs, names, tuple(legend))


def _facts(runs: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Sign and detail of what all methods are asked about."""
    if runs["uses_noise_rate"].any():
        yield NOISE_RATE, ""
    counts = sorted({int(count) for count in runs["clean_labels_used"] if count})
    if counts:
        yield CLEAN, f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    for sign, column in ((EXTRA, "extra_images"), (ENSEMBLE, "ensemble"), (SETTINGS, "settings_from")):
        for text in sorted({str(value) for value in runs[column] if value}):
            yield sign, text


def _remarks(runs: pd.DataFrame) -> list[str]:
    """What the method says of its runs, and what differs between the runs of a row."""
    found = [str(remark) for value in runs["remarks"].unique() for remark in json.loads(value)]
    if runs["config"].nunique() > 1:
        found.append("settings differ between conditions; runs.csv lists them")
    if (number := runs["code"].nunique()) > 1:
        found.append(f"runs of {counted(number, 'version')} of the method's code; runs.csv lists them")
    for column, what in (("unlabelled", "unlabelled images"), ("landmarks", "landmarks")):
        if runs[column].nunique() > 1:
            found.append(f"the {what} differ between conditions; runs.csv lists them")
    for column, what in (("device", "devices"), ("torch", "versions of PyTorch")):
        cells = (trained_with(cell, column) for _, cell in runs.groupby("condition", sort=False))
        if any(len(values) > 1 for values in cells):
            found.append(f"runs of one cell are of different {what}; runs.csv lists them")
    return list(dict.fromkeys(found))


def _draws_that_lack(mine: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """The draws of the training data of a row, if other rows have more of them in one of its columns."""
    draws = frame.groupby("condition")["data_seed"].nunique()
    own = mine.groupby("condition")["data_seed"].nunique()
    lacking = mine[mine["condition"].isin(own.index[own < draws[own.index]])]
    if lacking.empty:
        return []
    seeds = sorted({int(seed) for seed in lacking["data_seed"]})
    return [f"has runs of fewer draws of the training data (data seed {', '.join(map(str, seeds))})"]


def _which(texts: Mapping[str, list[str]], runs: Runs) -> str:
    """The detail in brackets; with the rows it belongs to where there are several."""
    if list(texts) == [""]:
        return ""
    if len(texts) == 1:
        return f" ({next(iter(texts))})"
    return " (" + "; ".join(f"{', '.join(map(runs.name, rows))}: {text}" for text, rows in texts.items()) + ")"
