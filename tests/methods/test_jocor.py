"""JoCoR: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.jocor as jocor
import pytest
import torch
import torch.nn.functional as F

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"schedule": "official", "counting": "official", "stable_kl": False},
    {"lr_schedule": "official", "halve_noise_rate": True, "co_lambda": 0.5},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(jocor.Jocor, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"), [("co_lambda", 1.1), ("forget_rate", -0.1), ("num_gradual", 0), ("decay_start", -1)]
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(jocor.Jocor, name, value)


def test_limits_and_symmetry() -> None:
    z1, z2, y = logits(0).requires_grad_(), logits(1).requires_grad_(), labels(2)
    both = F.cross_entropy(z1, y, reduction="none") + F.cross_entropy(z2, y, reduction="none")
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 0.0), both)
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 1.0), jocor.joint_loss(z1, z2, labels(5), 1.0))
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 0.9), jocor.joint_loss(z2, z1, y, 0.9))
    torch.testing.assert_close(jocor.joint_loss(z1, z1, y, 0.9), 0.1 * 2 * F.cross_entropy(z1, y, reduction="none"))
    torch.testing.assert_close(jocor.joint_loss(z1 + 3, z2 - 1, y, 0.9), jocor.joint_loss(z1, z2, y, 0.9))
    assert bool((ops.kl_divergence(z1, z2) > 0).all())
    grads = torch.autograd.grad(jocor.joint_loss(z1, z2, y, 0.9)[[0, 3, 5]].mean(), (z1, z2))
    for g in grads:
        assert torch.nonzero(g.abs().sum(1)).flatten().tolist() == [0, 3, 5]
    # both arguments of both divergences carry a gradient
    assert torch.autograd.gradcheck(lambda a, b: jocor.joint_loss(a, b, y, 0.9), (z1, z2))
    (g1, _) = torch.autograd.grad(jocor.joint_loss(z1, z2, y, 0.0).mean(), (z1, z2))
    torch.testing.assert_close(g1, torch.autograd.grad(F.cross_entropy(z1, y), z1)[0])


def test_stays_finite_for_extreme_logits() -> None:
    z1, z2 = (logits(s, scale=200.0, dtype=torch.float32).requires_grad_() for s in (0, 1))
    loss = jocor.joint_loss(z1, z2, labels(2), 0.9).mean()
    assert bool(loss.isfinite())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, (z1, z2)))
    official = jocor.joint_loss(z1, z2, labels(2), 0.9, stable=False).mean()
    torch.testing.assert_close(official, loss)
    assert bool(torch.autograd.grad(official, z1)[0].isnan().any())


def test_has_one_optimizer_and_selects_by_the_joint_loss() -> None:
    method = build(jocor.Jocor)
    batch = batch_for(method)
    run = TinyRun(method, epoch=19)
    run.frozen = True
    method.train_step(batch, run)
    assert [name for name, _ in run.minimized] == ["main"] and len(run.optimizers) == 1
    params = run.optimizers["main"].param_groups[0]["params"]
    assert len(params) == len(list(method.net_a.parameters())) + len(list(method.net_b.parameters()))
    joint = jocor.joint_loss(*(n(batch.view("weak")) for n in (method.net_a, method.net_b)), batch.label, 0.9)
    ((_, kept),) = run.selected
    assert set(torch.nonzero(kept).flatten().tolist()) == set(ops.small_loss(joint, 6).tolist())
    assert jocor.target_forget_rate(0.4, halve=True) == 0.2 and jocor.target_forget_rate(0.4, 0.3, True) == 0.3
