"""Properties of normalised cross-entropy with reverse cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.nce_rce as nce_rce
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import LOG_ZERO, reverse_cross_entropy

C, B = 7, 12
LABELS = torch.arange(B) % C


def logits(seed: int = 0, scale: float = 2.0, classes: int = C) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, classes, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), at)[0]


@pytest.mark.parametrize("classes", [2, 7])
def test_sums_over_labels(classes: int) -> None:
    z = logits(classes=classes)
    every = [torch.full((B,), c) for c in range(classes)]
    nce = torch.stack([nce_rce.normalised_cross_entropy(z, y) for y in every])
    torch.testing.assert_close(nce.sum(dim=0), torch.ones(B, dtype=z.dtype))
    assert bool((nce >= 0).all() and (nce <= 1).all())
    rce = torch.stack([reverse_cross_entropy(z, y) for y in every])
    torch.testing.assert_close(rce.sum(dim=0), torch.full((B,), -LOG_ZERO * (classes - 1), dtype=z.dtype))


def test_equal_logits_and_a_perfect_fit() -> None:
    z = torch.full((B, C), 1.5, dtype=torch.float64)
    torch.testing.assert_close(nce_rce.normalised_cross_entropy(z, LABELS), torch.full((B,), 1 / C, dtype=z.dtype))
    torch.testing.assert_close(
        reverse_cross_entropy(z, LABELS), torch.full((B,), -LOG_ZERO * (C - 1) / C, dtype=z.dtype)
    )
    perfect = F.one_hot(LABELS, C).double() * 100
    assert nce_rce.normalised_cross_entropy(perfect, LABELS).max() < 1e-9
    assert reverse_cross_entropy(perfect, LABELS).max() < 1e-9


def test_gradient() -> None:
    z = logits(1)
    p, one_hot = F.softmax(z, dim=1), F.one_hot(LABELS, C)
    log_p = p.log()
    a, s = log_p.gather(1, LABELS[:, None]), log_p.sum(dim=1, keepdim=True)
    expected = ((one_hot - p) * s - a * (1 - C * p)) / s**2
    torch.testing.assert_close(gradient(nce_rce.normalised_cross_entropy(z, LABELS), z), expected)
    p_y = p.gather(1, LABELS[:, None])
    torch.testing.assert_close(gradient(reverse_cross_entropy(z, LABELS), z), -LOG_ZERO * p_y * (p - one_hot))


def test_a_confident_mistake_is_left_alone_by_the_active_part() -> None:
    """NCE lifts the label and lowers the other losers; the wrong winner hardly moves."""
    z = torch.zeros(1, C, dtype=torch.float64)
    z[0, 3] = 30.0
    z.requires_grad_()
    grad = gradient(nce_rce.normalised_cross_entropy(z, torch.tensor([0])), z)[0]
    assert grad[0] < 0 and bool((grad[[1, 2, 4, 5, 6]] > 0).all()) and abs(grad[3]) < 1e-9


def test_invariances() -> None:
    z = logits(2)
    nce = nce_rce.normalised_cross_entropy(z, LABELS)
    torch.testing.assert_close(nce_rce.normalised_cross_entropy(z - 7.0, LABELS), nce)
    singles = [nce_rce.normalised_cross_entropy(z[i : i + 1], LABELS[i : i + 1]) for i in range(B)]
    torch.testing.assert_close(torch.cat(singles), nce)


@pytest.mark.parametrize("clamp", [0.0, 1e-7])
def test_hopeless_samples_are_finite(clamp: float) -> None:
    z = torch.zeros(1, C)
    z[0, 1] = 1000.0
    z.requires_grad_()
    label = torch.tensor([0])
    loss = nce_rce.normalised_cross_entropy(z, label) + reverse_cross_entropy(z, label, clamp=clamp)
    assert loss.item() == pytest.approx(1 / (C - 1) - LOG_ZERO, rel=1e-5)
    assert bool(gradient(loss, z).isfinite().all())


def test_the_mean_absolute_error_is_half_the_distance() -> None:
    z = logits(3)
    distance = (F.softmax(z, dim=1) - F.one_hot(LABELS, C)).abs().sum(dim=1)
    torch.testing.assert_close(nce_rce.mean_absolute_error(z, LABELS), distance / 2)


@pytest.mark.parametrize("passive", ["rce", "mae"])
def test_the_loss_that_is_trained(train: Callable[..., Any], passive: str) -> None:
    _, seen = train("nce_rce", epochs=1, alpha=2.0, beta=0.5, passive=passive)
    method, batch = seen.method.eval(), seen.batches[0]
    z = method.net(batch.view("weak"))
    other = reverse_cross_entropy(z, batch.label) if passive == "rce" else nce_rce.mean_absolute_error(z, batch.label)
    expected = 2.0 * nce_rce.normalised_cross_entropy(z, batch.label).mean() + 0.5 * other.mean()
    torch.testing.assert_close(method.loss(batch, seen.runs[0]), expected)


@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("beta", -1.0), ("log_zero", 4.0), ("clamp", 0.5)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        nce_rce.NceRce.Config(**{name: value})
