"""Co-teaching+: what its formulas imply, on tiny networks."""

from __future__ import annotations

import math
import warnings
from typing import Any

import fer_bench_methods.coteaching as coteaching
import fer_bench_methods.coteaching_plus as plus
import pytest
import torch
import torch.nn.functional as F

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    B,
    C,
    TinyRun,
    batch_for,
    build,
    equal_heads,
    labels,
    logits,
    number,
    parameters_of,
    task,
    unchanged,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"warmup": 0.0},
    {"warmup": 0.0, "double_softmax": True, "divide_twice": True},
    {"warmup": 0.0, "counting": "official", "schedule": "official", "when_agreed": "official"},
    {"schedule": "official_type_2", "forget_rate": 0.4, "num_gradual": 3},
    {"lr_schedule": "official", "decay_start": 5, "official_lr": 0.01},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(plus.CoteachingPlus, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warmup", -1.0), ("forget_rate", 1.5), ("num_gradual", 0), ("decay_start", -1), ("official_lr", 0.0)],
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(plus.CoteachingPlus, name, value)


def test_warm_up_is_coteaching_bit_for_bit() -> None:
    ours, theirs = build(plus.CoteachingPlus, divide_twice=True), build(coteaching.Coteaching, divide_twice=True)
    batch, runs = batch_for(ours), [TinyRun(ours, epoch=1), TinyRun(theirs, epoch=1)]
    first, second = (m.train_step(batch, r) for m, r in zip((ours, theirs), runs, strict=True))
    assert torch.equal(first["loss"], second["loss"]) and torch.equal(first["loss_b"], second["loss_b"])
    assert runs[0].minimized == runs[1].minimized and torch.equal(runs[0].selected[0][1], runs[1].selected[0][1])
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_warm_up_length() -> None:
    def length(epochs: int, **options: Any) -> int:
        return build(plus.CoteachingPlus, task(epochs=epochs), **options).warmup_epochs

    assert [length(e) for e in (2, 20, 60)] == [1, 2, 6] and length(60, warmup=0.0) == 0


def test_selects_within_the_disagreement() -> None:
    z1, z2, y = logits(0).requires_grad_(), logits(1).requires_grad_(), labels(2)
    with torch.no_grad():
        z2[:3] = z1[:3]
    members = ops.positions(ops.disagreement(z1, z2))
    ce = [F.cross_entropy(z, y, reduction="none") for z in (z1, z2)]
    count = plus.count_kept(len(members), 0.5)
    loss_1, loss_2, kept_1, kept_2 = ops.small_loss_exchange(*ce, count, members)
    assert set(kept_1.tolist()) | set(kept_2.tolist()) <= set(members.tolist()) <= set(range(3, B))
    (grad,) = torch.autograd.grad(loss_1, z1, retain_graph=True)
    assert (grad != 0).any(1).nonzero().flatten().tolist() == sorted(kept_2.tolist())
    assert loss_1 == ce[0][kept_2].mean() and loss_2 == ce[1][kept_1].mean()
    twice = ops.small_loss_exchange(*ce, count, members, divide_twice=True)
    torch.testing.assert_close(twice[0], loss_1 / count)
    # samples on which both agree change nothing
    fewer = [c[3:] for c in ce]
    assert ops.small_loss_exchange(*fewer, count, members - 3)[0] == loss_1
    # and over the whole batch it is the exchange of co-teaching
    whole = ops.small_loss_exchange(*ce, 4, torch.arange(B))
    assert all(torch.equal(a, b) for a, b in zip(whole, ops.small_loss_exchange(*ce, 4), strict=True))


def test_counts() -> None:
    assert plus.count_kept(1, 0.3) == 1 and plus.count_kept(1, 0.3, "official") == 1
    assert plus.count_kept(3, 0.9) == 1 and plus.count_kept(3, 0.9, "official") == 3
    assert plus.count_kept(10, 0.8) == 2 and plus.count_kept(10, 0.8, "official") == 1


def test_schedules() -> None:
    one, two = ([plus.ramp(e, 40, 0.45, 10, kind) for e in range(40)] for kind in ("official", "official_type_2"))
    assert one == [ops.forget_rate_at(e, 0.45, 10, schedule="official") for e in range(40)]
    assert two[:11] == pytest.approx(one[:11]) and two[-1] == pytest.approx(0.9) and two == sorted(two)
    assert plus.ramp(5, 6, 0.4, 5, "official_type_2") == 0.4
    # the ramp goes by the whole training, and a rate above 1 keeps one sample
    method = build(plus.CoteachingPlus, task(epochs=40), forget_rate=0.8, schedule="official_type_2", warmup=0.5)
    assert method.forget_rate(20) > 0.8 and method.forget_rate(39) == 1.0 and plus.count_kept(9, 1.0) == 1


def test_double_softmax_bounds_the_loss() -> None:
    z, y = logits(0, scale=50.0), labels(1)
    double = plus.cross_entropy(z, y, double_softmax=True)
    low, high = math.log(1 + (C - 1) / math.e), math.log(math.e + C - 1)
    assert (round(low, 3), round(high, 3)) == (1.165, 2.165)
    assert bool((double >= low - 1e-6).all() and (double <= high + 1e-6).all())
    torch.testing.assert_close(plus.cross_entropy(z, y), F.cross_entropy(z, y, reduction="none"))


@pytest.mark.parametrize("when_agreed", ["skip", "official"])
def test_without_disagreement(when_agreed: str) -> None:
    method = build(plus.CoteachingPlus, make_net=equal_heads, warmup=0.0, when_agreed=when_agreed)
    run, before = TinyRun(method, epoch=3), parameters_of(method)
    logged = method.train_step(batch_for(method), run)
    assert logged["disagreement"] == 0 and not any(math.isnan(number(v)) for v in logged.values())
    ((_, kept),) = run.selected
    if when_agreed == "skip":
        assert not run.minimized and unchanged(method, before) and not bool(kept.any())
        return
    assert len(run.minimized) == 2 and not unchanged(method, before) and bool(kept.all())
    # from epoch * step = 5000 on, the loss is 0
    run.epoch, run.step = 10, 500
    method.train_step(batch_for(method), run)
    assert [value for _, value in run.minimized[2:]] == [0.0, 0.0]


def test_heads_differ_and_silence_is_reported() -> None:
    method = build(plus.CoteachingPlus, warmup=0.0)
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight)
    method = build(plus.CoteachingPlus, make_net=equal_heads)
    warnings.simplefilter("error")
    for epoch in (1, 2, 3):
        run = TinyRun(method, epoch=epoch)
        method.on_epoch_start(run)
        method.train_step(batch_for(method), run)
        if epoch != method.warmup_epochs:  # during the warm-up nothing is said, and then once
            method.on_epoch_end(run)
        else:
            with pytest.warns(UserWarning, match="disagreed about 0 of 8 images in epoch 3"):
                method.on_epoch_end(run)


def test_official_learning_rate() -> None:
    method = build(plus.CoteachingPlus, lr_schedule="official")
    run = TinyRun(method, epoch=14, adam=True)
    method.on_epoch_start(run)
    assert {g["lr"] for o in run.optimizers.values() for g in o.param_groups} == {1e-3 * 6 / 12}


def test_needs_the_noise_rate_only_where_it_is_not_given() -> None:
    assert plus.CoteachingPlus.needs(plus.CoteachingPlus.Config()).noise_rate
    assert not plus.CoteachingPlus.needs(plus.CoteachingPlus.Config(forget_rate=0.3)).noise_rate
    with pytest.raises(ValueError, match="noise rate"):
        build(plus.CoteachingPlus, task(noise_rate=None)).forget_rate(0)
