"""RUL: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.rul as rul
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    B,
    C,
    TinyNet,
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
    number,
    parameters_of,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"dim": 8, "grid": 2, "dropout": 0.0, "classifier_lr": 1.0},
    {"relabel": "scn", "relabel_epoch": 1, "relabel_margin": 0.1},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(rul.Rul, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dim", 0), ("grid", 0), ("dropout", 1.5), ("classifier_lr", 0.0), ("relabel_epoch", 0), ("relabel_margin", -0.1)],
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(rul.Rul, name, value)


def rul_inputs(seed: int = 0, dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    mu, log_var = (torch.randn(B, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    return mu, log_var, torch.randperm(B, generator=g)


def test_shares() -> None:
    _, log_var, partner = rul_inputs()
    log_u = rul.log_uncertainty(log_var)
    u = log_var.exp().mean(dim=1, keepdim=True)
    torch.testing.assert_close(log_u.exp(), u)
    own, other = rul.shares(log_u, partner)
    torch.testing.assert_close(own, u / (u + u[partner]))
    torch.testing.assert_close(own + other, torch.ones_like(own))
    swap = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])
    own, other = rul.shares(log_u, swap)
    torch.testing.assert_close(own, other[swap])
    equal, _ = rul.shares(torch.full((B, 1), 3.0), partner)
    assert bool((equal == 0.5).all())
    dominant = torch.zeros(B, 1)
    dominant[0] = 30.0
    assert number(rul.shares(dominant, swap)[0][0]) == pytest.approx(1) and number(
        rul.shares(dominant, swap)[0][1]
    ) == pytest.approx(0)
    torch.testing.assert_close(rul.shares(rul.log_uncertainty(log_var + 5), partner)[0], rul.shares(log_u, partner)[0])
    huge = rul.shares(rul.log_uncertainty((log_var + 200).float()), partner)[0]
    assert bool(huge.isfinite().all())


def test_loss() -> None:
    z, y, partner = logits(0), labels(1), torch.randperm(B, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        rul.add_up_loss(z, y, partner), 0.5 * F.cross_entropy(z, y) + 0.5 * F.cross_entropy(z, y[partner])
    )
    itself = torch.arange(B)
    torch.testing.assert_close(rul.add_up_loss(z, y, itself), F.cross_entropy(z, y))
    same = torch.full((B,), 2)
    torch.testing.assert_close(rul.add_up_loss(z, same, partner), F.cross_entropy(z, same))
    swap = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])
    torch.testing.assert_close(rul.add_up_loss(z, y, swap), rul.add_up_loss(z, y[swap], swap))


def test_identity_is_ordinary_training_and_uncertainty_is_relative() -> None:
    mu, log_var, partner = rul_inputs()
    itself = torch.arange(B)
    torch.testing.assert_close(rul.mix(mu, rul.log_uncertainty(log_var), itself), mu)
    weight, y = torch.randn(C, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5)), labels(6)
    loss = rul.add_up_loss(rul.mix(mu, rul.log_uncertainty(log_var), partner) @ weight.T, y, partner)
    grad_mu, grad_var = torch.autograd.grad(loss, (mu, log_var))
    assert bool((grad_var != 0).any()) and number(grad_var.sum()) == pytest.approx(0, abs=1e-12)
    assert bool((grad_mu != 0).any(1).all())


def test_heads_are_separate_and_take_any_map() -> None:
    method = build(rul.Rul, grid=2, dim=6)
    assert method.mu_head.project.weight.data_ptr() != method.log_var_head.project.weight.data_ptr()
    maps = torch.randn(B, 5, 2, 2)
    a, b = (method.mu_head(maps) for _ in range(2))
    assert a.shape == (B, 6) and not torch.equal(a, b)  # dropout
    images = torch.randn(B, 3, 10, 10)
    assert method.features(images).shape == (B, 5, 2, 2) != method.net.forward_features(images).shape
    head = rul.Head(5, 6, 2, 0.0)
    assert head.norm.eps == head.norm_out.eps == 2e-5 and not head.norm.affine and head.norm_out.affine
    torch.testing.assert_close(
        head(maps), head.norm_out(F.linear(head.norm(maps).flatten(1), head.project.weight, head.project.bias))
    )
    assert rul.Head(512, 64, 7, 0.4).project.in_features == 25088


def test_projection_and_dropout_are_those_of_torch() -> None:
    maps, fast = torch.randn(B, 5, 2, 3, requires_grad=True), rul.Projection(30, 4)
    for layout in (torch.contiguous_format, torch.channels_last):
        mine = fast(maps.contiguous(memory_format=layout))
        plain = F.linear(maps.flatten(1), fast.weight, fast.bias)
        torch.testing.assert_close(mine, plain)
        wanted = torch.autograd.grad(plain.square().sum(), (maps, fast.weight, fast.bias))
        torch.testing.assert_close(torch.autograd.grad(mine.square().sum(), (maps, fast.weight, fast.bias)), wanted)
    ones, dropout = torch.ones(100_000), rul.Dropout(0.4)
    kept = dropout(ones)
    assert set(kept.tolist()) == {0.0, number(1 / torch.tensor(0.6))} and number((kept > 0).float().mean()) == (
        pytest.approx(0.6, abs=0.01)
    )
    assert torch.equal(dropout.eval()(ones), ones) and torch.equal(rul.Dropout(0.0)(ones), ones)


def test_answers_without_partners() -> None:
    method = build(rul.Rul)
    images = torch.randn(5, 3, 10, 10)
    method.train_step(batch_for(method), TinyRun(method))
    method.eval()
    torch.testing.assert_close(method.predict(images)[:1], method.predict(images[:1]))
    assert torch.equal(method.predict(images), method.predict(images))


def test_classifier_learns_faster_and_the_networks_own_is_out() -> None:
    method = build(rul.Rul)
    run = TinyRun(method, lr=0.05)
    first, second = run.optimizers["main"].param_groups
    assert (first["lr"], second["lr"]) == pytest.approx((0.05, 0.5))
    assert {id(p) for p in second["params"]} == {id(p) for p in method.fc.parameters()}
    trained = {id(p) for group in (first, second) for p in group["params"]}
    assert trained == {id(p) for p in method.parameters()} - {id(p) for p in method.net.fc.parameters()}
    before = parameters_of(method)
    method.train_step(batch_for(method), run)
    moved = {name for name, value in method.named_parameters() if not torch.equal(value, before[name])}
    assert {"net.conv.weight", "mu_head.project.weight", "log_var_head.project.weight", "fc.weight"} <= moved
    assert not any(name.startswith("net.fc") for name in moved)


def test_permutation_comes_from_the_runs_stream() -> None:
    losses = []
    for step in (0, 0, 1):
        method = build(rul.Rul, dropout=0.0)
        run = TinyRun(method)
        run.step = step
        torch.manual_seed(step + 5)
        method.train_step(batch_for(method), run)
        losses.append(run.minimized[0][1])
    assert losses[0] == losses[1] != losses[2]


def test_relabels_on_unmixed_features_from_its_epoch_on() -> None:
    method = build(rul.Rul, relabel="scn", relabel_epoch=10, relabel_margin=0.2)
    given = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
    batch = batch_for(method, labels=given)
    with torch.no_grad():
        method.fc.weight.zero_()
        method.fc.bias.copy_(torch.tensor([8.0, 0, 0, 0, 0, 0, 0]))
    run = TinyRun(method, epoch=8)
    run.frozen = True
    method.train_step(batch, run)
    assert bool((method.new_label == rul.NOT_RELABELLED).all())
    run.epoch = 9
    assert int(method.train_step(batch, run)["relabelled"]) == 6
    assert (
        method.current_labels(batch.index, batch.label).tolist() == [0] * 8 and batch.label.tolist() == given.tolist()
    )
    never = build(rul.Rul)
    assert "relabelled" not in never.train_step(batch, TinyRun(never, epoch=15))
    changed, best = ops.clearly_better_class(torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]]), torch.tensor([0]), 0.5)
    assert not bool(changed) and int(best) == 1  # strict


def test_scores_by_uncertainty() -> None:
    method = build(rul.Rul)
    batch = batch_for(method)
    method.train_step(batch, TinyRun(method))
    score = method.clean_score()
    assert torch.equal(score[batch.index], -method.log_u[batch.index]) and bool(score.isfinite().all())


def test_refuses_networks_without_maps() -> None:
    class Tokens(TinyNet):
        def forward_features(self, x: Tensor) -> Tensor:
            return super().forward_features(x).flatten(2)

    method = build(rul.Rul, make_net=Tokens)
    with pytest.raises(ValueError, match="Tokens gives"):
        method.predict(torch.randn(2, 3, 10, 10))
