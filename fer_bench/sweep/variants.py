"""Variants of a method from the options of a sweep: ``--set`` and ``--vary``."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fer_bench.core.errors import SpecError, require
from fer_bench.core.schema import convert
from fer_bench.core.variant import OWN_RECIPE, Variant


def variant_from(values: Mapping[str, Any], method: str, config_class: type) -> Variant:
    """A variant from values by name, which are fields of ``Config`` or settings of OWN_RECIPE.

    A name that is both is the field of ``Config``.

    Raises:
        SpecError: A value of the recipe has the wrong type. Other names and values are checked with the whole Config.
    """
    fields = {each.name for each in dataclasses.fields(config_class)}
    own = {name for name in values if name in OWN_RECIPE and name not in fields}
    recipe = {name: convert(float, values[name], f"{method}.{name}") for name in own}
    return Variant({name: value for name, value in values.items() if name not in own}, recipe)


def combinations(varied: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of varied values, the last name fastest; one empty combination where nothing is varied."""
    return [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]


def label_of(values: Mapping[str, Any]) -> str:
    """Values by name on one line: "lam=0.5, variant=b"."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def varied_by_method(assignments: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Reads ``--vary METHOD.FIELD=VALUE,VALUE,…``: the values by method and field.

    Values are TOML; a bare word is a string. Values that are repeated count once.

    Raises:
        SpecError: A text has another form, or names a field that another one has named.
    """
    varied: dict[str, dict[str, list[Any]]] = {}
    for text in assignments:
        target, equals, listed = text.partition("=")
        method, dot, name = target.strip().partition(".")
        form = bool(equals and dot and method and name and listed.strip())
        require(form, f"--vary {text!r} is not of the form method.field=value,value,…")
        require(name not in varied.get(method, {}), f"--vary {text!r}: {method}.{name} is varied twice")
        values = _values(listed, text)
        varied.setdefault(method, {})[name] = [v for n, v in enumerate(values) if _differs(v, values[:n])]
    return varied


def _values(listed: str, text: str) -> list[Any]:
    try:
        return list(tomllib.loads(f"x = [{listed}]")["x"])
    except tomllib.TOMLDecodeError:
        pass
    values: list[Any] = []
    for part in map(str.strip, listed.split(",")):
        if not part:
            raise SpecError(f"--vary {text!r}: a value between commas is missing")
        try:
            values.append(tomllib.loads(f"x = {part}")["x"])
        except tomllib.TOMLDecodeError:
            values.append(part)
    return values


def _differs(value: Any, others: Sequence[Any]) -> bool:
    """Whether a value is none of the others; true is not 1."""
    return not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in others)
