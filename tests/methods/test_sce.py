"""Properties of symmetric cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import fer_bench_methods.sce as sce
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import LOG_ZERO, reverse_cross_entropy

C, B = 7, 12
LABELS = torch.arange(B) % C


def logits(seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, C, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), at)[0]


def test_the_two_parts() -> None:
    z = logits()
    ce = F.cross_entropy(z, LABELS, reduction="none")
    torch.testing.assert_close(sce.symmetric_cross_entropy(z, LABELS, 0.3, 0.0), 0.3 * ce)
    reverse = sce.symmetric_cross_entropy(z, LABELS, 0.0, 2.0)
    distance = (F.softmax(z, dim=1) - F.one_hot(LABELS, C)).abs().sum(dim=1)
    torch.testing.assert_close(reverse, 2.0 * -LOG_ZERO / 2 * distance)
    assert pytest.approx(-9.210340371976182, abs=1e-15) == LOG_ZERO


def test_the_reverse_term_is_symmetric_and_bounded() -> None:
    z = logits(1)
    over_labels = torch.stack([reverse_cross_entropy(z, torch.full((B,), c)) for c in range(C)])
    torch.testing.assert_close(over_labels.sum(dim=0), torch.full((B,), -LOG_ZERO * (C - 1), dtype=z.dtype))
    assert bool((over_labels >= 0).all() and (over_labels <= -LOG_ZERO).all())


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 1.0), (6.0, 0.1)])
def test_gradient(alpha: float, beta: float) -> None:
    z = logits(2)
    p = F.softmax(z, dim=1)
    p_y = p.gather(1, LABELS[:, None])
    grad = gradient(sce.symmetric_cross_entropy(z, LABELS, alpha, beta), z)
    torch.testing.assert_close(grad, (alpha - beta * LOG_ZERO * p_y) * (p - F.one_hot(LABELS, C)))
    weight = sce.Sce.sample_weight(sce.Sce.Config(alpha=alpha, beta=beta), 0, 1)
    torch.testing.assert_close(grad, weight(p_y, p_y) * (p - F.one_hot(LABELS, C)))


def test_invariances() -> None:
    z = logits(3)
    loss = sce.symmetric_cross_entropy(z, LABELS, 0.1, 1.0)
    torch.testing.assert_close(sce.symmetric_cross_entropy(z + 5.0, LABELS, 0.1, 1.0), loss)
    singles = [sce.symmetric_cross_entropy(z[i : i + 1], LABELS[i : i + 1], 0.1, 1.0) for i in range(B)]
    torch.testing.assert_close(torch.cat(singles).mean(), loss.mean())


def test_a_base_10_logarithm_is_another_weight() -> None:
    """A = -4, as the papers write it, makes the reverse term 2.3 times weaker."""
    z = logits(4)
    ours, other = (sce.symmetric_cross_entropy(z, LABELS, 0.0, 1.0, a) for a in (LOG_ZERO, -4.0))
    torch.testing.assert_close(other, ours * 4 / 9.210340371976182)


@pytest.mark.parametrize("clamp", ["none", "pytorch", "tensorflow"])
def test_hopeless_samples_are_finite(clamp: Literal["none", "pytorch", "tensorflow"]) -> None:
    z = torch.zeros(1, C)
    z[0, 1] = 1000.0
    z.requires_grad_()
    loss = sce.symmetric_cross_entropy(z, torch.tensor([0]), 0.1, 1.0, clamp=clamp)
    ce = 16.118095 if clamp == "tensorflow" else 1000.0
    assert loss.item() == pytest.approx(0.1 * ce - LOG_ZERO, rel=1e-5)
    grad = gradient(loss, z)
    assert bool(grad.isfinite().all()) and bool((grad == 0).all()) == (clamp == "tensorflow")


def test_clamps_change_nothing_where_probabilities_are_large() -> None:
    z = logits(5, scale=1.0)
    exact, *clamped = (
        sce.symmetric_cross_entropy(z, LABELS, 0.1, 1.0, clamp=clamp) for clamp in ("none", "pytorch", "tensorflow")
    )
    for other in clamped:
        torch.testing.assert_close(other, exact)


def test_the_loss_that_is_trained(train: Callable[..., Any]) -> None:
    _, seen = train("sce", alpha=0.5, beta=0.25, log_zero=-4.0)
    method, batch = seen.method.eval(), seen.batches[0]
    z = method.net(batch.view("weak"))
    p_y = F.softmax(z, dim=1).gather(1, batch.label[:, None]).squeeze(1)
    expected = (0.5 * -p_y.log() + 0.25 * 4.0 * (1 - p_y)).mean()
    torch.testing.assert_close(method.loss(batch, seen.runs[0]), expected)


@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("beta", -1.0), ("log_zero", 4.0)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        sce.Sce.Config(**{name: value})
