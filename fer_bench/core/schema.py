"""Builds dataclasses from parsed TOML and JSON, and checks the shape of JSON objects."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from fer_bench.core.errors import SpecError, nearest, require

T = TypeVar("T")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@functools.cache
def _optional(cls: type) -> dict[str, bool]:
    """Whether a field has a default, by name."""
    nothing = dataclasses.MISSING
    return {f.name: f.default is not nothing or f.default_factory is not nothing for f in dataclasses.fields(cls)}


@functools.cache
def _taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    return typing.get_origin(hint), typing.get_args(hint), dataclasses.is_dataclass(hint)


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping, strictly: unknown keys and wrong types raise SpecError that names ``where.key``."""
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy doubts that a class is hashable
    names: Mapping[str, bool] = _optional(cls)  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        if key not in names:  # the nearest name is dear to find
            raise SpecError(f"{where} has no setting {key!r}{nearest(key, names)}")
        arguments[key] = convert(hints[key], value, f"{where}.{key}")
    for name, optional in names.items():
        require(optional or name in arguments, f"{where}: {name!r} is missing")
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{where}: {error}") from None


def convert(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type, where nothing is lost by it; SpecError otherwise."""
    origin, options, nested = _taken_apart(hint)
    if nested and isinstance(value, Mapping):
        return build(hint, value, where)
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    if origin is Literal:
        if value not in options:
            raise SpecError(f"{where} = {value!r}{nearest(str(value), [str(o) for o in options])}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        return convert(next(o for o in options if o is not type(None)), value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = options[:-1] * len(value) if options[-1:] == (Ellipsis,) else options
        require(len(inner) == len(value), f"{where} = {value!r} needs {len(inner)} values")
        return tuple(convert(h, v, where) for h, v in zip(inner, value, strict=True))
    if hint is float and type(value) in (int, float):
        require(math.isfinite(value), f"{where} = {value} is not finite")
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    expected = getattr(hint, "__name__", str(hint))
    raise SpecError(f"{where} = {value!r} is not of type {expected}")


LIMIT = 1e300
"""Numbers are below it; so are they finite."""


def _are_numbers(values: list[Any]) -> bool:
    """The usual answer for a long list of numbers, without a look at each in Python."""
    return set(map(type, values)) <= {int, float} and (not values or -LIMIT < min(values) <= max(values) < LIMIT)


def schema_error(value: Any, shape: Any, where: str) -> str:
    """How a value from JSON departs from a shape, as "where: what"; "" if it fits."""
    if isinstance(shape, tuple):
        found = ""
        for each in reversed(shape):  # what is said is of the first shape
            if not (found := schema_error(value, each, where)):
                return ""
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        numbers = [each for each in value if each is not None] if shape[0] == (float, None) else value
        if shape[0] in (float, (float, None)) and _are_numbers(numbers):
            return ""
        return next(filter(None, (schema_error(each, shape[0], f"{where}[{i}]") for i, each in enumerate(value))), "")
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is no object"
        for name, inner in shape.items():
            plain = name.removesuffix("?")
            if plain in value:
                if wrong := schema_error(value[plain], inner, f"{where}: {plain}"):
                    return wrong
            elif plain == name:
                return f"{where}: {name!r} is missing"
        return ""
    if shape is None:
        return "" if value is None else f"{where} is not null"
    if shape is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and -LIMIT < value < LIMIT
        return "" if number else f"{where} = {str(value)[:40]!r} is no number"
    return "" if isinstance(value, shape) else f"{where} = {str(value)[:40]!r} is not of type {shape.__name__}"
