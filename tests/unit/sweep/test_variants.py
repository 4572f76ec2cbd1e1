"""Variants of a method: varied values, settings of its own, and its own part of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.variant import Variant
from fer_bench.plugins.registry import Plugin
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import Request, make_request
from fer_bench.sweep.variants import varied_by_method
from tests.helpers.plugins import LOSS

BODY = (
    LOSS
    + """
@dataclass(frozen=True)
class Config:
    lam: float = hparam(1.0, "weight")
    variant: str = hparam("a", "which")
"""
)


@pytest.fixture
def request_for(toy: Callable[..., Plugin], faces_folder: Path) -> Callable[..., Request]:
    plugin = toy("mine", BODY)

    def make(methods: str = "mine", **options: Any) -> Request:
        usual = {"epochs": 1, "image_size": 32, "plugins": [str(plugin.path)]}
        return make_request(methods=methods.split(","), dataset=str(faces_folder), **{**usual, **options})

    return make


def settings(plan: Plan) -> list[tuple[Any, ...]]:
    return [(run.spec.config["lam"], run.spec.config["variant"], run.spec.recipe.lr) for run in plan.runs]


def test_every_combination_of_varied_values_is_a_run(request_for: Callable[..., Request]) -> None:
    plan = make_plan(request_for(vary=["mine.lam=0,0.5", "mine.variant=a,b", "mine.lr=0.01"]))
    assert settings(plan) == [(0.0, "a", 0.01), (0.0, "b", 0.01), (0.5, "a", 0.01), (0.5, "b", 0.01)]
    assert plan.runs[1].name == "mine (lam=0, variant=b, lr=0.01), clean, seed 0"
    assert len({run.spec.key for run in plan.runs}) == 4
    same = request_for(vary={"mine": {"lam": [0, 0.5], "variant": ["a", "b"], "lr": [0.01]}})
    assert [run.spec.key for run in make_plan(same).runs] == [run.spec.key for run in plan.runs]


def test_a_run_with_varied_values_is_the_run_with_the_same_settings(request_for: Callable[..., Request]) -> None:
    varied, fixed = make_plan(request_for(vary=["mine.lam=0.5,1"])), make_plan(request_for(settings=["mine.lam=0.5"]))
    assert varied.runs[0].spec.key == fixed.runs[0].spec.key
    assert varied.runs[1].spec.key == make_plan(request_for()).runs[0].spec.key, "1 is the default"


def test_the_other_methods_of_a_sweep_are_not_varied(request_for: Callable[..., Request]) -> None:
    plan = make_plan(request_for("ce,mine", vary=["mine.lam=0,1,2"]))
    assert [run.spec.method for run in plan.runs] == ["ce", "mine", "mine", "mine"]


def test_a_method_can_have_its_own_learning_rate(request_for: Callable[..., Request]) -> None:
    plan = make_plan(request_for("ce,mine", settings=["mine.lr=0.5", "mine.weight_decay=0"], lr=0.25))
    ce, mine = (run.spec.recipe for run in plan.runs)
    assert (ce.lr, mine.lr, mine.weight_decay) == (0.25, 0.5, 0.0)
    assert replace(mine, lr=ce.lr, weight_decay=ce.weight_decay) == ce, "everything else is shared"
    assert plan.runs[1].variant == Variant({}, {"lr": 0.5, "weight_decay": 0.0})


def test_a_setting_of_the_method_comes_before_one_of_the_recipe(toy: Callable[..., Plugin], faces_folder: Path) -> None:
    body = LOSS + '@dataclass(frozen=True)\nclass Config:\n    lr: float = hparam(1.0, "of an optimizer of its own")\n'
    request = Request(["own"], str(faces_folder), plugins=[str(toy("own", body).path)], settings={"own": {"lr": 3.0}})
    spec = make_plan(request).runs[0].spec
    assert spec.config == {"lr": 3.0} and spec.recipe.lr != 3.0


def test_variants_that_are_one_run_are_trained_once(request_for: Callable[..., Request]) -> None:
    assert len(make_plan(request_for(vary=["mine.lam=1,1.0,2"])).runs) == 2
    request = replace(request_for(), variants={"mine": [Variant(trial=0), Variant({"lam": 1}, trial=1)]})
    assert [run.variant.trial for run in make_plan(request).runs] == [0]


def test_held_out_images_are_in_the_spec(request_for: Callable[..., Request]) -> None:
    official, held_out = request_for(), replace(request_for(), val=0.1)
    assert make_plan(official).runs[0].spec.validation == "official"
    assert make_plan(held_out).runs[0].spec.validation == "held-out"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("m.x=0,0.5,1", [0, 0.5, 1]),
        ("m.x=a,b", ["a", "b"]),
        ("m.x=true,a,1", [True, "a", 1]),
        ("m.x=true,1", [True, 1]),
        ("m.x=[1,2],[3]", [[1, 2], [3]]),
        ('m.x="a,b","c"', ["a,b", "c"]),
        ("m.x=0.5, 0.50,0.5", [0.5]),
    ],
)
def test_values_are_read_as_toml_or_as_bare_words(text: str, values: list[Any]) -> None:
    found = varied_by_method([text])["m"]["x"]
    assert found == values and [type(v) for v in found] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vary": ["mine.lam"]}, r"--vary 'mine.lam' is not of the form method\.field=value,value"),
        ({"vary": ["mine.lam="]}, r"--vary 'mine.lam=' is not of the form"),
        ({"vary": ["lam=1,2"]}, r"--vary 'lam=1,2' is not of the form"),
        ({"vary": ["mine.variant=a,,b"]}, r"a value between commas is missing"),
        ({"vary": ["mine.lam=1,2", "mine.lam=3"]}, r"mine\.lam is varied twice"),
        ({"vary": {"mine": {"lam": 1.0}}}, r"vary\['mine'\]\['lam'\] = 1.0: a list of values is needed"),
        ({"vary": ["mien.lam=1,2"]}, r"--vary mien\.…: unknown method 'mien'; did you mean 'mine'"),
        ({"vary": ["ce.lr=1,2"]}, r"--vary ce\.…: ce is not among --methods mine"),
        ({"vary": ["mine.lamb=1,2"]}, r"mine has no setting 'lamb'; did you mean 'lam'"),
        ({"vary": ["mine.lam=1,x"]}, r"mine\.lam = 'x' is not of type float"),
        ({"vary": ["mine.lr=1,x"]}, r"mine\.lr = 'x' is not of type float"),
        ({"vary": ["mine.lr=0"]}, r"mine: lr = 0\.0 is not a positive number"),
        ({"vary": ["mine.lam=1,2"], "settings": ["mine.lam=3"]}, r"--set mine\.lam and --vary mine\.lam: leave one"),
    ],
)
def test_wrong_values_are_named(options: dict[str, Any], message: str, request_for: Callable[..., Request]) -> None:
    with pytest.raises(SpecError, match=message):
        make_plan(request_for(**options))
