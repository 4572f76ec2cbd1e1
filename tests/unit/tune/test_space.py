"""Search spaces: ranges around the recipe, points that are nested and shared, values that are readable."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.plugins.ranges import Range
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.tune.space import DIMENSIONS, FACTORS, points, recipe_ranges, trials, value_at

RECIPE = Recipe(lr=1e-3, weight_decay=1e-4)
LAM = {"lam": Range(0.1, 10.0, log=True)}


def test_learning_rate_and_weight_decay_are_searched_around_the_recipe() -> None:
    ranges = recipe_ranges(RECIPE)
    assert list(ranges) == ["lr", "weight_decay"]
    assert ranges["lr"].low == pytest.approx(1e-3 / FACTORS["lr"]) and ranges["lr"].log
    assert ranges["weight_decay"].high == pytest.approx(1e-4 * FACTORS["weight_decay"])
    assert list(recipe_ranges(Recipe(weight_decay=0.0))) == ["lr"], "0 has no logarithm"


def test_more_points_begin_with_fewer_and_fill_the_space() -> None:
    few, many = points(5), points(64)
    assert few.shape == (5, DIMENSIONS) and np.array_equal(few, many[:5])
    assert np.array_equal(points(64), many), "the sequence is the same in every search"
    assert many.min() >= 0 and many.max() < 1
    for column in many.T:
        assert np.array_equal(np.sort(np.floor(column * 64)), np.arange(64)), "one point in every 64th of an axis"


def test_the_first_trial_is_the_default_and_all_methods_share_learning_rates() -> None:
    plain, own = trials(RECIPE, {}, 6, "ce"), trials(RECIPE, LAM, 6, "mine")
    assert plain[0].settings == plain[0].recipe == {} and plain[0].label == "default"
    assert [each.trial for each in own] == list(range(6)) and own[3].label == "trial 3"
    assert [each.recipe for each in plain] == [each.recipe for each in own]
    assert all(set(each.settings) == {"lam"} for each in own[1:]) and not any(each.settings for each in plain)
    assert trials(RECIPE, LAM, 3, "mine") == own[:3]
    assert trials(RECIPE, LAM, 1, "mine") == own[:1]


def test_a_point_that_repeats_another_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_bench.tune.space.recipe_ranges", lambda recipe: {})
    found = trials(RECIPE, {"plus": Range(choices=(False, True))}, 20, "mine")
    assert [each.settings for each in found[:1]] == [{}] and len(found) == 3
    assert [each.trial for each in found] == [0, 1, 2]


def test_values_stay_within_their_bounds_and_have_three_digits() -> None:
    shares = np.linspace(0, 1, 1000, endpoint=False)
    logarithmic = [value_at(Range(0.0123456, 4.56789, log=True), u) for u in shares]
    assert min(logarithmic) == 0.0123456 and max(logarithmic) <= 4.56789
    assert all(value == float(f"{value:.3g}") for value in logarithmic if value != 0.0123456)
    assert np.median(logarithmic) == pytest.approx(math.sqrt(0.0123456 * 4.56789), rel=0.01)
    assert np.mean([value_at(Range(0.0, 2.0), u) for u in shares]) == pytest.approx(1.0, abs=0.01)


def test_whole_numbers_are_all_tried_alike() -> None:
    shares = np.linspace(0, 1, 1000, endpoint=False)
    values, counts = np.unique([value_at(Range(2, 5), u) for u in shares], return_counts=True)
    assert values.tolist() == [2, 3, 4, 5] and counts.tolist() == [250] * 4
    assert isinstance(value_at(Range(2, 5), 0.3), int)
    logarithmic = [value_at(Range(1, 100, log=True), u) for u in shares]
    assert {1, 100} <= set(logarithmic) <= set(range(1, 101))
    assert sum(value < 10 for value in logarithmic) == pytest.approx(500, abs=15)


def test_choices_keep_their_type_and_order() -> None:
    choices = Range(choices=("a", True, 2))
    assert [value_at(choices, u) for u in (0.0, 0.34, 0.99)] == ["a", True, 2]


def test_a_space_with_too_many_settings_is_refused() -> None:
    space = {f"s{number}": Range(0.0, 1.0) for number in range(DIMENSIONS)}
    with pytest.raises(SpecError, match=r"mine: \[search\] has 32 settings; at most 30 can be searched"):
        trials(RECIPE, space, 2, "mine")


@pytest.mark.parametrize("plugin", discover().values(), ids=lambda plugin: plugin.key)
def test_built_in_methods_take_every_point_of_their_space(plugin: Plugin) -> None:
    for each in trials(load_preset("quick"), plugin.search, 64, plugin.key):
        plugin.configure("none", "clean", each.settings)
