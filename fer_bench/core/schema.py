"""Builds dataclasses from parsed TOML and JSON, and checks the shape of JSON objects."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from fer_bench.core.errors import SpecError, nearest, require

T = TypeVar("T")


ADDED = "added"
"""Marks the fields of :func:`added`."""


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@functools.cache
def _has_default(cls: type) -> dict[str, bool]:
    """Whether a field has a default, by name."""
    nothing = dataclasses.MISSING
    return {f.name: f.default is not nothing or f.default_factory is not nothing for f in dataclasses.fields(cls)}


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """Origin and arguments of a type, and whether it is a dataclass."""
    return typing.get_origin(hint), typing.get_args(hint), dataclasses.is_dataclass(hint)


def added(default: Any) -> Any:
    """A field that a dataclass got after the first results were stored with it.

    :func:`plain_values` leaves it out where it has its default, which is what the dataclass did before. Specifications
    from before and after are then equal, and so are their keys.
    """
    return dataclasses.field(default=default, metadata={ADDED: True})


def plain_values(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, at any depth, without added fields that have their default."""
    values = {}
    for each in dataclasses.fields(value):
        item = getattr(value, each.name)
        if not (ADDED in each.metadata and item == each.default):
            values[each.name] = plain_values(item) if dataclasses.is_dataclass(item) else item
    return values


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Builds a dataclass from a mapping.

    Args:
        cls: The dataclass.
        values: Its fields by name.
        where: What messages call the mapping.

    Raises:
        SpecError: A key is unknown or missing, or a value has the wrong type; the message names ``where.key``.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy doubts that a class is hashable
    names: Mapping[str, bool] = _has_default(cls)  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        if key not in names:  # checked first, because the nearest name is slow to find
            raise SpecError(f"{where} has no setting {key!r}{nearest(key, names)}")
        arguments[key] = convert(hints[key], value, f"{where}.{key}")
    for name, optional in names.items():
        require(optional or name in arguments, f"{where}: {name!r} is missing")
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{where}: {error}") from None


def require_complete(cls: type, values: Mapping[str, Any], where: str) -> None:
    """Raises SpecError for a field of a dataclass, at any depth, that a mapping does not name; added ones may lack."""
    optional = {each.name for each in dataclasses.fields(cls) if ADDED in each.metadata}
    for name, hint in sorted(_hints(cls).items()):
        if name in optional:
            continue
        require(name in values, f"{where}: {name!r} is missing")
        if _parts(hint)[2]:
            require_complete(hint, values[name], f"{where}.{name}")


def convert(hint: Any, value: Any, where: str) -> Any:
    """Converts a value to the annotated type where nothing is lost: an int to a float, a list to a tuple.

    Raises:
        SpecError: The value does not fit the type; the message begins with ``where``.
    """
    origin, options, is_dataclass = _parts(hint)
    if is_dataclass and isinstance(value, Mapping):
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
        return _convert_tuple(options, value, where)
    return _convert_scalar(hint, value, where)


def _convert_tuple(options: tuple[Any, ...], values: Sequence[Any], where: str) -> tuple[Any, ...]:
    inner = options[:-1] * len(values) if options[-1:] == (Ellipsis,) else options
    require(len(inner) == len(values), f"{where} = {values!r} needs {len(inner)} values")
    return tuple(convert(hint, value, where) for hint, value in zip(inner, values, strict=True))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    """Takes numbers of numpy as well; a bool is no number."""
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    require(
        not is_int or -LARGEST_INT <= value <= LARGEST_INT, f"{where} is too large: a whole number has at most 128 bits"
    )
    if hint is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        require(math.isfinite(value), f"{where} = {value} is not finite")
        return float(value) + 0.0  # -0.0 is 0.0
    if hint is int and is_int:
        return int(value)
    if hint in (str, bool) and type(value) is hint:
        return value
    raise SpecError(f"{where} = {value!r} is not of type {getattr(hint, '__name__', str(hint))}")


LARGEST_INT = 2**128 - 1
"""Largest whole number, of either sign, that a setting may be: seeds of other programs have up to 128 bits."""

LIMIT = 1e300
"""Numbers from JSON are below it, and so are finite."""


def _are_numbers(values: list[Any]) -> bool:
    """Answers for a long list of numbers without a loop in Python."""
    return set(map(type, values)) <= {int, float} and (not values or -LIMIT < min(values) <= max(values) < LIMIT)


def schema_error(value: Any, shape: Any, where: str) -> str:
    """Says how a value from JSON departs from a shape, as "where: what"; "" if it fits.

    Args:
        value: What JSON gave.
        shape: A type (float for any number), None for null, a list of one shape for a list, a dict for an object (a
            name that ends in "?" is optional), or a tuple of alternatives; the message is about the first.
        where: What the message calls the value.
    """
    if isinstance(shape, tuple):
        errors = [schema_error(value, each, where) for each in shape]
        return "" if "" in errors else errors[0]
    if isinstance(shape, list):
        return _list_error(value, shape[0], where)
    if isinstance(shape, dict):
        return _object_error(value, shape, where)
    if shape is None:
        return "" if value is None else f"{where} is not null"
    if shape is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and -LIMIT < value < LIMIT
        return "" if is_number else f"{where} = {str(value)[:40]!r} is not a number"
    return "" if isinstance(value, shape) else f"{where} = {str(value)[:40]!r} is not of type {shape.__name__}"


def _list_error(value: Any, shape: Any, where: str) -> str:
    if not isinstance(value, list):
        return f"{where} is no list"
    present = [each for each in value if each is not None] if shape == (float, None) else value
    if shape in (float, (float, None)) and _are_numbers(present):
        return ""
    return next(filter(None, (schema_error(each, shape, f"{where}[{i}]") for i, each in enumerate(value))), "")


def _object_error(value: Any, shape: Mapping[str, Any], where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is no object"
    for name, inner in shape.items():
        plain = name.removesuffix("?")
        if plain not in value and plain == name:
            return f"{where}: {name!r} is missing"
        if plain in value and (wrong := schema_error(value[plain], inner, f"{where}: {plain}")):
            return wrong
    return ""
