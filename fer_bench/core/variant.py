"""A variant of a method: settings that replace its defaults in some runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OWN_RECIPE = ("lr", "weight_decay")
"""Settings of the recipe that a method may have for itself. Everything else of a recipe is equal for all methods."""


@dataclass(frozen=True)
class Variant:
    """What replaces the defaults of a method and of the recipe in some runs of a sweep.

    Attributes:
        settings: Hyper-parameters of the method, by name.
        recipe: Settings of the recipe for this method alone, by name; see OWN_RECIPE.
        label: What tells it from other variants of the method, for people: "lam=0.5", "trial 3".
        note: Where its settings come from, for the marks of tables; "" for the defaults and for ``--set``.
        trial: Number of the trial in a search, 0 for the defaults; None outside of a search.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    note: str = ""
    trial: int | None = None

    def over(self, base: Variant) -> Variant:
        """This variant on top of another one, whose note it keeps."""
        settings, recipe = {**base.settings, **self.settings}, {**base.recipe, **self.recipe}
        return replace(self, settings=settings, recipe=recipe, note=base.note)
