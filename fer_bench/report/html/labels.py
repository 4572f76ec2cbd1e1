"""The training labels on the page: which class was labelled as which, and how pure each class is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fer_bench.report.html.rounding import percent, rounded
from fer_bench.report.training_data import Draw


def describe(draws: Sequence[Draw], conditions: Sequence[str]) -> list[dict[str, Any]]:
    """One entry for each condition and draw of the data.

    ``confusion`` holds [C][C] counts (rows clean labels, columns noisy labels) or None, ``purity`` [C] per cent.
    """
    return [
        {
            "condition": conditions.index(draw.condition),
            "data_seed": draw.data_seed,
            "classes": list(draw.classes),
            "confusion": draw.confusion,
            "purity": [percent(share) for share in draw.purity],
            "rate": percent(draw.wrong_rate),
            "imbalance": rounded(draw.imbalance, 2),
            "images": draw.images,
        }
        for draw in draws
    ]
