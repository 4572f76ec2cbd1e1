"""Co-teaching: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.coteaching as coteaching
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
    labels,
    logits,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"schedule": "official", "counting": "official", "divide_twice": True},
    {"lr_schedule": "official", "forget_rate": 0.4, "num_gradual": 3, "exponent": 2.0},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(coteaching.Coteaching, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"), [("forget_rate", 1.5), ("num_gradual", 0), ("decay_start", -1), ("exponent", 0.0)]
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(coteaching.Coteaching, name, value)


def test_trains_each_network_on_the_choice_of_the_other() -> None:
    y = torch.zeros(B, dtype=torch.int64)
    z1, z2 = torch.zeros(B, C), torch.zeros(B, C)
    z1[:4, 0] += 5  # the first network finds the first half easy, the second network the other half
    z2[4:, 0] += 5
    z1.requires_grad_(), z2.requires_grad_()
    ce_1, ce_2 = (F.cross_entropy(z, y, reduction="none") for z in (z1, z2))
    loss_1, loss_2, kept_1, kept_2 = ops.small_loss_exchange(ce_1, ce_2, 4)
    assert sorted(kept_1.tolist()) == [0, 1, 2, 3] and sorted(kept_2.tolist()) == [4, 5, 6, 7]
    torch.testing.assert_close(loss_1, ce_1[4:].mean())
    (g1,) = torch.autograd.grad(loss_1, z1)
    (g2,) = torch.autograd.grad(loss_2, z2)
    assert bool((g1[:4] == 0).all()) and bool((g1[4:].abs().sum(1) > 0).all())
    assert bool((g2[4:] == 0).all()) and bool((g2[:4].abs().sum(1) > 0).all())


def test_without_forgetting_is_plain_cross_entropy() -> None:
    z1, z2, y = logits(0), logits(1), labels(2)
    ce_1, ce_2 = (F.cross_entropy(z, y, reduction="none") for z in (z1, z2))
    loss_1, loss_2, *_ = ops.small_loss_exchange(ce_1, ce_2, ops.keep_count(B, 0.0))
    torch.testing.assert_close(loss_1, F.cross_entropy(z1, y))
    torch.testing.assert_close(loss_2, F.cross_entropy(z2, y))
    twice, *_ = ops.small_loss_exchange(ce_1, ce_2, 4, divide_twice=True)
    once, *_ = ops.small_loss_exchange(ce_1, ce_2, 4)
    torch.testing.assert_close(twice * 4, once)


def test_selection_follows_the_batch_order() -> None:
    ce_1, ce_2 = torch.rand(2, B, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    *_, kept, _ = ops.small_loss_exchange(ce_1, ce_2, 5)
    *_, kept_permuted, _ = ops.small_loss_exchange(ce_1[order], ce_2[order], 5)
    assert sorted(order[kept_permuted].tolist()) == sorted(kept.tolist())
    *_, same_1, same_2 = ops.small_loss_exchange(ce_1, ce_1, 5)
    assert torch.equal(same_1, same_2)


def test_step_reports_what_the_first_network_saw() -> None:
    method = build(coteaching.Coteaching)
    batch = batch_for(method)
    run = TinyRun(method, epoch=19)
    run.frozen = True
    method.train_step(batch, run)
    ((index, kept),) = run.selected
    assert torch.equal(index, batch.index) and int(kept.sum()) == 6  # noise rate 0.25 of 8
    assert [name for name, _ in run.minimized] == ["a", "b"]
    ce_b = F.cross_entropy(method.net_b(batch.view("weak")), batch.label, reduction="none")
    assert set(torch.nonzero(kept).flatten().tolist()) == set(ops.small_loss(ce_b, 6).tolist())
    assert set(map(id, run.optimizers["a"].param_groups[0]["params"])) == set(map(id, method.net_a.parameters()))
