"""Bounds of hyper-parameters, checked where a configuration is made."""

from __future__ import annotations


def require_range(name: str, value: float, low: float | None = None, high: float | None = None) -> None:
    """ValueError that names the field, its value and the range unless ``low <= value <= high``; None is open."""
    below = low is not None and not value >= low
    above = high is not None and not value <= high
    if below or above:
        bounds = f"{'-inf' if low is None else low} to {'inf' if high is None else high}"
        raise ValueError(f"{name} = {value!r} is out of range: it must be from {bounds}")


def require_positive(name: str, value: float) -> None:
    """ValueError that names the field and its value unless ``value > 0``."""
    if not value > 0:
        raise ValueError(f"{name} = {value!r} is out of range: it must be greater than 0")
