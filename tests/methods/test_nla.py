"""NLA: what its formulas imply, on tiny networks."""

from __future__ import annotations

import math
from typing import Any

import fer_bench_methods.nla as nla
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    B,
    C,
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
    number,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"gaussian": "unnormalised"},
    {"reg": "bhattacharyya_sum", "detach_weight": True},
    {"reg": "jsd_mean", "schedule": False},
    {"reg": "l1_mean"},
    {"reg": "cam"},
    {"reg": "none"},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(nla.Nla, options, epoch, size)


@pytest.mark.parametrize(
    ("name", "value"), [("lam_a", -1.0), ("slope", 1.0), ("t_std_major", 0.0), ("f_std_ratio", 0.5)]
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(nla.Nla, name, value)


def weight_of(z: Tensor, y: Tensor, s: float = 0.7) -> Tensor:
    return build(nla.Nla).weight(z, y, s)


def test_weight_belongs_to_its_own_row() -> None:
    """The first official release took a B x B product for the exponent, which gave every sample others' weights."""
    z, y = logits(0), labels(1)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(2))
    w = weight_of(z, y)
    assert w.shape == (B,)
    torch.testing.assert_close(weight_of(z[order], y[order]), w[order])
    changed = z.clone()
    changed[1:] = logits(3)[1:]
    torch.testing.assert_close(weight_of(changed, y)[0], w[0])
    # and the loss is a mean of B terms, not of B x B
    method = build(nla.Nla, lam_a=0.0, lam_b=1.0, lam_c=0.0)
    alone = [method.objective(z[i : i + 1], z[i : i + 1], y[i : i + 1], 0.7)["loss"] for i in range(B)]
    torch.testing.assert_close(method.objective(z, z, y, 0.7)["loss"], torch.stack(alone).mean())


def test_weight_is_the_textbook_gaussian() -> None:
    true, false = nla.true_gaussian((0.5, 0.5), 0.8, 2.0, 0.6), nla.false_gaussian((0.3, 0.15), 0.91, 6.0)
    assert true.variance == pytest.approx(0.80) and true.covariance == pytest.approx(-0.48 * 0.6)
    assert false.variance == pytest.approx(0.851103, abs=1e-6) and false.covariance == pytest.approx(0.805097, abs=1e-6)
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for g in (true, false):
        matrix = torch.tensor([[g.variance, g.covariance], [g.covariance, g.variance]], dtype=torch.float64)
        mean = torch.tensor([g.mean_gt, g.mean_nn], dtype=torch.float64)
        expected = torch.distributions.MultivariateNormal(mean, matrix).log_prob(points).exp()
        torch.testing.assert_close(g(points[:, 0], points[:, 1]), expected)


def test_flip_regulariser() -> None:
    z, m = logits(0), logits(1)
    reg = nla.flip_regulariser
    row = torch.arange(B, dtype=z.dtype)[:, None]
    assert number(reg(z, z + row)) == pytest.approx(0, abs=1e-12) and number(reg(z, m)) > 0
    torch.testing.assert_close(reg(z, m), reg(m, z))
    torch.testing.assert_close(reg(z + row, m - 3 * row), reg(z, m))
    p, q = F.softmax(z, 1), F.softmax(m, 1)
    middle = F.softmax((z + m) / 2, 1)
    kl = 0.5 * ((middle * (middle / p).log()).sum() + (middle * (middle / q).log()).sum())
    torch.testing.assert_close(reg(z, m, "bhattacharyya_sum"), kl)
    torch.testing.assert_close(reg(z, m, "bhattacharyya_sum"), -(p * q).sqrt().sum(1).log().sum())
    assert number(reg(100 * z, 100 * m, "jsd_mean")) <= math.log(2) + 1e-9
    torch.testing.assert_close(reg(z, m, "l1_mean"), (p - q).abs().sum() / B)
    assert number(reg(z, z + row, "l1_mean")) == pytest.approx(0, abs=1e-12)


def test_the_maps_of_a_symmetric_network_agree() -> None:
    """With filters that equal their mirror images, the maps of the mirrored face are the mirrored maps."""
    method = build(nla.Nla, reg="cam")
    faces = torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    mirrored = faces.flip(-1)
    logits, of_mirror, distance = method.forward_with_maps(faces, mirrored)
    assert number(distance) > 0 and logits.shape == of_mirror.shape == (3, 7)
    torch.testing.assert_close(method.forward_with_maps(mirrored, faces)[2], distance)
    (grad,) = torch.autograd.grad(distance, method.net.get_classifier().weight, allow_unused=True)
    assert grad is None, "the distance trains the features and not the classifier"


