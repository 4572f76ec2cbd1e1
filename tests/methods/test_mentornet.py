"""MentorNet: what its formulas imply, on tiny networks; and its variant 'dd' in the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fer_bench_methods.mentornet as mentornet
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench import ops
from fer_bench.data.splits import Splits
from fer_bench.method import Batch
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import Bench, Seen
from fer_bench.testing.checks import CHECKS
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    B,
    C,
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
    number,
    parameters_of,
    unchanged,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "self_paced"},
    {"variant": "spcl_linear", "gamma": 2.0, "start": "zero"},
    {"variant": "focal_loss", "sampling": "actual", "dropout": "0.5,100"},
    {"variant": "hard_example", "start": "first"},
    {"variant": "baseline", "sampling": "binary", "scale_weight_decay": False},
    {"burn_in": 18, "fixed_after_burn_in": True, "percentile": 0.5, "decay": 0.9},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(mentornet.Mentornet, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("percentile", 1.5),
        ("decay", -0.1),
        ("gamma", 0.0),
        ("burn_in", 101),
        ("mentor_steps", 0),
        ("dropout", "1.5,100"),
        ("trusted", 0.0),
        ("dump_percentile", 1.5),
    ],
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(mentornet.Mentornet, name, value)


def curve(variant: Any, gamma: float | None = None, percent: int = 50, ema: float = 1.0) -> Tensor:
    loss = torch.linspace(0, 5, 101, dtype=torch.float64)
    return ops.curriculum(variant, loss, loss - ema, percent, gamma)


def test_curricula_are_monotone_weights() -> None:
    for variant, percent in (("self_paced", 50), ("spcl_linear", 50), ("pd", 5), ("pd", 50), ("pd", 95)):
        v = curve(variant, percent=percent)
        assert bool((v.diff() <= 0).all()) and v.min() >= 0 and v.max() <= 1
    for variant in ("focal_loss", "hard_example"):
        v = curve(variant)
        assert bool((v.diff() >= 0).all()) and v.min() >= 0 and v.max() <= 1
    assert bool((curve("baseline") == 1).all()) and bool((curve("pd", percent=18) == 1).all())
    assert torch.equal(curve("pd", percent=19), curve("self_paced"))
    assert torch.equal(curve("pd", percent=89), curve("self_paced"))
    assert torch.equal(curve("pd", percent=90), curve("spcl_linear"))
    torch.testing.assert_close(curve("focal_loss"), curve("focal_loss", 2.0))
    torch.testing.assert_close(curve("spcl_linear"), curve("spcl_linear", 1.0))
    assert number(curve("spcl_linear", 2.0).sum()) > number(curve("spcl_linear").sum())


def test_boundaries() -> None:
    zero = torch.zeros(1)
    assert number(ops.curriculum("self_paced", zero, zero, 50)) == 1
    assert number(ops.curriculum("hard_example", zero, zero, 50)) == 1
    low = torch.tensor([-1.0])
    assert number(ops.curriculum("hard_example", zero, low, 50)) == 0
    assert number(ops.curriculum("hard_example", zero, low, 50, label=torch.ones(1))) == 1


def test_percentile_and_average() -> None:
    losses = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0])
    # (7 - 1) * 0.25 = 1.5 is rounded to 2: the third largest, not the interpolated 5.5
    assert number(mentornet.nearest_percentile(losses, 0.75)) == 5
    assert (
        number(mentornet.nearest_percentile(losses, 0.0)) == 1
        and number(mentornet.nearest_percentile(losses, 1.0)) == 7
    )
    average, seen = torch.tensor(0.0), []
    for value in (4.0, 4.0, 4.0):
        average = mentornet.moving_average(average, torch.tensor(value), 0.5)
        seen.append(number(average))
    assert seen == [2.0, 3.0, 3.5]
    assert number(mentornet.moving_average(torch.tensor(float("nan")), torch.tensor(4.0), 0.5)) == 4


def test_selects_about_its_percentile() -> None:
    method = build(mentornet.Mentornet, variant="self_paced", percentile=0.7, decay=0.0)
    loss = torch.rand(64, generator=torch.Generator().manual_seed(0))
    assert abs(number(method.weights(loss, 0).mean()) - 0.7) < 0.02


def test_start_of_the_average() -> None:
    loss = torch.full((B,), 2.0) + torch.linspace(-0.1, 0.1, B)
    for options, started in (
        ({"variant": "self_paced"}, True), ({"variant": "self_paced", "start": "zero"}, False),
        ({"variant": "pd"}, False), ({"variant": "pd", "start": "first"}, True),
    ):  # fmt: skip
        method = build(mentornet.Mentornet, **options)
        method.weights(loss, 50)
        assert (number(method.average) > 1.9) == started


def test_schedules() -> None:
    rates = ops.parse_drop_rates("0.5,17,0.05,78,0.9,5")
    assert len(rates) == 100 and (rates[16], rates[17], rates[94], rates[95]) == (0.5, 0.05, 0.05, 0.9)
    for bad in ("0.5,17,0.05,82", "0.5,17,0.05", "half,100", "0.5,99.5,0.1,0.5", "-0.1,100", "0.1,120,0.2,-20", ""):
        with pytest.raises(ValueError, match="dropout = "):
            mentornet.Mentornet.Config(dropout=bad)
    assert mentornet.Mentornet.Config().dropout_spec == "0.5,17,0.05,83"
    assert mentornet.Mentornet.Config(variant="focal_loss").dropout_spec == "0.0,100"
    assert [mentornet.percent_of(s, 39000) for s in (0, 389, 390, 7019, 7020, 38999, 39000)] == [
        0,
        0,
        1,
        17,
        18,
        99,
        99,
    ]
    assert [mentornet.current_percent(p, 18, True) for p in (3, 18, 60)] == [3, 18, 18]
    assert [mentornet.current_percent(p, 18, False) for p in (3, 18, 60)] == [3, 18, 60]
    assert [p for p in range(100) if mentornet.burning_in(p, 18)] == list(range(17))
    assert not any(mentornet.burning_in(p, 0) for p in range(100))


@pytest.mark.parametrize("sampling", ["random", "binary", "actual"])
def test_drops_exactly(sampling: Any) -> None:
    v = torch.rand(12, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    for rate, count in ((0.0, 12), (0.05, 11), (0.5, 6), (0.9, 1), (1.0, 0)):
        left = ops.draw_survivors(v, ops.survivor_count(12, rate), sampling, torch.Generator().manual_seed(1))
        kept = ops.drop_others(v, left, sampling)
        assert int((kept > 0).sum()) == count == len(set(left.tolist()))
        expected = torch.ones(count) if sampling == "binary" else v[left]
        assert torch.equal(kept[left], expected)
    weights = torch.tensor([1.0] * 6 + [0.0] * 6)
    drawn = ops.draw_survivors(weights, 6, sampling, torch.Generator().manual_seed(1))
    if sampling != "random":
        assert sorted(drawn.tolist()) == [0, 1, 2, 3, 4, 5]


def test_loss_and_gradient() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    v = torch.rand(B, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    loss = mentornet.weighted_loss(F.cross_entropy(z, y, reduction="none"), v)
    grad, of_v = torch.autograd.grad(loss, (z, v), allow_unused=True)
    torch.testing.assert_close(grad, (v[:, None] / B * (F.softmax(z, 1) - F.one_hot(y, C))).detach())
    assert of_v is None
    assert number(mentornet.weighted_loss(F.cross_entropy(z, y, reduction="none"), 0 * v)) == 0


def test_burn_in_keeps_exactly_its_share() -> None:
    method = build(mentornet.Mentornet, burn_in=18, fixed_after_burn_in=True, dropout="0.5,100")
    run = TinyRun(method, epoch=1)
    logged = method.train_step(batch_for(method), run)
    assert number(logged["weight"]) == number(logged["used"]) == 0.5
    ((_, kept),) = run.selected
    assert int(kept.sum()) == B // 2
    assert not method.weights(torch.rand(B), 16).requires_grad and bool((method.weights(torch.rand(B), 16) == 1).all())


def test_percent_follows_the_steps() -> None:
    method = build(mentornet.Mentornet, variant="baseline", dropout="0.0,50,0.5,50")
    run = TinyRun(method, epoch=9)
    run.steps = 2
    assert number(method.train_step(batch_for(method), run)["weight"]) == 1
    run.stage_epoch = 10
    assert number(method.train_step(batch_for(method), run)["weight"]) == 0.5


def test_scales_weight_decay_for_one_step() -> None:
    for scale in (True, False):
        method = build(mentornet.Mentornet, variant="baseline", dropout="0.5,100", scale_weight_decay=scale)
        run, seen = TinyRun(method), []
        (group,) = run.optimizers["main"].param_groups
        group["weight_decay"] = 0.2
        step = run.optimizers["main"].step
        run.optimizers["main"].step = lambda step=step, group=group, seen=seen: (
            seen.append(group["weight_decay"]),
            step(),
        )
        method.train_step(batch_for(method), run)
        assert seen == [0.1 if scale else 0.2] and group["weight_decay"] == 0.2


def test_skips_a_step_without_weights() -> None:
    method = build(mentornet.Mentornet, dropout="1.0,100")
    run, before = TinyRun(method), parameters_of(method)
    logged = method.train_step(batch_for(method), run)
    assert not run.minimized and unchanged(method, before) and number(logged["loss"]) == 0


def test_average_is_saved() -> None:
    method = build(mentornet.Mentornet)
    method.train_step(batch_for(method), TinyRun(method))
    other = build(mentornet.Mentornet)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.average, method.average) and number(other.average) > 0


def test_with_a_network() -> None:
    method = build(mentornet.Mentornet, variant="self_paced", mentor="network", mentor_steps=100)
    run = TinyRun(method)
    before = method.mentor.hidden.clone()
    method.on_stage_start("train", run)
    assert not torch.equal(method.mentor.hidden, before) and 0 < number(method.mentor_quality) < 0.3
    fitted = method.mentor.hidden.clone()
    batch: Batch = batch_for(method)
    logged = method.train_step(batch, run)
    assert run.minimized and number(logged["mentor_error"]) == number(method.mentor_quality)
    assert torch.equal(method.mentor.hidden, fitted) and all(p.grad is None for p in method.mentor.parameters())
    trained = {id(p) for g in run.optimizers["main"].param_groups for p in g["params"]}
    assert trained == {id(p) for p in method.net.parameters()}
    v = method.weights(torch.tensor([0.1, 8.0] * 4), 50)
    assert number(v.min()) >= 0 and number(v.max()) <= 1 and v[0] > v[1]
    # the same run fits the same mentor
    again = build(mentornet.Mentornet, variant="self_paced", mentor="network", mentor_steps=100)
    again.on_stage_start("train", TinyRun(again))
    assert torch.equal(again.mentor.hidden, fitted)


# --- the data-driven variant in the engine ----------------------------------------------------------------------------

BUILT_IN = discover()["mentornet"]


@dataclass(frozen=True)
class Configured(Plugin):
    """A plugin with settings of its own in the place of its defaults."""

    settings: dict[str, Any] = field(default_factory=dict)

    def configure(self, dataset: str, noise: str, settings: Any) -> Any:
        return super().configure(dataset, noise, {**self.settings, **settings})


def dd(**settings: Any) -> Configured:
    settings = {"variant": "dd", "mentor_steps": 40, **settings}
    return Configured(BUILT_IN.key, BUILT_IN.path, BUILT_IN.origin, settings=settings)


def train(
    bench: Bench, name: str, plugin: Plugin, clean: Callable[[Splits], np.ndarray] = lambda splits: splits.clean_label
) -> tuple[RunFolder, Seen]:
    """Four epochs at 40 % noise, with other clean labels where ``clean`` gives them."""

    def change(splits: Splits) -> Splits:
        return dataclasses.replace(splits, clean_label=clean(splits))

    return bench.train(plugin, bench.spec(plugin, noise=0.4, epochs=4), name, change_splits=change)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> tuple[RunFolder, Seen]:
    return train(bench, "dd", dd(trusted=0.5))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["needs_are_honoured", "true_labels_are_out_of_reach", "trains", "resumes_exactly", "state_round_trip",
     "absent_class", "equal_labels", "clean_score"],
)  # fmt: skip
def test_the_promises_of_the_contract(name: str, bench: Bench) -> None:
    CHECKS[name](dd(), bench)


def test_mentor_is_fitted_to_what_the_first_student_lost_on_trusted_faces(whole: tuple[RunFolder, Seen]) -> None:
    folder, seen = whole
    method, splits, final = seen.method, seen.splits, folder.final
    assert final is not None
    trusted = method.task.trusted.numpy()
    assert final["clean_labels_used"] == len(trusted) == 32 and final["remarks"] == ["variant dd"]
    assert [record["stage"] for record in folder.epochs()] == ["first student"] * 2 + ["second student"] * 2
    # two of four epochs are recorded, by percentages of that student's own training
    dump = method.dump[:, :2]
    assert bool(method.dump[:, 2:].isnan().all()) and not bool(dump.isnan().any())
    assert 0 <= dump[:, 0, 1].min() <= dump[:, 0, 1].max() < 50 <= dump[:, 1, 1].min() and dump[:, 1, 1].max() < 100
    assert (dump[..., 2].numpy() == splits.noisy_label[trusted, None]).all()
    assert (dump[..., 3].numpy() == splits.clean_label[trusted, None]).all()
    fit_rows, test_rows = method.recorded(torch.Generator().manual_seed(0))
    rows = torch.cat([fit_rows, test_rows])
    assert len(fit_rows) == 51 and len(test_rows) == 13
    right = {(float(loss), target) for loss, target in rows[:, [0, 4]].tolist()}
    agree = splits.noisy_label[trusted] == splits.clean_label[trusted]
    assert right == {(float(loss), float(agree[place])) for place in range(32) for loss in dump[place, :, 4].tolist()}
    assert 0 < agree.mean() < 1 and 0 <= float(method.mentor_quality) <= 1
    assert folder.epochs()[-1]["train"]["mentor_auc"] == pytest.approx(float(method.mentor_quality))


def test_true_labels_of_other_faces_change_nothing(whole: tuple[RunFolder, Seen], bench: Bench) -> None:
    folder, seen = whole
    trusted = seen.method.task.trusted.numpy()

    def others(splits: Splits) -> np.ndarray:
        clean = (splits.clean_label + 1) % 4
        clean[trusted] = splits.clean_label[trusted]
        return clean

    def of_trusted(splits: Splits) -> np.ndarray:
        clean = splits.clean_label.copy()
        clean[trusted] = (clean[trusted] + 1) % 4
        return clean

    same, others_seen = train(bench, "others", dd(trusted=0.5), others)
    state, other_state = seen.method.state_dict(), others_seen.method.state_dict()
    assert all(torch.equal(torch.nan_to_num(state[name]), torch.nan_to_num(other_state[name])) for name in state)
    assert [r["train"] for r in same.epochs()] == [r["train"] for r in folder.epochs()]
    _, changed = train(bench, "trusted", dd(trusted=0.5), of_trusted)
    assert not torch.equal(changed.method.mentor.hidden, seen.method.mentor.hidden)
    assert torch.equal(changed.method.first.fc.weight, seen.method.first.fc.weight)


def test_only_the_second_student_answers(whole: tuple[RunFolder, Seen], bench: Bench) -> None:
    method, images = whole[1].method.eval(), bench.images(5)
    with torch.no_grad():
        assert torch.equal(method.predict(images), method.net(images))
        assert torch.equal(method.other_predictions(images)["first student"], method.first(images))
        assert not torch.equal(method.net(images), method.first(images))


def test_double_budget_is_a_whole_training_for_each_student(bench: Bench) -> None:
    folder, seen = train(bench, "double", dd(budget="double"))
    assert [record["stage"] for record in folder.epochs()] == ["first student"] * 4 + ["second student"] * 4
    assert folder.final["remarks"] == ["variant dd", "twice the epochs"]  # type: ignore[index]
    assert not bool(seen.method.dump.isnan().any()) and len(seen.method.task.trusted) == 6


def test_settings_that_differ_from_the_predefined_variant() -> None:
    config, default = dd(mentor_steps=None).configure("toy", "clean", {}), BUILT_IN.configure("toy", "clean", {})
    names = ("burn_in_until", "fixed", "has_network", "fitting_steps", "starts_at_zero", "dropout_spec")
    schedule = "0.5,17,0.05,83"
    assert [getattr(config, name) for name in names] == [18, True, True, 3000, True, schedule]
    assert [getattr(default, name) for name in names] == [0, False, False, 30000, True, schedule]
    method = BUILT_IN.load()
    assert method.needs(default).trusted == 0 and method.needs(config).trusted == 0.1
    assert list(method.remarks(default)) == ["variant pd"]
    own = dd(burn_in=5, fixed_after_burn_in=False, mentor_steps=7).configure("toy", "clean", {})
    assert (own.burn_in_until, own.fixed, own.fitting_steps) == (5, False, 7)
    with pytest.raises(ValueError, match="'dd' has none"):
        method.Config(variant="dd", mentor="closed_form")
