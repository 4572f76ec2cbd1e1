"""The plan of a tuning: equal budgets, studies with their own draws, and conditions that share one setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.launch.job import request_for_run
from fer_bench.plugins.registry import Plugin
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import make_request
from fer_bench.tune.plan import FIRST_STUDY, Search, make_tuning
from fer_bench.tune.space import trials
from tests.helpers.plugins import LOSS

BODY = (
    LOSS
    + """
@dataclass(frozen=True)
class Config:
    lam: float = hparam(1.0, "weight")
    dear: bool = hparam(False, "twice the images")

@classmethod
def needs(cls, config):
    return Needs(forwards=4.0 if config.dear else 2.0)
"""
)


@pytest.fixture
def ask(toy: Callable[..., Plugin], faces_folder: Path) -> Callable[..., Plan]:
    """``ask(methods, search, **options)``: the plan of a tuning; ``mine`` forwards each image twice."""
    plugin = toy("mine", BODY)
    plugin.path.with_suffix(".toml").write_text("[search]\nlam = { low = 0.1, high = 10.0, log = true }\n")

    def make(methods: str = "mine", search: Search = Search(2, 1), **options: Any) -> Plan:  # noqa: B008
        usual = {"noise": 0.4, "epochs": 1, "image_size": 32, "plugins": [str(plugin.path)]}
        return make_tuning(
            make_request(methods=methods.split(","), dataset=str(faces_folder), **{**usual, **options}), search
        )

    return make


def numbers(plan: Plan, method: str) -> list[int]:
    return sorted({run.variant.trial for run in plan.runs if run.spec.method == method})  # type: ignore[type-var]


def test_a_method_that_forwards_twice_has_half_of_the_trials(ask: Callable[..., Plan]) -> None:
    plan = ask("ce,mine", Search(budget=7.5, studies=1))
    assert numbers(plan, "ce") == list(range(7)) and numbers(plan, "mine") == [0, 1, 2]
    assert plan.tuning == {"budget": 7.5, "studies": 1} and plan.name.startswith("tune-faces-")


def test_the_cost_of_a_trial_may_depend_on_the_epochs(ask: Callable[..., Plan], toy: Callable[..., Plugin]) -> None:
    growing = toy("growing", BODY.replace("4.0 if config.dear else 2.0", "lambda epochs: 1 + epochs"))
    growing.path.with_suffix(".toml").write_text("")

    def trials(epochs: int) -> list[int]:
        return numbers(ask("growing", Search(8, 1), epochs=epochs, plugins=[str(growing.path)]), "growing")

    assert trials(1) == [0, 1, 2, 3] and trials(3) == [0, 1]


def test_a_larger_budget_continues_a_smaller_one(ask: Callable[..., Plan]) -> None:
    small, large = (ask(search=Search(budget, 2)) for budget in (4, 9))
    assert {run.spec.key for run in small.runs} < {run.spec.key for run in large.runs}


def test_the_cost_of_a_trial_is_that_of_its_settings(ask: Callable[..., Plan], toy: Callable[..., Plugin]) -> None:
    path = toy("mine", BODY).path.with_suffix(".toml")
    path.write_text("[search]\ndear = { choices = [false, true] }\nlam = { low = 0.1, high = 10.0 }\n")
    plan = ask(search=Search(20, 1))
    costs = [4.0 if run.spec.config["dear"] else 2.0 for run in plan.runs]
    assert {2.0, 4.0} == set(costs) and 16 < sum(costs) <= 20


def test_the_defaults_are_always_tried(ask: Callable[..., Plan]) -> None:
    plan = ask(search=Search(3, 1))
    assert numbers(plan, "mine") == [0]
    default = replace(plan.request, methods=("mine",), variants={})
    by_hand = make_plan(default)
    assert plan.runs[0].spec.key == by_hand.runs[0].spec.key, "the run of the same settings without a tuning"


def test_every_study_has_its_own_draw_and_seed(ask: Callable[..., Plan]) -> None:
    plan = ask(search=Search(4, 3))
    assert Counter((run.spec.data_seed, run.spec.seed) for run in plan.runs) == {
        (FIRST_STUDY + study, FIRST_STUDY + study): 2 for study in range(3)
    }
    assert {run.spec.validation for run in plan.runs} == {"held-out"}
    of_trial = [run.spec for run in plan.runs if run.variant.trial == 1]
    assert len({(str(spec.config), spec.recipe) for spec in of_trial}) == 1, (
        "a trial is the same setting in all studies"
    )


def test_trials_are_those_of_the_space(ask: Callable[..., Plan]) -> None:
    plan = ask(search=Search(6, 1), lr=0.1)
    found = [(run.spec.config["lam"], run.spec.recipe.lr) for run in plan.runs]
    expected = trials(plan.runs[0].spec.recipe, plan.runs[0].plugin.search, 3, "mine")
    assert found == [(1.0, 0.1), *((each.settings["lam"], each.recipe["lr"]) for each in expected[1:])]


@pytest.mark.parametrize(
    ("options", "separate", "conditions"),
    [
        (
            {"noise": [0, 0.4], "imbalance": [1, 2]},
            False,
            {("none", 1), ("none", 2), ("symmetric", 1), ("symmetric", 2)},
        ),
        ({"noise": [0, 0.4], "imbalance": [1, 2]}, True, {("none", 1), ("none", 2), ("symmetric", 1)}),
        ({"noise": [0.4], "imbalance": [2]}, True, {("none", 2), ("symmetric", 1)}),
        ({"noise": None, "imbalance": [2]}, False, {("none", 2)}),
    ],
)
def test_conditions(ask: Callable[..., Plan], options: dict, separate: bool, conditions: set) -> None:  # type: ignore[type-arg]
    plan = ask(search=Search(4, 1), separate=separate, **options)
    found = Counter((run.spec.noise.kind, run.spec.imbalance.factor) for run in plan.runs)
    assert set(found) == conditions and set(found.values()) == {2}


def test_a_setting_that_is_not_searched_can_be_fixed(ask: Callable[..., Plan]) -> None:
    plan = ask(search=Search(8, 1), settings=["mine.dear=true"])
    assert [run.spec.config["dear"] for run in plan.runs] == [True, True]
    with pytest.raises(SpecError, match=r"--set mine\.lam: this setting is searched, and cannot be fixed"):
        ask(settings=["mine.lam=2"])
    with pytest.raises(SpecError, match=r"--set mine\.lr: this setting is searched, and cannot be fixed"):
        ask(settings=["mine.lr=2"])


def test_a_first_stage_that_another_trial_trains_is_shared(ask: Callable[..., Plan]) -> None:
    plan = ask("ce,crt", Search(3, 2), epochs=2)
    keys = {run.spec.key: run for run in plan.runs}
    shared = [run.first_stage_of.key for run in plan.runs if run.first_stage_of]
    assert shared and set(shared) <= set(keys), "all methods try the same learning rates"
    assert all(keys[key].keep_networks for key in shared)


def test_a_broken_method_is_skipped_with_its_reason(ask: Callable[..., Plan], toy: Callable[..., Plugin]) -> None:
    toy("mine", BODY).path.with_suffix(".toml").write_text("[search]\nlamb = { low = 0.1, high = 10.0 }\n")
    plan = ask("ce,mine")
    assert [run.spec.method for run in plan.runs] == ["ce", "ce"]
    assert "has no setting 'lamb'; did you mean 'lam'" in plan.skipped[0]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ((1, 3), r"--budget 1 is out of range: 2 \(the defaults and one trial\) to 10,000"),
        ((float("nan"), 3), r"--budget nan is out of range"),
        ((1e9, 3), r"--budget 1e\+09 is out of range"),
        ((15, 0), r"--studies 0 is out of range: 1 to 100"),
    ],
)
def test_numbers_out_of_range_are_refused(search: tuple[float, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Search(*search)


def test_a_request_of_one_run_gives_the_same_run(ask: Callable[..., Plan]) -> None:
    plan = ask("ce,mine", Search(4, 2), noise=[0.4], imbalance=[2], separate=True)
    for run in plan.runs[:: len(plan.runs) // 6]:
        assert run.spec.key in {each.spec.key for each in make_plan(request_for_run(plan.request, run.spec)).runs}
