"""From a request to a plan: what is combined, what is skipped with its reason, and how the sweep is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.record import check_sweep_name
from fer_bench.sweep.request import make_request
from tests.helpers.plugins import LOSS, plugin_source

LANDMARKS = "@classmethod\ndef needs(cls, config):\n    return Needs(landmarks=True)\n" + LOSS


@pytest.fixture
def plan_of(faces_folder: Path) -> Any:
    def make(**options: Any) -> Plan:
        return make_plan(make_request(**{"methods": "ce", "dataset": faces_folder, "image_size": 32, **options}))

    return make


def test_every_combination_is_planned_once(plan_of: Any) -> None:
    plan = plan_of(methods=["ce", "scn"], noise=[0.2, 0, 0.2], imbalance=[1, 10], seeds=[0, 1, 0])
    specs = [run.spec for run in plan.runs]
    assert len({spec.key for spec in specs}) == len(specs) == 2 * 2 * 2 * 2
    assert {(spec.method, spec.noise.label, spec.imbalance.factor, spec.seed) for spec in specs} == {
        (method, noise, factor, seed)
        for method in ("ce", "scn") for noise in ("clean", "symmetric 0.2") for factor in (1, 10) for seed in (0, 1)
    }  # fmt: skip


def test_a_method_that_cannot_run_is_skipped_with_its_reason(plan_of: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "points.py").write_text(plugin_source(LANDMARKS))
    plan = plan_of(methods=["ce", "broken", "points"], plugins=tmp_path)
    assert [run.spec.method for run in plan.runs] == ["ce"]
    broken, points = plan.skipped
    assert broken.startswith("broken: ") and "nothing_of_this_name" in broken
    assert points.startswith("points: needs 19 landmarks a face, which ") and "data landmarks --help" in points


def test_the_quick_checks_come_before_the_call_back(faces_folder: Path) -> None:
    called: list[str] = []
    with pytest.raises(SpecError, match="--train-size 1 is less than one image a class"):
        make_plan(make_request(methods="ce", dataset=faces_folder, train_size=1), on_checked=lambda: called.append("x"))
    assert called == []
    make_plan(make_request(methods="ce", dataset=faces_folder, image_size=32), on_checked=lambda: called.append("x"))
    assert called == ["x"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("synthetic", "synthetic"),
        ("data/my faces (1).csv", "my faces (1)"),
        ("/data/.hidden", "hidden"),
        ("-rf", "rf"),
        ("a\tb\nc\x1b", "a b c_x1b"),
        ("\u8868" * 200, "\u8868" * 60),
        ("\udcff", "_xff"),
        ("...", "data"),
    ],
)
def test_every_data_set_gives_a_name_that_a_sweep_can_have(name: str, stem: str, plan_of: Any) -> None:
    plan = plan_of()
    object.__setattr__(plan.dataset, "name", name)
    assert plan.name.rpartition("-")[0] == stem and len(plan.name) == len(stem) + 9
    check_sweep_name(plan.name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "-x", ".x", "a\nb", "a\x1b", "right\u202eleft", "x" * 201]
)
def test_a_name_that_no_sweep_can_have(name: str) -> None:
    with pytest.raises(SpecError, match="--name"):
        check_sweep_name(name)


def test_a_plan_is_called_alike_in_any_order(plan_of: Any) -> None:
    assert plan_of(seeds=[0, 1]).name == plan_of(seeds=[1, 0]).name != plan_of(seeds=[0]).name
