"""Converts arguments of ``fer_bench.run`` and options of the command line to plain Python values.

Each is converted once, before it is used: numbers of NumPy and PyTorch become numbers of Python, text becomes a path,
``~`` the home folder, and a single value a list of one. A value that would lose something raises SpecError with the
name of the argument: a whole number is never taken from 1.0 or True.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.schema import LARGEST_INT
from fer_bench.data.options import DEDUP

T = TypeVar("T")


def to_int(value: Any, name: str) -> int:
    """A whole number of any library. Not a float and not a bool."""
    if not _is_bool(value):
        with suppress(TypeError):
            number = operator.index(value)
            require(abs(number) <= LARGEST_INT, f"{name} is too large: a whole number has at most 128 bits")
            return number
    raise SpecError(f"{name} = {value!r}: a whole number is needed")


def to_float(value: Any, name: str) -> float:
    """A finite number of any library. A float32 of 0.2 becomes 0.2, and not 0.20000000298."""
    if isinstance(value, (str, bytes)) or _is_bool(value) or not hasattr(value, "__float__"):
        raise SpecError(f"{name} = {value!r}: a number is needed")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name} = {value!r}: a number is needed") from None
    require(math.isfinite(number), f"{name} = {number} is not finite")
    if not isinstance(value, (float, int)):
        with suppress(ValueError):
            number = float(str(value))
    return number


def to_rate(value: Any, name: str) -> float:
    """A number as a person writes it, with 12 digits, so that ``numpy.arange(0, 0.4, 0.1)[3]`` is 0.3."""
    return float(f"{to_float(value, name):.12g}")


def to_bool(value: Any, name: str) -> bool:
    """True or False of any library."""
    require(_is_bool(value), f"{name} = {value!r}: True or False is needed")
    return bool(value)


def to_text(value: Any, name: str) -> str:
    """A string."""
    require(isinstance(value, str), f"{name} = {value!r}: a string is needed")
    return str(value)


def to_location(value: Any, name: str) -> str:
    """A name or a path as text; ``~`` becomes the home folder."""
    require(isinstance(value, (str, os.PathLike)), f"{name} = {value!r}: a string or a path is needed")
    text = os.fspath(value)
    require(isinstance(text, str), f"{name} = {value!r}: a path of text is needed, not of bytes")
    require(text != "", f"{name} is empty")
    return os.path.expanduser(text)  # noqa: PTH111  Path.expanduser raises RuntimeError for an unknown user


def to_path(value: Any, name: str) -> Path:
    """A path; ``~`` becomes the home folder."""
    return Path(to_location(value, name))


def to_tuple(value: Any, name: str, convert: Callable[[Any, str], T]) -> tuple[T, ...]:
    """Several values, each converted; a single value counts as one of them."""
    require(not isinstance(value, Mapping), f"{name} = {value!r}: a list is needed")
    if isinstance(value, (str, bytes, os.PathLike)):
        return (convert(value, name),)
    try:
        values = list(value)
    except TypeError:  # a number, an array without dimensions
        return (convert(value, name),)
    return tuple(convert(each, name) for each in values)


def to_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of a few words."""
    text, choices = to_text(value, name), list(choices)
    require(text in choices, f"{name} = {text!r}{nearest(text, choices)}")
    return text


def to_columns(value: Any, name: str) -> dict[str, str]:
    """Columns by role, from a mapping or from ``ROLE=COLUMN`` strings."""
    if isinstance(value, Mapping):
        return {to_text(role, name): str(column) for role, column in value.items()}
    pairs = [word.partition("=") for word in to_tuple(value, name, to_text)]
    for role, equals, column in pairs:
        require(bool(role and equals and column), f"{name} = {role!r}: ROLE=COLUMN is needed, such as path=image")
    return {role.strip(): column.strip() for role, _, column in pairs}


def to_val(value: Any, name: str) -> float | Literal["none"]:
    """A validation split: "none", a share of the training images between 0 and 1, or a number of them."""
    if value == "none":
        return "none"
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise SpecError(f"{name} = {value!r}: none, a share such as 0.1, or a number of images") from None
    share = to_rate(value, name)
    sound = 0 < share < 1 or (share >= 1 and share == int(share))
    require(sound, f"{name} = {share:g}: none, a share between 0 and 1, or a whole number of images")
    return share


def to_dedup(value: Any, name: str) -> str:
    """Which copies are left out: "exact" or "near"; True is exact, and False is "" for none."""
    if isinstance(value, str):
        return to_choice(value, name, DEDUP)
    return "exact" if to_bool(value, name) else ""


def plain(value: Any) -> Any:
    """A value of a hyper-parameter as TOML would give it: scalars of NumPy and PyTorch become scalars of Python."""
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _is_bool(value: Any) -> bool:
    """Whether it is a truth value of Python, NumPy or PyTorch."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
