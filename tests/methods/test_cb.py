"""The class-balanced loss: what its formulas imply, on tiny networks."""

from __future__ import annotations

import math
from typing import Any

import fer_bench_methods.cb as cb
import pytest
import torch
import torch.nn.functional as F

from fer_bench import ops
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
    number,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "sigmoid", "reduction": "weighted_mean"},
    {"variant": "focal", "gamma": 2.0},
    {"variant": "focal", "modulator": "official", "start": 0.25},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(cb.Cb, options, epoch, size)


@pytest.mark.parametrize(("name", "value"), [("beta", 1.0), ("gamma", -1.0), ("start", 1.5)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(cb.Cb, name, value)


def test_weights() -> None:
    for beta in (0.0, 0.9, 0.999, 0.9999):
        w = ops.effective_number_weights(RAF, beta)
        assert number(w.sum()) == pytest.approx(C)
    torch.testing.assert_close(ops.effective_number_weights(torch.full((C,), 50), 0.999), torch.ones(C).double())
    torch.testing.assert_close(ops.effective_number_weights(RAF, 0.0), torch.ones(C).double())
    by_count = ops.effective_number_weights(RAF, 0.999)[RAF.argsort()]
    assert bool((by_count.diff() < 0).all())
    limit = ops.effective_number_weights(RAF, 1 - 1e-9)
    inverse = 1 / RAF.double()
    torch.testing.assert_close(limit, inverse / inverse.sum() * C, rtol=1e-5, atol=1e-6)


def test_absent_class() -> None:
    counts = torch.tensor([10, 0, 5, 20, 3, 7, 9])
    w = ops.effective_number_weights(counts, 0.999)
    assert number(w[1]) == 0 and number(w.sum()) == pytest.approx(C - 1) and bool(w.isfinite().all())
    assert ops.effective_number_weights(counts, 0.999, official=True)[1].isnan()
    method = build(cb.Cb, task(class_counts=counts))
    method.loss(batch_for(method, labels=torch.zeros(B, dtype=torch.int64)), TinyRun(method))
    with pytest.raises(ValueError, match="no training image"):
        method.loss(batch_for(method, labels=torch.ones(B, dtype=torch.int64)), TinyRun(method))


def test_losses() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    a = ops.effective_number_weights(RAF, 0.9999)[y]
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), torch.ones_like(a)), F.cross_entropy(z, y))
    torch.testing.assert_close(cb.focal_loss(z, y, 0.0), cb.sigmoid_loss(z, y))
    torch.testing.assert_close(cb.focal_loss(z, y, 2.0), cb.focal_loss(z, y, 2.0, "official"))
    # the factor multiplies sample losses, and batch_mean is not what torch's weighted cross-entropy does
    w = ops.effective_number_weights(RAF, 0.9999)
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), a, "weighted_mean"), F.cross_entropy(z, y, weight=w))
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), 2 * a), 2 * cb.weighted(cb.softmax_loss(z, y), a))
    assert not torch.allclose(cb.weighted(cb.softmax_loss(z, y), a), F.cross_entropy(z, y, weight=w))
    (grad,) = torch.autograd.grad(cb.weighted(cb.softmax_loss(z, y), a), z)
    torch.testing.assert_close(grad, a[:, None] / B * (F.softmax(z, 1) - F.one_hot(y, C)))
    order = torch.randperm(B)
    torch.testing.assert_close(
        cb.weighted(cb.focal_loss(z[order], y[order], 1.0), a[order]), cb.weighted(cb.focal_loss(z, y, 1.0), a)
    )


def test_focal_keeps_the_hardest_samples_in_float32() -> None:
    z, y = torch.zeros(1, C), torch.tensor([0])
    z[0, 0] = -100.0
    exact = cb.focal_loss(z.double(), y, 1.0)
    torch.testing.assert_close(cb.focal_loss(z, y, 1.0).double(), exact, rtol=1e-5, atol=1e-5)
    assert number(cb.focal_loss(z, y, 1.0, "official")) < 0.1 * number(exact)


def test_last_bias() -> None:
    for variant in ("sigmoid", "focal"):
        method = build(cb.Cb, variant=variant)
        bias = method.net.fc.bias
        torch.testing.assert_close(bias.detach(), torch.full((C,), -math.log(C - 1)))
        groups = method.optimizers("train", lambda p, **kw: torch.optim.SGD(p, lr=0.1, weight_decay=0.3, **kw))["main"]
        decay = {id(p): g["weight_decay"] for g in groups.param_groups for p in g["params"]}
        assert len(decay) == len(list(method.parameters()))
        assert decay.pop(id(bias)) == 0 and set(decay.values()) == {0.3}
    assert not torch.allclose(build(cb.Cb).net.fc.bias.detach(), torch.full((C,), -math.log(C - 1)))


def test_start_and_no_op() -> None:
    method = build(cb.Cb, start=0.25)
    batch = batch_for(method)
    plain = F.cross_entropy(method.net(batch.view("weak")), batch.label)
    torch.testing.assert_close(method.loss(batch, TinyRun(method, epoch=4)), plain)
    assert not torch.allclose(method.loss(batch, TinyRun(method, epoch=5)), plain)
    unweighted = build(cb.Cb, beta=0.0)
    torch.testing.assert_close(unweighted.loss(batch, TinyRun(unweighted)), plain)
