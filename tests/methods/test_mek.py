"""MEK: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.eac as eac
import fer_bench_methods.mek as mek
import pytest
import torch
import torch.nn.functional as F

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_whole_run, runs_of_each
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
    seeded,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"rac_weight_norm": "n_over_10n", "epsilon": 0.1, "lam": 2.0, "sampler": "balanced", "clip": 5.0},
    {"rac_weight_norm": "sum1", "epsilon": 1.0},
]


@runs_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epochs: int) -> None:
    assert_whole_run(mek.Mek, options, epochs)


@pytest.mark.parametrize(("name", "value"), [("epsilon", 1.1), ("lam", -1.0), ("clip", -1.0)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(mek.Mek, name, value)


def test_weights() -> None:
    weights = mek.class_weights(RAF)
    torch.testing.assert_close(weights, RAF.sum() / (10 * RAF.double()))
    assert number(weights.sum()) == pytest.approx(10.1326, abs=1e-4)
    assert number(mek.class_weights(RAF, "mean1").mean()) == pytest.approx(1)
    assert number(mek.class_weights(RAF, "sum1").sum()) == pytest.approx(1)
    absent = torch.tensor([10, 0, 5, 20, 3, 7, 9])
    for norm in ("n_over_10n", "mean1", "sum1"):
        w = mek.class_weights(absent, norm)
        assert number(w[1]) == 0 and bool(w.isfinite().all())
    assert number(mek.class_weights(absent, "mean1").sum()) == pytest.approx(6)


def test_smooth_labels() -> None:
    y, weights = labels(0), mek.class_weights(RAF)
    q = mek.smooth_labels(y, weights, 0.3)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(B).double())
    torch.testing.assert_close(q.gather(1, y[:, None]), torch.full((B, 1), 0.7).double())
    torch.testing.assert_close(mek.smooth_labels(y, mek.class_weights(1000 * RAF), 0.3), q)
    z = logits(1)
    torch.testing.assert_close(mek.rebalanced_smooth_loss(z, mek.smooth_labels(y, weights, 0.0)), F.cross_entropy(z, y))
    # equal counts: ordinary smoothing over the C - 1 others, not over all C
    equal = mek.smooth_labels(y, torch.ones(C).double(), 0.3)
    others = equal[F.one_hot(y, C) == 0]
    torch.testing.assert_close(others, torch.full_like(others, 0.3 / (C - 1)))
    # the label's own class never takes part, at epsilon = 1 either, where it does officially
    full = mek.smooth_labels(y, weights, 1.0)
    assert bool((full.gather(1, y[:, None]) == 0).all())
    assert bool((mek.smooth_labels(y, weights, 1.0, official=True).gather(1, y[:, None]) > 0).all())
    only = mek.smooth_labels(torch.tensor([2]), mek.class_weights(torch.tensor([0, 0, 9, 0, 0, 0, 0])), 0.3)
    assert only.tolist() == [[0, 0, 1, 0, 0, 0, 0]]


def test_attention_consistency() -> None:
    generator, weights = seeded(), mek.class_weights(RAF)
    a, b = (torch.randn(B, C, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    rac = mek.rebalanced_attention_consistency
    assert number(rac(a, ops.mirror(a), weights)) == 0 and number(rac(a, b, weights)) > 0
    torch.testing.assert_close(rac(a, b, weights), rac(b, a, weights))
    torch.testing.assert_close(rac(a, b, torch.full((C,), 1 / C).double()), eac.flip_consistency(a, b))
    features, other = (torch.randn(B, 5, 4, 4, generator=generator).requires_grad_() for _ in range(2))
    weight, bias = torch.randn(C, 5, generator=generator).requires_grad_(), torch.randn(C, generator=generator)
    maps = ops.class_activation_maps(features, weight)
    expected = F.linear(features.mean(dim=(2, 3)), weight, bias)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + bias, expected, rtol=1e-5, atol=1e-5)
    loss = rac(maps, ops.class_activation_maps(other, weight), weights.float())
    grads = torch.autograd.grad(loss, (features, other, weight), allow_unused=True)
    assert grads[2] is None and bool((grads[0] != 0).any()) and bool((grads[1] != 0).any())


def test_step() -> None:
    method = build(mek.Mek, lam=0.0, epsilon=0.0)
    batch, run = batch_for(method), TinyRun(method)
    run.frozen = True
    logged = method.train_step(batch, run)
    torch.testing.assert_close(logged["loss"], F.cross_entropy(method.net(batch.view("weak")), batch.label).detach())
    assert method.net.passes[:2] == [B, B]
    other = build(mek.Mek, lam=3.0, epsilon=0.0)
    again = other.train_step(batch, TinyRun(other))
    torch.testing.assert_close(again["loss"], again["smooth"] + 3 * again["consistency"])


def test_the_gradient_is_clipped() -> None:
    norms = {}
    for clip in (0.0, 0.01):
        method = build(mek.Mek, clip=clip)
        before = [p.detach().clone() for p in method.parameters()]
        method.train_step(batch_for(method), TinyRun(method, lr=1.0))
        moved = [p.detach() - q for p, q in zip(method.parameters(), before, strict=True)]
        norms[clip] = torch.cat([difference.flatten() for difference in moved]).norm().item()
    assert norms[0.0] > 0.02 and norms[0.01] == pytest.approx(0.01, rel=1e-3)


def test_sampler() -> None:
    y = torch.arange(C).repeat_interleave(torch.tensor([500, 3, 12, 200, 75, 9, 130]))
    assert build(mek.Mek).epoch_indices(y, seeded()) is None
    rows = build(mek.Mek, sampler="balanced").epoch_indices(y, seeded())
    counts = torch.bincount(y[rows], minlength=C)
    assert len(rows) == len(y) and int(counts.min()) > 80 and int(counts.max()) < 190
