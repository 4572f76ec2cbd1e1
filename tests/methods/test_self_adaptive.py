"""Properties of self-adaptive training: when targets adapt, how they move, and how they weigh."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fer_bench_methods.self_adaptive as sat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from fer_bench.plugins.registry import describe_config, discover
from fer_bench.testing.bench import Bench

C, N, B = 7, 20, 6
LABELS = torch.arange(N) % C
INDEX = torch.tensor([3, 0, 19, 7, 11, 2])


def build(epochs: int = 60, **options: Any) -> sat.SelfAdaptive:
    counts = torch.bincount(LABELS)
    return sat.SelfAdaptive(sat.SelfAdaptive.Config(**options), Task(C, N, counts, epochs, B, labels=LABELS))


def logits(scale: float = 2.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(B, C, generator=torch.Generator().manual_seed(seed))


def test_targets_begin_as_the_observed_labels() -> None:
    assert torch.equal(build().target, F.one_hot(LABELS, C).float()) and (build().clean_score() == 1).all()


@pytest.mark.parametrize(("epochs", "first"), [(14, 4), (40, 12), (60, 18), (200, 60)])
def test_when_targets_adapt(epochs: int, first: int) -> None:
    adapts = [build().adapting(SimpleNamespace(epoch=e, epochs=epochs)) for e in range(epochs)]
    assert adapts == [False] * first + [True] * (epochs - first)


@pytest.mark.parametrize(("epochs", "momentum"), [(14, 0.5), (60, 0.7), (100, 0.81), (200, 0.9), (400, 0.9)])
def test_the_memory_fits_the_budget(epochs: int, momentum: float) -> None:
    assert build(epochs=epochs).momentum == pytest.approx(momentum, abs=0.005)
    assert build(epochs=epochs, momentum=0.8).momentum == 0.8


def test_one_step_written_out() -> None:
    method, z = build(momentum=0.7), logits()
    leaf = z.clone().requires_grad_()
    parts = method.objective(leaf, INDEX)
    t = 0.7 * F.one_hot(LABELS[INDEX], C) + 0.3 * F.softmax(z, 1)
    assert torch.allclose(method.target[INDEX], t), "the target already holds this step"
    w = t.max(1).values
    w = w * B / w.sum()
    assert torch.allclose(parts["weight"], w) and parts["weight"].mean() == pytest.approx(1.0)
    assert torch.allclose(parts["loss"], -(w * (t * F.log_softmax(z, 1)).sum(1)).mean())
    (found,) = torch.autograd.grad(parts["loss"], leaf)
    assert torch.allclose(found, w[:, None] / B * (F.softmax(z, 1) - t), atol=1e-7), "targets take no gradient"


def test_the_ends_of_the_momentum() -> None:
    keeps, z = build(momentum=1.0), logits().requires_grad_()
    assert torch.allclose(keeps.objective(z, INDEX)["loss"], F.cross_entropy(z, LABELS[INDEX]))
    follows = build(momentum=0.0, weights=False)
    (found,) = torch.autograd.grad(follows.objective(z, INDEX)["loss"], z)
    assert torch.allclose(follows.target[INDEX], F.softmax(z.detach(), 1)) and torch.allclose(
        found, torch.zeros(B, C), atol=1e-7
    )


def test_targets_stay_distributions_and_other_rows_stay() -> None:
    method = build(momentum=0.6)
    for seed in range(5):
        method.objective(logits(5.0, seed), INDEX)
    assert torch.allclose(method.target.sum(1), torch.ones(N), atol=1e-6) and bool((method.target >= 0).all())
    others = [row for row in range(N) if row not in INDEX]
    assert torch.equal(method.target[others], F.one_hot(LABELS[others], C).float())


@pytest.mark.parametrize(("momentum", "visits"), [(0.9, 7), (0.7, 2), (0.51, 2), (0.4, 1)])
def test_how_long_a_label_lasts(momentum: float, visits: int) -> None:
    method, other = build(momentum=momentum), (LABELS[INDEX] + 1) % C
    for visit in range(1, 9):
        method.objective(100 * F.one_hot(other, C).float(), INDEX)
        assert torch.allclose(method.clean_score()[INDEX], torch.full((B,), momentum**visit), atol=1e-5)
        overruled = method.target[INDEX].argmax(1) == other
        assert overruled.all() if visit >= visits else not overruled.any()


def test_the_order_of_a_batch_does_not_matter() -> None:
    a, b, order = build(), build(), torch.tensor([5, 0, 3, 1, 4, 2])
    mine, other = a.objective(logits(), INDEX), b.objective(logits()[order], INDEX[order])
    assert torch.allclose(mine["loss"], other["loss"]) and torch.allclose(a.target, b.target)
    assert torch.allclose(mine["weight"][order], other["weight"])


def test_weights() -> None:
    assert sat.certainty_weights(torch.tensor([[0.9, 0.1], [0.3, 0.3]])).tolist() == pytest.approx([1.5, 0.5])
    assert sat.certainty_weights(torch.tensor([[0.2, 0.8]])).tolist() == [1.0]
    off = build(weights=False)
    assert (off.objective(logits(), INDEX)["weight"] == 1).all()


def test_the_symmetric_loss() -> None:
    z, t = logits(), F.softmax(logits(seed=3), 1)
    p = F.softmax(z, 1)
    found = sat.symmetric_cross_entropy(z, t, 0.5, 2.0)
    assert torch.allclose(found, -(0.5 * t * p.log() + 2.0 * p * t.log()).sum(1), atol=1e-5)
    method = build(loss="sce")
    leaf = (1e4 * F.one_hot((LABELS[INDEX] + 1) % C, C).float()).requires_grad_()
    loss = method.objective(leaf, INDEX)["loss"]
    assert bool(loss.isfinite()) and bool(torch.autograd.grad(loss, leaf)[0].isfinite().all())


def test_wrong_settings() -> None:
    for name, value in (("start", 1.5), ("momentum", -0.1), ("backward", -1.0)):
        with pytest.raises(ValueError, match=f"{name} = "):
            sat.SelfAdaptive.Config(**{name: value})


def test_until_it_adapts_it_is_cross_entropy_number_for_number(bench: Bench) -> None:
    plugins, runs = discover(), {}
    for key, settings in (("ce", {}), ("self_adaptive", {"start": 1.0}), ("self_adaptive", {"start": 0.5})):
        config = describe_config(plugins[key].configure(bench.dataset.name, "clean", settings))
        spec = dataclasses.replace(bench.spec(plugins[key], 0.3, epochs=4), config=config)
        runs[str(settings)] = bench.train(plugins[key], spec, f"until {settings}")[0].epochs()
    ce, never, half = ([record["test"] for record in epochs] for epochs in runs.values())
    assert ce == never and ce[:2] == half[:2] and ce[3] != half[3]


@pytest.mark.parametrize(
    ("noise", "factor", "options"), [(0.4, 1.0, {}), (0.0, 50.0, {}), (0.4, 1.0, {"loss": "sce", "weights": False})]
)
def test_it_trains(train: Callable[..., Any], noise: float, factor: float, options: dict[str, Any]) -> None:
    folder, seen = train("self_adaptive", noise=noise, factor=factor, epochs=4, **options)
    method, records = seen.method, folder.epochs()
    assert records[0]["selection"] is None and records[-1]["selection"] is not None
    kept = (method.target.argmax(1) == method.task.labels).float().mean().item()
    assert records[-1]["selection"]["kept"] == pytest.approx(kept)
    assert np.array_equal(method.task.labels.numpy(), seen.noisy_label)
