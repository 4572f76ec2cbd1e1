"""A method that a sweep trains, with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_bench.core.spec import Recipe
from fer_bench.core.variant import Variant
from fer_bench.plugins.registry import Plugin

if TYPE_CHECKING:
    from fer_bench.method import Needs


@dataclass(frozen=True)
class ChosenMethod:
    """A variant of a method that can run on the data set.

    ``configs`` are its settings by noise (:attr:`Noise.label`), ``recipe`` is what it is trained with.
    """

    plugin: Plugin
    variant: Variant
    recipe: Recipe
    configs: Mapping[str, Any]
    needs: Needs
