"""Properties of ELR: what its formula implies, and what its memory is after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.elr as elr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from fer_bench.ops import early_learning_term, label_share

C, N, B = 7, 20, 6
INDEX, LABELS = torch.tensor([3, 0, 19, 7, 11, 2]), torch.tensor([1, 0, 6, 6, 2, 3])


def build(**options: Any) -> elr.Elr:
    labels = torch.arange(N) % C
    return elr.Elr(elr.Elr.Config(**options), Task(C, N, torch.bincount(labels), 14, B, labels=labels))


def logits(scale: float = 2.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(B, C, generator=torch.Generator().manual_seed(seed))


def gradient(method: elr.Elr, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(method.objective(z, LABELS, INDEX)["loss"], z)[0]


def test_without_its_weight_it_is_cross_entropy_and_remembers_all_the_same() -> None:
    method, z = build(lam=0.0), logits()
    assert method.objective(z, LABELS, INDEX)["loss"] == F.cross_entropy(z, LABELS)
    assert bool((method.memory[INDEX] > 0).all())


def test_the_target_already_holds_this_step() -> None:
    """A first visit is pulled towards the prediction that it makes."""
    method, z = build(lam=3.0, beta=0.7), logits()
    parts = method.objective(z, LABELS, INDEX)
    c = F.softmax(z, 1).clamp(1e-4, 1 - 1e-4)
    s = (0.3 * c / c.sum(1, keepdim=True) * c).sum(1)
    assert torch.allclose(parts["regulariser"], torch.log(1 - s).mean(), rtol=1e-5)
    assert parts["regulariser"] < 0


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.7, 0.9])
def test_memories_fade_in(beta: float) -> None:
    """sum_k t_k = 1 - beta^k after k visits; rows of other batches stay empty."""
    method = build(beta=beta)
    for visit in range(1, 5):
        method.objective(logits(seed=visit), LABELS, INDEX)
        mass = method.memory[INDEX].sum(1)
        assert torch.allclose(mass, torch.full((B,), 1 - beta**visit), atol=1e-6)
    others = [row for row in range(N) if row not in INDEX]
    assert bool((method.memory >= 0).all()) and not method.memory[others].any()


def test_the_ends_of_beta() -> None:
    forgets, keeps = build(beta=0.0), build(beta=1.0)
    for seed in (1, 2):
        for method in (forgets, keeps):
            method.objective(logits(seed=seed), LABELS, INDEX)
    assert torch.allclose(forgets.memory[INDEX], F.softmax(logits(seed=2), 1), atol=1e-3) and not keeps.memory.any()


def test_the_order_of_a_batch_does_not_matter() -> None:
    a, b, order = build(), build(), torch.tensor([5, 0, 3, 1, 4, 2])
    assert torch.allclose(
        a.objective(logits(), LABELS, INDEX)["loss"], b.objective(logits()[order], LABELS[order], INDEX[order])["loss"]
    )
    assert torch.equal(a.memory, b.memory)


def test_gradients() -> None:
    """Against the formula written out: clamped entries pass nothing, and rows sum to 0 where nothing is clamped."""
    method = build(lam=3.0, beta=0.7)
    method.memory[INDEX] = 0.6 * F.softmax(logits(seed=9), 1)
    z = logits(scale=1.0)
    found = gradient(method, z)
    t, p = method.memory[INDEX], F.softmax(z, 1)
    s = (t * p).sum(1, keepdim=True)
    by_hand = p - F.one_hot(LABELS, C) - 3.0 * p * (t - s) / (1 - s)
    assert torch.allclose(found, by_hand / B, atol=1e-6) and torch.allclose(found.sum(1), torch.zeros(B), atol=1e-6)


def test_a_sure_prediction_takes_no_gradient_from_the_memory() -> None:
    z = torch.zeros(1, C, dtype=torch.float64)
    z[0, 2] = 30.0
    z.requires_grad_()
    target = torch.full((1, C), 0.1, dtype=torch.float64)
    (found,) = torch.autograd.grad(early_learning_term(z, target).sum(), z)
    assert not found.any()


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_extreme_logits(scale: float) -> None:
    method = build()
    for _ in range(60):  # the memory becomes as sure as it can
        z = scale * F.one_hot(LABELS, C).float()
        assert bool(gradient(method, z).isfinite().all())
    regulariser = method.objective(z, LABELS, INDEX)["regulariser"]
    assert -9.3 < regulariser < 0 and bool(method.memory.isfinite().all())


def test_where_label_and_memory_disagree_a_large_weight_overrules_the_label() -> None:
    """At p = (1/2, 1/2) a memory without doubt: pushed to the memory for lam > 1, to the label for lam < 1."""
    labels, z = torch.tensor([0]), torch.tensor([[10.0, 10.0, -10, -10, -10, -10, -10]])
    for lam, sign in ((0.5, -1.0), (3.0, 1.0)):
        method = build(lam=lam, beta=1.0)
        method.memory[0, 1] = 1.0
        leaf = z.clone().requires_grad_()
        loss = method.objective(leaf, labels, torch.tensor([0]))["loss"]
        assert torch.sign(torch.autograd.grad(loss, leaf)[0][0, 0]) == sign


def test_suspicion_of_a_label() -> None:
    memory = torch.tensor([[0.0, 0.0], [0.6, 0.2], [0.0, 0.9]])
    assert label_share(memory, torch.tensor([0, 0, 0])).tolist() == pytest.approx([0.5, 0.75, 0.0])


def test_wrong_settings() -> None:
    for name, value in (("lam", -1.0), ("beta", -0.1), ("beta", 1.1)):
        with pytest.raises(ValueError, match=f"{name} = "):
            elr.Elr.Config(**{name: value})


@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.0, 50.0)])
def test_every_sample_is_remembered_once_an_epoch(train: Callable[..., Any], noise: float, factor: float) -> None:
    folder, seen = train("elr", noise=noise, factor=factor, epochs=3)
    method = seen.method
    assert torch.allclose(method.memory.sum(1), torch.full_like(method.memory[:, 0], 1 - 0.7**3), atol=1e-5)
    assert np.array_equal(method.task.labels.numpy(), seen.noisy_label)
    selection = folder.epochs()[-1]["selection"]
    agrees = (method.memory.argmax(1) == method.task.labels).float().mean().item()
    assert selection["kept"] == pytest.approx(agrees)
