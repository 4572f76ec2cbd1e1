"""Bounds of hyper-parameters, checked where a configuration is made."""

from __future__ import annotations


def require_range(name: str, value: float, low: float | None = None, high: float | None = None) -> None:
    """Checks that ``low <= value <= high``; a bound of None is open.

    Raises:
        ValueError: The value is outside, with the name of the setting and the range.

    >>> require_range("momentum", 1.5, 0, 1)
    Traceback (most recent call last):
    ValueError: momentum = 1.5 is out of range: it must be from 0 to 1
    """
    below = low is not None and not value >= low
    above = high is not None and not value <= high
    if below or above:
        bounds = f"{'-inf' if low is None else low} to {'inf' if high is None else high}"
        raise ValueError(f"{name} = {value!r} is out of range: it must be from {bounds}")


def require_positive(name: str, value: float) -> None:
    """Checks that ``value > 0``.

    Raises:
        ValueError: It is not, with the name of the setting.

    >>> require_positive("temperature", 0.0)
    Traceback (most recent call last):
    ValueError: temperature = 0.0 is out of range: it must be greater than 0
    """
    if not value > 0:
        raise ValueError(f"{name} = {value!r} is out of range: it must be greater than 0")
