"""Search spaces and the points that are tried in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fer_bench.core.errors import require
from fer_bench.core.seeds import numpy_rng
from fer_bench.core.spec import Recipe
from fer_bench.core.variant import Variant
from fer_bench.plugins.ranges import Range

FACTORS = {"lr": 5.0, "weight_decay": 10.0}
"""Settings of the recipe that are searched for every method: from their value divided by the factor to their value
multiplied by it, on a logarithmic scale."""

DIMENSIONS = 32
"""Dimensions of the Sobol sequence. Every method uses its first ones, so all methods try the same learning rates."""

DIGITS = 3
"""Significant digits of the values that are tried."""


def recipe_ranges(recipe: Recipe) -> dict[str, Range]:
    """The ranges around the values of the recipe. A weight decay of 0 has no logarithm, and is not searched."""
    values = {name: getattr(recipe, name) for name in FACTORS}
    return {
        name: Range(value / FACTORS[name], value * FACTORS[name], log=True)
        for name, value in values.items()
        if value > 0
    }


def points(count: int) -> np.ndarray:
    """The first points of a scrambled Sobol sequence, the same in every search.

    More points begin with fewer ones, so that a larger budget continues a smaller one.

    Returns:
        float64 [count, DIMENSIONS] in [0, 1).
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(DIMENSIONS, scramble=True, rng=numpy_rng(0, "search"))
    # whole powers of two: the sequence is balanced there, and scipy warns about other numbers
    return sequence.random_base2(max(1, math.ceil(math.log2(max(1, count)))))[:count]


def trials(recipe: Recipe, search: Mapping[str, Range], count: int, method: str) -> list[Variant]:
    """The trials of a method: its defaults, then points of the sequence.

    Args:
        recipe: The recipe around which the learning rate and the weight decay are searched.
        search: Ranges of the method's own settings, by name.
        count: How many trials are made.
        method: Key of the method, for messages.

    Returns:
        Variants with their number and label. A point that repeats an earlier one, as in a space of few choices, is left
        out.

    Raises:
        SpecError: There are more settings than dimensions.
    """
    shared = recipe_ranges(recipe)
    free = DIMENSIONS - len(FACTORS)
    require(len(search) <= free, f"{method}: [search] has {len(search)} settings; at most {free} can be searched")
    found: list[Variant] = []
    for point in points(count - 1) if count > 1 else []:
        own = {name: value_at(shared[name], u) for name, u in zip(FACTORS, point, strict=False) if name in shared}
        settings = {
            name: value_at(each, u) for (name, each), u in zip(search.items(), point[len(FACTORS) :], strict=False)
        }
        if not any((own, settings) == (each.recipe, each.settings) for each in found):
            found.append(Variant(settings, own))
    numbered = enumerate([Variant(), *found])
    return [Variant(each.settings, each.recipe, f"trial {n}" if n else "default", trial=n) for n, each in numbered]


def value_at(searched: Range, share: float) -> Any:
    """The value at a share in [0, 1) of a range; numbers have DIGITS significant digits and stay within the bounds."""
    if searched.choices:
        return searched.choices[int(share * len(searched.choices))]
    low, high = searched.low, searched.high
    assert low is not None and high is not None  # read_ranges requires both where there are no choices
    if isinstance(low, int) and isinstance(high, int):
        return _whole(low, high, share, searched.log)
    value = low * (high / low) ** share if searched.log else low + (high - low) * share
    return float(min(high, max(low, float(f"{value:.{DIGITS}g}"))))


def _whole(low: int, high: int, share: float, log: bool) -> int:
    """Each whole number has a part of the range, as wide as the step to the next one on the scale."""
    value = low * ((high + 1) / low) ** share if log else low + (high + 1 - low) * share
    return min(high, math.floor(value))
