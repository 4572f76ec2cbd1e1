"""Properties of label smoothing with positive and negative rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.label_smoothing as ls
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

C, B = 7, 12
LABELS = torch.arange(B) % C


def logits(seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, C, generator=generator, dtype=dtype) * scale).requires_grad_()


def target(rate: float) -> Tensor:
    return (1 - rate) * F.one_hot(LABELS, C).double() + rate / C


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.6, 1.0])
def test_rates_from_0_to_1_are_those_of_torch(rate: float) -> None:
    z = logits()
    expected = F.cross_entropy(z, LABELS, reduction="none", label_smoothing=rate)
    torch.testing.assert_close(ls.smoothed_cross_entropy(z, LABELS, rate), expected)


def test_ends_of_the_range() -> None:
    z = logits(1, dtype=torch.float32)
    plain = F.cross_entropy(z, LABELS, reduction="none")
    assert torch.equal(ls.smoothed_cross_entropy(z, LABELS, 0.0), plain)
    other = (LABELS + 1) % C
    assert torch.equal(ls.smoothed_cross_entropy(z, LABELS, 1.0), ls.smoothed_cross_entropy(z, other, 1.0))


@pytest.mark.parametrize("rate", [0.1, -0.4, -2.0])
def test_gradient_is_prediction_minus_target(rate: float) -> None:
    z = logits(2)
    (grad,) = torch.autograd.grad(ls.smoothed_cross_entropy(z, LABELS, rate).sum(), z)
    torch.testing.assert_close(grad, F.softmax(z, dim=1) - target(rate))
    torch.testing.assert_close(target(rate).sum(dim=1), torch.ones(B, dtype=torch.float64))
    torch.testing.assert_close(grad.sum(dim=1), torch.zeros(B, dtype=torch.float64))


def test_linear_in_the_rate_and_one_sample_at_a_time() -> None:
    z = logits(3)
    low, middle, high = (ls.smoothed_cross_entropy(z, LABELS, rate) for rate in (-0.6, 0.1, 0.8))
    torch.testing.assert_close(middle, (low + high) / 2)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ls.smoothed_cross_entropy(z[order], LABELS[order], 0.1), middle[order])


def test_least_loss_is_the_entropy_of_the_target() -> None:
    q = target(0.2)
    entropy = -(q * q.log()).sum(dim=1)
    best = q.log().requires_grad_()
    loss = ls.smoothed_cross_entropy(best, LABELS, 0.2)
    torch.testing.assert_close(loss, entropy)
    (grad,) = torch.autograd.grad(loss.sum(), best)
    assert grad.abs().max() < 1e-12
    assert bool((ls.smoothed_cross_entropy(best + logits(4), LABELS, 0.2) > entropy).all())


def test_a_negative_rate_has_no_lower_bound() -> None:
    margins = [
        ls.smoothed_cross_entropy(t * F.one_hot(LABELS, C).double(), LABELS, -0.4).mean().item() for t in (5, 50, 500)
    ]
    assert margins[0] > margins[1] > margins[2] and margins[2] < -100
    # torch's own option gives cross-entropy there, which is why the formula is written out
    z = logits(5)
    assert torch.equal(F.cross_entropy(z, LABELS, label_smoothing=-0.4), F.cross_entropy(z, LABELS))
    assert not torch.allclose(ls.smoothed_cross_entropy(z, LABELS, -0.4).mean(), F.cross_entropy(z, LABELS))


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_a_negative_rate_is_the_backward_correction_of_symmetric_noise(noise: float) -> None:
    z = logits(6)
    transition = torch.full((C, C), noise / (C - 1), dtype=torch.float64)
    transition.fill_diagonal_(1 - noise)
    losses = -F.log_softmax(z, dim=1)
    corrected = (torch.linalg.inv(transition)[LABELS] * losses).sum(dim=1)
    rate = -noise * C / (C - 1 - noise * C)
    torch.testing.assert_close(ls.smoothed_cross_entropy(z, LABELS, rate), corrected)


@pytest.mark.parametrize("rate", [0.1, -0.4])
def test_large_logits_are_finite(rate: float) -> None:
    z = torch.zeros(1, C)
    z[0, 1] = 1e4
    z.requires_grad_()
    loss = ls.smoothed_cross_entropy(z, torch.tensor([0]), rate).sum()
    (grad,) = torch.autograd.grad(loss, z)
    assert bool(loss.isfinite()) and bool(grad.isfinite().all())


def test_a_negative_rate_needs_a_warm_up() -> None:
    with pytest.raises(ValueError, match=r"smooth_rate = -0\.2 needs warmup > 0 \(officially 0\.545\)"):
        ls.LabelSmoothing.Config(smooth_rate=-0.2)
    config = ls.LabelSmoothing.Config(smooth_rate=-0.2, warmup=0.5)
    assert ls.LabelSmoothing.remarks(config) == ("negative smoothing rate -0.2",)
    assert ls.LabelSmoothing.remarks(ls.LabelSmoothing.Config()) == ()


def test_stages_of_a_negative_rate(train: Callable[..., Any]) -> None:
    folder, seen = train("label_smoothing", epochs=4, smooth_rate=-0.3, warmup=0.5, negative_lr=0.02)
    stages = [(record["stage"], record["lr"]["main"]) for record in folder.epochs()]
    assert [name for name, _ in stages] == ["warm_up", "warm_up", "smoothed", "smoothed"]
    assert stages[2][1] == pytest.approx(0.02 * stages[0][1])
    batch, run, method = seen.batches[0], seen.runs[0], seen.method.eval()
    z = method.net(batch.view("weak"))
    assert run.stage == "smoothed"
    torch.testing.assert_close(method.loss(batch, run), ls.smoothed_cross_entropy(z, batch.label, -0.3).mean())
    run.stage = "warm_up"
    torch.testing.assert_close(method.loss(batch, run), F.cross_entropy(z, batch.label))


def test_a_positive_rate_after_a_warm_up_keeps_the_rate(train: Callable[..., Any]) -> None:
    folder, _ = train("label_smoothing", epochs=2, smooth_rate=0.1, warmup=0.5)
    first, second = folder.epochs()
    assert second["stage"] == "smoothed" and second["lr"] == first["lr"]


@pytest.mark.parametrize(("name", "value"), [("smooth_rate", 1.5), ("warmup", 1.0), ("negative_lr", 0.0)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        ls.LabelSmoothing.Config(**{name: value})
