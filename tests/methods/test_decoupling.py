"""Decoupling "when to update" from "how to update": what its formulas imply, on tiny networks."""

from __future__ import annotations

import io
from typing import Any

import fer_bench_methods.decoupling as decoupling
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
    unchanged,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"warmup": 0.0, "min_ratio": 0.0},
    {"class_balance": True},
    {"lr_schedule": "official", "official_lr": 0.01, "official_lr_steps": 2},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(decoupling.Decoupling, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"), [("warmup", -1.0), ("min_ratio", 1.5), ("official_lr", 0.0), ("official_lr_steps", 0)]
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(decoupling.Decoupling, name, value)


def test_loss() -> None:
    z, other, y = logits(0).requires_grad_(), logits(1), labels(2)
    mask = decoupling.update_mask(z, other)
    assert torch.equal(mask, ops.disagreement(z, other))  # no label has a part in it
    ce = F.cross_entropy(z, y, reduction="none")
    torch.testing.assert_close(decoupling.update_loss(ce, mask), ce[mask].mean())
    (grad,) = torch.autograd.grad(decoupling.update_loss(ce, mask), z, retain_graph=True)
    assert torch.equal((grad != 0).any(1), mask)
    one = torch.zeros(B, dtype=torch.bool)
    one[3] = True
    torch.testing.assert_close(decoupling.update_loss(ce, one, 0.25), ce[3] / 2)
    assert number(decoupling.update_loss(ce, one & False, 0.0)) == 0
    assert bool(decoupling.update_mask(z, z, warm_up=True).all())
    torch.testing.assert_close(decoupling.update_loss(ce, mask, 0.0, 2 * torch.ones(B)), 2 * ce[mask].mean())


def test_class_balance() -> None:
    y = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(
        decoupling.class_balance_weights(y, 2), torch.tensor([4 / 6] * 3 + [2.0], dtype=torch.float64)
    )
    method = build(decoupling.Decoupling, class_balance=True)
    batch, run = batch_for(method), TinyRun(method)
    run.frozen = True
    logged = method.train_step(batch, run)
    ce = F.cross_entropy(method.net_a(batch.view("weak")), batch.label, reduction="none")
    weight = decoupling.class_balance_weights(batch.label, C).float()
    torch.testing.assert_close(logged["loss"], (weight * ce).mean().detach())


def test_without_disagreement_moves_nothing() -> None:
    method = build(decoupling.Decoupling, make_net=equal_heads)
    run = TinyRun(method, epoch=1)
    run.optimizers["a"].param_groups[0]["weight_decay"] = 0.1
    before = parameters_of(method)
    assert number(method.train_step(batch_for(method), run)["disagreement"]) == 0
    assert not run.minimized and unchanged(method, before)
    run.epoch = 0  # warm-up
    method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 and not unchanged(method, before)


def test_warm_up_counts_fractions_of_epochs() -> None:
    method = build(decoupling.Decoupling, make_net=equal_heads, warmup=0.025)
    run = TinyRun(method)
    run.steps = 4
    for run.step in range(4):
        method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 * 2


def test_first_epoch_updates_and_heads_differ() -> None:
    method = build(decoupling.Decoupling, warmup=0.0)
    run = TinyRun(method)
    method.train_step(batch_for(method), run)
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight) and len(run.minimized) == 2
    ((_, kept),) = run.selected
    assert bool(kept.any())


def test_mask_ignores_labels() -> None:
    picked = []
    for seed in (0, 1):
        method = build(decoupling.Decoupling, warmup=0.0)
        run = TinyRun(method)
        method.train_step(batch_for(method, labels=labels(seed)), run)
        picked.append(run.selected[0][1])
    assert torch.equal(*picked)


def test_staircase() -> None:
    assert [decoupling.staircase(s, 0.002, 5000) for s in (0, 4999, 5000, 10000)] == [0.002, 0.002, 0.001, 0.0005]
    method = build(decoupling.Decoupling, lr_schedule="official", official_lr_steps=3)
    run = TinyRun(method, epoch=2)
    run.steps, run.step = 2, 1
    method.train_step(batch_for(method), run)
    assert {g["lr"] for o in run.optimizers.values() for g in o.param_groups} == {0.001}


def test_queue_trains_on_full_batches_in_order() -> None:
    method = build(decoupling.Decoupling, buffer=True, warmup=0.0)
    run, waiting, steps = TinyRun(method), 0, 0
    for seed in range(12):
        batch = batch_for(method, seed)
        with torch.no_grad():
            differ = int(ops.disagreement(*(n(batch.view("weak")) for n in (method.net_a, method.net_b))).sum())
        method.net_a.passes.clear()
        logged = method.train_step(batch, run)
        steps += waiting + differ >= B
        assert ("loss" in logged) == (waiting + differ >= B)
        assert method.net_a.passes == ([B, B] if waiting + differ >= B else [B])
        waiting = (waiting + differ) - B * (waiting + differ >= B)
        assert len(method.queue_image) == len(method.queue_label) == len(method.queue_row) == waiting < B
    assert steps >= 1 and len(run.minimized) == 2 * steps
    assert decoupling.Decoupling.needs(method.config).forwards == 4.0


def test_queue_is_saved_and_goes_on() -> None:
    method = build(decoupling.Decoupling, buffer=True, warmup=0.0, class_balance=True)
    run = TinyRun(method)
    for seed in range(20):
        method.train_step(batch_for(method, seed), run)
        if len(method.queue_row):
            break
    assert len(method.queue_row)
    saved = io.BytesIO()
    torch.save(method.state_dict(), saved)
    saved.seek(0)
    other = build(decoupling.Decoupling, buffer=True, warmup=0.0, class_balance=True)
    other.load_state_dict(torch.load(saved, weights_only=True))
    again = TinyRun(other)
    for seed in range(20, 26):
        first, second = (m.train_step(batch_for(m, seed), r) for m, r in ((method, run), (other, again)))
        assert {k: number(v) for k, v in first.items()} == {k: number(v) for k, v in second.items()}
    for name, value in method.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)


def test_queue_waits_for_the_warm_up() -> None:
    method = build(decoupling.Decoupling, buffer=True)
    run = TinyRun(method)
    method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 and len(method.queue_row) == 0
