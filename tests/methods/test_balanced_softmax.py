"""Balanced Softmax: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.balanced_softmax as bs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    RAF,
    B,
    C,
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"tau": 0.5},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(bs.BalancedSoftmax, options, epoch, size)


@pytest.mark.parametrize(("name", "value"), [("tau", -1.0)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(bs.BalancedSoftmax, name, value)


def test_is_the_shifted_cross_entropy() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    prior = bs.log_prior(RAF)
    loss = bs.balanced_softmax_loss(z, y, prior)
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(torch.full((C,), 9))), F.cross_entropy(z, y))
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(1000 * RAF)), loss)
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(RAF, 0.0)), F.cross_entropy(z, y))
    (grad,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(grad, (F.softmax(z + prior, 1) - F.one_hot(y, C)) / B)
    assert bs.balanced_softmax_loss(z[:1], y[:1], prior).isfinite()
    extreme = torch.tensor([[1e4, -1e4, 0, 0, 0, 0, 0]])
    assert bs.balanced_softmax_loss(extreme, torch.tensor([1]), prior).isfinite()


def test_optimum_is_free_of_the_counts() -> None:
    z = torch.zeros(1, C, dtype=torch.float64, requires_grad=True)
    frequency = RAF.double() / RAF.sum()
    losses = bs.balanced_softmax_loss(z.expand(C, C), torch.arange(C), bs.log_prior(RAF), "none")
    (grad,) = torch.autograd.grad((frequency * losses).sum(), z)
    torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-12)


def test_drops_the_prior_at_test_time_and_keeps_the_natural_order() -> None:
    method = build(bs.BalancedSoftmax).eval()
    images = torch.randn(4, 3, 10, 10)
    torch.testing.assert_close(method.predict(images), method.net(images))
    torch.testing.assert_close(method.other_predictions(images)["with prior"], method.net(images) + method.prior)
    assert method.epoch_indices(labels(0), torch.Generator()) is None


def test_absent_class() -> None:
    counts = torch.tensor([40, 0, 12, 200, 75, 9, 130])
    method = build(bs.BalancedSoftmax, task(class_counts=counts))
    batch = batch_for(method, labels=torch.zeros(B, dtype=torch.int64))
    assert method.loss(batch, TinyRun(method)).isfinite()
    with pytest.raises(ValueError, match="no training image"):
        method.loss(batch_for(method, labels=torch.ones(B, dtype=torch.int64)), TinyRun(method))
    with torch.no_grad():
        method.net.fc.bias[1] = 1e4  # the absent class is out of the softmax, however large its logit
    torch.testing.assert_close(method.loss(batch, TinyRun(method)), build_loss_without(method, batch))


def build_loss_without(method: Any, batch: Batch) -> Tensor:
    keep = [0, 2, 3, 4, 5, 6]
    z = method.net(batch.view("weak"))[:, keep] + method.prior[keep]
    return F.cross_entropy(z, torch.zeros(B, dtype=torch.int64))