def test_regulariser_keeps_its_strength_at_any_batch_size() -> None:
    def ratio(size: int, kind: Any) -> float:
        z = logits(0, 1).repeat(size, 1).requires_grad_()
        m, y = logits(1, 1).repeat(size, 1), torch.zeros(size, dtype=torch.int64)
        (of_reg,) = torch.autograd.grad(nla.flip_regulariser(z, m, kind), z)
        (of_ce,) = torch.autograd.grad(F.cross_entropy(z, y), z)
        return number(of_reg.norm() / of_ce.norm())

    assert ratio(4, "bhattacharyya_scaled") == pytest.approx(ratio(32, "bhattacharyya_scaled"))
    assert ratio(32, "bhattacharyya_scaled") == pytest.approx(ratio(32, "bhattacharyya_sum"))
    assert ratio(4, "bhattacharyya_sum") == pytest.approx(ratio(32, "bhattacharyya_sum") / 8)


def test_ties_limits_and_epochs() -> None:
    tie = torch.zeros(1, C, dtype=torch.float64)
    p_gt, p_nn = nla.ambiguity(F.softmax(tie, 1), torch.tensor([3]))
    assert bool(p_gt >= p_nn)
    true, false = nla.true_gaussian((0.5, 0.5), 0.8, 2.0, 1.0), nla.false_gaussian((0.3, 0.15), 0.91, 6.0)
    torch.testing.assert_close(nla.ambiguity_weight(p_gt, p_nn, true, false), true(p_gt, p_nn))
    noisy = nla.ambiguity_weight(torch.tensor([0.0]), torch.tensor([1.0]), true, false)
    assert number(noisy) < 1e-3
    peak = true(torch.tensor(0.5), torch.tensor(0.5))
    assert all(peak > true(torch.tensor(0.5 + a), torch.tensor(0.5 - b)) for a, b in ((0.1, 0.1), (0.1, 0), (0, 0.1)))
    s = [nla.sigma_schedule(e, 60) for e in range(60)]
    assert s[0] == 0 and s == sorted(s) and s[-1] < 1 and len(set(s)) == 60
    assert (s[1], s[10], s[30]) == pytest.approx((0.2212, 0.9179, 0.9994), abs=1e-4)
    # the weight of wrongly predicted samples does not depend on the epoch, that of the others does
    z, y = torch.tensor([[0.0, 2.0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0]]), torch.tensor([0, 0])
    early, late = weight_of(z, y, 0.0), weight_of(z, y, 1.0)
    assert early[0] == late[0] and early[1] != late[1]


def test_weight_ignores_which_other_class_is_which() -> None:
    z, y = logits(0, 1), torch.tensor([0])
    shuffled = z[:, [0, 3, 1, 6, 5, 2, 4]]
    torch.testing.assert_close(weight_of(z, y), weight_of(shuffled, y))


def test_loss_parts_and_gradients() -> None:
    z, m, y = logits(0), logits(1), labels(2)
    only_ce = build(nla.Nla, lam_b=0.0, lam_c=0.0).objective(z, m, y, 0.3)["loss"]
    torch.testing.assert_close(only_ce, 0.5 * F.cross_entropy(z, y))
    m.requires_grad_()
    (grad,) = torch.autograd.grad(build(nla.Nla).objective(z, m, y, 0.3)["loss"], m)
    (of_reg,) = torch.autograd.grad(0.5 * nla.flip_regulariser(z, m), m)
    torch.testing.assert_close(grad, of_reg)
    z.requires_grad_()
    grads = [
        torch.autograd.grad(build(nla.Nla, detach_weight=d, lam_c=0.0).objective(z, m, y, 0.3)["loss"], z)[0]
        for d in (False, True)
    ]
    assert not torch.allclose(*grads)


def test_takes_two_passes_and_its_epoch_from_the_run() -> None:
    method = build(nla.Nla)
    images = batch_for(method).view("weak")
    # labels that the network predicts: the weight of wrongly predicted samples is the same in every epoch
    batch = batch_for(method, labels=method.net(images).argmax(dim=1))
    method = build(nla.Nla)
    run = TinyRun(method, epoch=0)
    first = method.train_step(batch, run)
    assert method.net.passes == [B, B]
    z, m = (build(nla.Nla).net(batch.view(view)) for view in ("weak", "mirror"))
    assert run.minimized == [("main", pytest.approx(number(method.objective(z, m, batch.label, 0.0)["loss"])))]
    late = build(nla.Nla)
    second = late.train_step(batch, TinyRun(late, epoch=10))
    torch.testing.assert_close(first["ce"], second["ce"])
    assert first["weight"] != second["weight"]
