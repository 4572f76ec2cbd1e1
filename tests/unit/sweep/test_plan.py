"""From a request to a plan: what is combined, what is skipped with its reason, and how the sweep is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.data.splits import make_splits
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.record import check_sweep_name
from fer_bench.sweep.request import make_request
from tests.helpers.plugins import LOSS, plugin_source

LANDMARKS = "@classmethod\ndef needs(cls, config):\n    return Needs(landmarks=True)\n" + LOSS

TRUSTED = "@classmethod\ndef needs(cls, config):\n    return Needs(trusted=0.1)\n" + LOSS


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


def test_noise_and_imbalance_are_alone_where_they_are_separate(plan_of: Any) -> None:
    specs = [run.spec for run in plan_of(noise=[0, 0.2], imbalance=[1, 10], separate=True).runs]
    assert [(spec.noise.label, spec.imbalance.factor) for spec in specs] == [
        ("clean", 1),
        ("symmetric 0.2", 1),
        ("clean", 10),
    ]


def test_every_draw_is_a_run_of_its_own_with_the_key_that_it_has_alone(plan_of: Any) -> None:
    options = {"methods": ["ce", "scn"], "noise": [0.2, 0.4], "seeds": [0, 3]}
    together = plan_of(data_seed=[0, 2, 0, 7], **options)
    alone = [run.spec.key for draw in (0, 2, 7) for run in plan_of(data_seed=draw, **options).runs]
    assert len(set(alone)) == len(alone) == 3 * 2 * 2 * 2
    assert {run.spec.key for run in together.runs} == set(alone)
    assert plan_of(data_seed=[0], **options).name == plan_of(**options).name
    names = [run.name for run in together.runs]
    assert len(set(names)) == len(names)
    assert {"ce, symmetric 0.2, seed 0", "ce, symmetric 0.2, seed 0, data seed 7"} <= set(names)


def test_every_draw_is_drawn_before_anything_is_trained(plan_of: Any) -> None:
    plan = plan_of(noise=[0.2], data_seed=[0, 1, 2], val=0.1)
    splits = [make_splits(plan.dataset, run.spec) for run in plan.runs]
    assert len({tuple(each.noisy_label) for each in splits}) == len({tuple(each.val) for each in splits}) == 3


def test_a_draw_that_draws_nothing_is_no_second_run(
    plan_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Clean labels on official splits are the same for every data seed, except for a method with trusted labels."""
    (tmp_path / "told.py").write_text(plugin_source(TRUSTED))
    plan = plan_of(methods=["ce", "told"], plugins=tmp_path, noise=[0, 0.2], data_seed=[5, 6])
    found = [(run.spec.method, run.spec.noise.label, run.spec.data_seed) for run in plan.runs]
    assert found == [
        *(("ce", "clean", 5), ("ce", "symmetric 0.2", 5), ("ce", "symmetric 0.2", 6)),
        *(("told", noise, draw) for noise in ("clean", "symmetric 0.2") for draw in (5, 6)),
    ]
    assert caplog.messages == ["clean, data seed 6: the same images and labels as data seed 5; not trained again"]
    held_out = plan_of(noise=[0], data_seed=[5, 6], val=0.2)
    assert len(held_out.runs) == 2, "other images are held out"
    part = plan_of(noise=[0], data_seed=[5, 6], train_size=30)
    assert len(part.runs) == 2, "other images are chosen"


@pytest.mark.parametrize("option", ["seeds", "data_seed"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "is empty"),
        ([0, -1], "-1: a seed is 0 or more"),
        ([0, 1.5], "1.5: a whole number"),
        (True, "a whole number"),
    ],
)
def test_seeds_that_are_none(option: str, value: Any, message: str, plan_of: Any) -> None:
    with pytest.raises(SpecError, match=message):
        plan_of(**{option: value})


def test_a_method_that_cannot_run_is_skipped_with_its_reason(plan_of: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "points.py").write_text(plugin_source(LANDMARKS))
    plan = plan_of(methods=["ce", "broken", "points"], plugins=tmp_path)
    assert [run.spec.method for run in plan.runs] == ["ce"]
    broken, points = plan.skipped
    assert broken.startswith("broken: ") and "nothing_of_this_name" in broken
    assert points.startswith("points: needs 19 landmarks a face, which ") and "data landmarks --help" in points


def test_a_method_that_learns_landmarks_takes_no_transforms(plan_of: Any, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('base = "quick"\n[augmentation]\ntransforms = ["RandomInvert(p=0.1)"]\n')
    (tmp_path / "points.py").write_text(plugin_source(LANDMARKS))
    plan = plan_of(methods=["ce", "points"], plugins=tmp_path / "points.py", preset=preset, dataset="synthetic")
    assert [run.spec.method for run in plan.runs] == ["ce"]
    assert plan.skipped == ("points: learns from landmarks, which would not move with augmentation.transforms",)


def test_the_quick_checks_come_before_the_call_back(faces_folder: Path) -> None:
    called: list[str] = []
    with pytest.raises(SpecError, match="--train-size 1 is less than one image per class"):
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
