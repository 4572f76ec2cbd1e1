"""Numbers for the page: short, and never NaN, which JSON has not."""

from __future__ import annotations

import math
from typing import Any


def rounded(value: Any, digits: int) -> Any:
    """A float with so many digits behind the point; None for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = round(float(value), digits)
    return int(short) if short == int(short) else short


def percent(value: Any) -> Any:
    """A fraction in per cent, with digits enough that what is shown of it is rounded once."""
    return None if value is None else rounded(100 * value, 6)
