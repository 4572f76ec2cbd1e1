"""What a reader must know of a row: signs behind its name in every table and figure, and what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TOLD, CLEAN, EXTRA, ENSEMBLE = "†", "‡", "§", "¶"

REMARKS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"


@dataclass(frozen=True)
class Marks:
    """``signs`` by row, "" for most; ``legend``: one sentence without a full stop for each sign in use."""

    signs: Mapping[str, str]
    legend: tuple[str, ...]

    def name(self, row: str) -> str:
        """The row's name with its signs."""
        return row + self.signs.get(row, "")


def marks(frame: pd.DataFrame) -> Marks:
    """The marks of arranged runs. A row has a sign if any of its runs has the fact; each remark has a letter."""
    signs: dict[str, list[str]] = {str(row): [] for row in dict.fromkeys(frame["row"])}
    facts: dict[str, dict[str, list[str]]] = {TOLD: {}, CLEAN: {}, EXTRA: {}, ENSEMBLE: {}}
    remarks: dict[str, list[str]] = {}
    for row, runs in frame.groupby("row", sort=False):
        name = str(row)
        if runs["uses_noise_rate"].any():
            facts[TOLD].setdefault("", []).append(name)
        counts = sorted({int(count) for count in runs["clean_labels_used"] if count})
        if counts:
            text = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
            facts[CLEAN].setdefault(text, []).append(name)
        for sign, column in ((EXTRA, "extra_images"), (ENSEMBLE, "ensemble")):
            for text in sorted({str(value) for value in runs[column] if value}):
                facts[sign].setdefault(text, []).append(name)
        for text in dict.fromkeys(remark for value in runs["remarks"] for remark in json.loads(value)):
            remarks.setdefault(str(text), []).append(name)
    legend = []
    meanings = {
        TOLD: "was told the true noise rate",
        CLEAN: "was given labels known to be right",
        EXTRA: "was given images beyond the training set",
        ENSEMBLE: "predicts with more than one network",
    }
    for sign, meaning in meanings.items():
        if facts[sign]:
            legend.append(f"{sign} {meaning}{_which(facts[sign])}")
    for number, (text, rows) in enumerate(remarks.items()):
        sign = REMARKS[number % len(REMARKS)] * (1 + number // len(REMARKS))
        facts[sign] = {text: rows}
        legend.append(f"{sign} {text}")
    for sign, texts in facts.items():
        for name in {name for names in texts.values() for name in names}:
            signs[name].append(sign)
    return Marks({name: "".join(of_row) for name, of_row in signs.items()}, tuple(legend))


def _which(texts: Mapping[str, list[str]]) -> str:
    """The text in brackets; with the rows it belongs to where there are several texts."""
    if list(texts) == [""]:
        return ""
    if len(texts) == 1:
        return f" ({next(iter(texts))})"
    return " (" + "; ".join(f"{', '.join(rows)}: {text}" for text, rows in texts.items()) + ")"
