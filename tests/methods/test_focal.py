"""Properties of the focal loss in its softmax form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.focal as focal
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from fer_bench.ops import deferral_is_over, effective_number_weights

C, B = 7, 12
LABELS = torch.arange(B) % C


def logits(seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, C, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), at, retain_graph=True)[0]


def label_probability(z: Tensor) -> Tensor:
    return F.softmax(z, dim=1).gather(1, LABELS[:, None])


def test_gamma_0_is_cross_entropy() -> None:
    z = logits()
    ce = F.cross_entropy(z, LABELS, reduction="none")
    ours = focal.focal_loss(z, LABELS, 0.0)
    assert torch.equal(ours, ce) and torch.equal(gradient(ours, z), gradient(ce, z))


def test_the_loss_falls_with_gamma() -> None:
    z = logits(1)
    losses = torch.stack([focal.focal_loss(z, LABELS, gamma) for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)])
    assert bool((losses.diff(dim=0) < 0).all())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients(gamma: float) -> None:
    z = logits(2)
    p, ce = label_probability(z), F.cross_entropy(z, LABELS, reduction="none")[:, None]
    direction = F.softmax(z, dim=1) - F.one_hot(LABELS, C)
    full, detached = (focal.focal_loss(z, LABELS, gamma, detach=detach) for detach in (False, True))
    torch.testing.assert_close(full, detached)
    slope = (1 - p) ** gamma + gamma * p * (1 - p) ** (gamma - 1) * ce
    torch.testing.assert_close(gradient(full, z), slope * direction)
    torch.testing.assert_close(gradient(detached, z), (1 - p) ** gamma * direction)
    torch.testing.assert_close(gradient(full, z), (1 + gamma * p * ce / (1 - p)) * gradient(detached, z))
    weight = focal.Focal.sample_weight(focal.Focal.Config(gamma=gamma), 0, 1)
    torch.testing.assert_close(full[:, None], weight(p, p) * ce)


def test_one_sample_at_a_time() -> None:
    z = logits(3)
    loss = focal.focal_loss(z, LABELS, 2.0)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(focal.focal_loss(z[order], LABELS[order], 2.0), loss[order])
    torch.testing.assert_close(focal.focal_loss(z[:1], LABELS[:1], 2.0), loss[:1])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_large_logits_are_finite(gamma: float) -> None:
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = focal.focal_loss(z, torch.tensor([0, 0]), gamma)
    assert bool(loss.isfinite().all()) and bool(gradient(loss, z).isfinite().all())
    assert loss.tolist() == [0.0, 2e4]


def test_a_sample_that_is_fitted_exactly_has_no_gradient_officially() -> None:
    z = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True)
    label = torch.tensor([0])
    assert bool(gradient(focal.focal_loss(z, label, 0.5, at_certainty="official"), z).isnan().any())
    assert bool(gradient(focal.focal_loss(z, label, 0.5), z).isfinite().all())


def test_class_weights_are_inside_the_factor() -> None:
    z, weight = logits(4), torch.linspace(0.2, 2.0, C, dtype=torch.float64)
    torch.testing.assert_close(focal.focal_loss(z, LABELS, 1.5, torch.ones(C)), focal.focal_loss(z, LABELS, 1.5))
    w, p = weight[LABELS], label_probability(z).squeeze(1)
    expected = (1 - p**w) ** 1.5 * w * -p.log()
    torch.testing.assert_close(focal.focal_loss(z, LABELS, 1.5, weight), expected)


def test_deferral() -> None:
    assert not deferral_is_over(159, 200, 0.8) and deferral_is_over(160, 200, 0.8)
    assert not deferral_is_over(7, 10, 0.8) and deferral_is_over(8, 10, 0.8)
    assert not deferral_is_over(28, 100, 0.29) and deferral_is_over(29, 100, 0.29)


def test_deferred_weights_in_training(train: Callable[..., Any]) -> None:
    _, seen = train("focal", noise=0.0, factor=4.0, epochs=2, weights="drw", start=0.5, beta=0.9, gamma=1.0)
    method, batch, run = seen.method.eval(), seen.batches[0], seen.runs[0]
    weight = effective_number_weights(method.task.class_counts, 0.9).float()
    assert weight.max() > 1.2 * weight.min()
    z = method.net(batch.view("weak"))
    for run.epoch, used in ((0, None), (1, weight)):
        expected = focal.focal_loss(z, batch.label, 1.0, used).mean()
        torch.testing.assert_close(method.loss(batch, run), expected)


def test_an_absent_class_does_no_harm() -> None:
    counts = torch.tensor([9, 0, 3, 5, 2, 1, 4])
    task = Task(num_classes=C, num_samples=24, class_counts=counts, epochs=10, batch_size=B)
    method = focal.Focal(focal.Focal.Config(weights="drw"), task)
    assert method.class_weights[1] == 0 and bool(method.class_weights.isfinite().all())
    assert method.class_weights.sum() == pytest.approx(C - 1)


def test_remarks() -> None:
    assert focal.Focal.remarks(focal.Focal.Config()) == ("gamma 2",)
    weighted = focal.Focal.Config(gamma=0.5, weights="drw")
    assert focal.Focal.remarks(weighted) == ("gamma 0.5, class weights inside the factor",)


@pytest.mark.parametrize(("name", "value"), [("gamma", -1.0), ("start", 1.5), ("beta", 1.0)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        focal.Focal.Config(**{name: value})
