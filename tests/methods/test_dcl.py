"""DCL: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.dcl as dcl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

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
    {"curve": "linear", "dist_norm": "min", "keep_count": "floor", "normalise": False},
    {"curve": "concave", "decay": 0.9, "easy_threshold": 0.0, "k": 2, "rho": 1.0},
    {"curve": "composite", "p": 0.0, "epsilon": 0.0},
]


@runs_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epochs: int) -> None:
    assert_whole_run(dcl.Dcl, options, epochs)


@pytest.mark.parametrize(
    ("name", "value"),
    [("p", 1.5), ("decay", 1.5), ("rho", -0.5), ("easy_threshold", 2.0), ("epsilon", -0.1), ("margin", -0.1), ("k", 0)],
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(dcl.Dcl, name, value)


CURVES = ("convex", "linear", "concave", "composite")


@pytest.mark.parametrize("kind", CURVES)
def test_curves(kind: Any) -> None:
    values = [dcl.curriculum(kind, e, 20) for e in range(21)]
    assert values[0] == 1 and values == sorted(values, reverse=True)
    assert kind == "concave" or values[-1] == pytest.approx(0, abs=1e-12)


def test_triplet_factor() -> None:
    assert [dcl.triplet_factor(e, 10, 0.0, 0.1) for e in range(10)] == [0.1] * 10
    f = [dcl.triplet_factor(e, 10, 0.3, 0.1) for e in range(10)]
    assert f[0] == pytest.approx(1.1) and f[2] > 0.9 and f[3:] == [0.1] * 7


def test_targets() -> None:
    uniform = dcl.target_distribution(RAF, 0.0)
    torch.testing.assert_close(uniform, torch.full((C,), 1 / C).double())
    torch.testing.assert_close(dcl.target_distribution(RAF, 1.0), RAF / RAF.sum().double())
    torch.testing.assert_close(dcl.target_distribution(RAF, 1.0, "min"), RAF / 281.0, check_dtype=False)
    absent = torch.tensor([40, 0, 12, 200, 75, 9, 130])
    assert number(dcl.target_distribution(absent, 0.0)[1]) == 0


def test_ratios_keep_the_scale_of_the_loss() -> None:
    for seed in range(5):
        counts = torch.bincount(labels(seed, 16), minlength=C)
        for scale in (0.0, 0.4, 1.0):
            ratios = dcl.class_ratios(counts, RAF, scale)
            assert number((ratios * counts).sum()) == pytest.approx(16)
    proportional = torch.tensor([2, 4, 6, 8, 0, 2, 4])
    ratios = dcl.class_ratios(proportional, 10 * proportional + (proportional == 0) * 7, 1.0)
    torch.testing.assert_close(ratios, (proportional > 0).double())
    # normalised by the rarest class, weights depend on which classes the batch happens to hold
    counts = torch.tensor([4, 0, 1, 2, 4, 0, 5])
    assert number((dcl.class_ratios(counts, RAF, 1.0, "min") * counts).sum()) == pytest.approx(40.16, abs=0.01)
    assert number((dcl.class_ratios(counts, RAF, 0.0, "min") * counts).sum()) == pytest.approx(5)


@pytest.mark.parametrize("norm", ["sum", "min"])
def test_is_cross_entropy_where_nothing_is_to_be_balanced(norm: Any) -> None:
    for y, counts in ((torch.zeros(B, dtype=torch.int64), RAF), (torch.arange(C).repeat(2), torch.full((C,), 30))):
        batch_counts = torch.bincount(y, minlength=C)
        ratios = dcl.class_ratios(batch_counts, counts, 0.0, norm)
        keep = dcl.draw_kept(y, dcl.kept_counts(ratios, batch_counts), seeded())
        weights, z = dcl.sample_weights(y, ratios, keep), logits(0, len(y))
        torch.testing.assert_close(dcl.selective_loss(z, y, weights), F.cross_entropy(z, y))


def test_keeps_that_many_of_each_class_and_drops_the_gradient_of_the_rest() -> None:
    y = labels(1, 64)
    counts = torch.bincount(y, minlength=C)
    ratios = dcl.class_ratios(counts, RAF.flip(0), 1.0)
    for counting in ("round", "floor"):
        kept = dcl.kept_counts(ratios, counts, counting)
        keep = dcl.draw_kept(y, kept, seeded(2))
        assert torch.equal(torch.bincount(y[keep], minlength=C), kept)
        assert not torch.equal(keep, dcl.draw_kept(y, kept, seeded(3)))
    weights, z = dcl.sample_weights(y, ratios, keep), logits(0, 64).requires_grad_()
    (grad,) = torch.autograd.grad(dcl.selective_loss(z, y, weights), z)
    dropped = (ratios[y] < 1) & ~keep
    assert bool(dropped.any()) and bool((grad[dropped] == 0).all()) and bool((grad[~dropped] != 0).any(dim=1).all())


def triplets_of(z: Tensor, y: Tensor, **options: Any) -> Tensor:
    return dcl.mine_triplets(F.softmax(z, 1), y, **({"k": 3, "easy_threshold": 0.3, "rho": 0.6} | options))[0]


def test_triplets() -> None:
    y = labels(5, 32)
    z = logits(0, 32) + 3 * F.one_hot(y, C)
    x = F.normalize(torch.randn(32, 5, generator=seeded(), dtype=torch.float64), dim=1).requires_grad_()
    found = triplets_of(z, y)
    anchor, positive, negative = found.unbind(1)
    assert len(found) and bool((anchor != positive).all())
    assert torch.equal(y[anchor], y[positive]) and not bool((y[anchor] == y[negative]).any())
    assert bool((z.argmax(1) == y)[anchor].all()) and set(y[anchor].tolist()) <= set(dcl.minority_classes(y, 0.6))
    loss = dcl.triplet_loss(x, found, 0.5)
    assert number(loss) > 0
    (grad,) = torch.autograd.grad(loss, x)
    assert bool((grad != 0).any()) and bool(grad.isfinite().all())
    order = torch.randperm(32, generator=seeded(1))
    torch.testing.assert_close(dcl.triplet_loss(x[order], triplets_of(z[order], y[order]), 0.5), loss)
    # no easy anchor, or no minority: a 0 that can be minimized
    for none in (triplets_of(z, y, easy_threshold=1.0), triplets_of(z, y, rho=0.0)):
        zero = dcl.triplet_loss(x, none, 0.5)
        assert number(zero) == 0 and not bool(torch.autograd.grad(zero, x)[0].any())


def test_minority_stops_at_the_first_class_that_overflows() -> None:
    y = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    assert dcl.minority_classes(y, 0.5) == [0, 1] and dcl.minority_classes(y, 0.3) == [0]
    assert dcl.minority_classes(y, 1.0) == [0, 1, 2] and dcl.minority_classes(y, 0.0) == []
    assert dcl.minority_classes(torch.tensor([3, 1]), 0.5) == [1]


def test_step() -> None:
    method = build(dcl.Dcl, p=0.0, epsilon=0.0)
    run = TinyRun(method)
    batch = batch_for(method, labels=torch.zeros(B, dtype=torch.int64))
    run.frozen = True
    logged = method.train_step(batch, run)
    torch.testing.assert_close(logged["loss"], F.cross_entropy(method.net(batch.view("weak")), batch.label).detach())
    assert bool(run.selected[0][1].all()) and number(logged["weight"]) == 1
    with_triplets = build(dcl.Dcl, easy_threshold=0.0, rho=1.0)
    sure = with_triplets.net(batch_for(with_triplets).view("weak")).argmax(dim=1)
    sure[-2:] = (sure[-2:] + 1) % C
    logged = with_triplets.train_step(batch_for(with_triplets, labels=sure), TinyRun(with_triplets))
    assert logged["triplets"] > 0
    torch.testing.assert_close(logged["loss"], (logged["selective"] + 1.1 * logged["triplet"]))
