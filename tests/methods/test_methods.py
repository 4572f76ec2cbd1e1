"""Properties of the methods' own mathematics and updates, on tiny networks: what each paper's formula implies."""

from __future__ import annotations

import math
from typing import Any

import fer_bench_methods.balanced_softmax as bs
import fer_bench_methods.cb as cb
import fer_bench_methods.ce as ce
import fer_bench_methods.coteaching as coteaching
import fer_bench_methods.eac as eac
import fer_bench_methods.jocor as jocor
import fer_bench_methods.nla as nla
import fer_bench_methods.scn as scn
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from fer_bench.method import Batch, Method
from tests.helpers.tiny import RAF, B, C, N, TinyNet, TinyRun, batch_for, build, labels, logits, number, task

ALL: list[tuple[type[Method], dict[str, Any]]] = [
    (ce.Ce, {}),
    (nla.Nla, {}),
    (nla.Nla, {"gaussian": "unnormalised"}),
    (nla.Nla, {"reg": "bhattacharyya_sum", "detach_weight": True}),
    (nla.Nla, {"reg": "jsd_mean", "schedule": False}),
    (coteaching.Coteaching, {}),
    (coteaching.Coteaching, {"schedule": "official", "counting": "official", "divide_twice": True}),
    (coteaching.Coteaching, {"lr_schedule": "official", "forget_rate": 0.4, "num_gradual": 3, "exponent": 2.0}),
    (jocor.Jocor, {}),
    (jocor.Jocor, {"schedule": "official", "counting": "official", "stable_kl": False}),
    (jocor.Jocor, {"lr_schedule": "official", "halve_noise_rate": True, "co_lambda": 0.5}),
    (scn.Scn, {}),
    (scn.Scn, {"relabel_scope": "low", "relabel_epoch": 1, "dropout": 0.2}),
    (eac.Eac, {}),
    (eac.Eac, {"shared_erasing": True}),
    (cb.Cb, {}),
    (cb.Cb, {"variant": "sigmoid", "reduction": "weighted_mean"}),
    (cb.Cb, {"variant": "focal", "gamma": 2.0}),
    (cb.Cb, {"variant": "focal", "modulator": "official", "start_epoch": 5}),
    (bs.BalancedSoftmax, {}),
    (bs.BalancedSoftmax, {"tau": 0.5}),
]
IDS = [f"{cls.__name__}-{'-'.join(map(str, options)) or 'default'}" for cls, options in ALL]


@pytest.mark.parametrize(("cls", "options"), ALL, ids=IDS)
@pytest.mark.parametrize("epoch", [0, 12])
@pytest.mark.parametrize("size", [B, 2])
def test_every_option_trains(cls: type[Method], options: dict[str, Any], epoch: int, size: int) -> None:
    method = build(cls, **options)
    run = TinyRun(method, epoch, adam=True)
    before = [p.clone() for p in method.parameters()]
    method.on_epoch_start(run)
    logged = method.train_step(batch_for(method, size=size), run)
    assert run.minimized and all(math.isfinite(value) for _, value in run.minimized)
    assert all(math.isfinite(number(v)) for v in logged.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, method.parameters(), strict=True))
    method.eval()
    images = torch.randn(3, 3, 10, 10)
    for answer in (method.predict(images), *method.other_predictions(images).values()):
        assert answer.shape == (3, C) and bool(answer.isfinite().all())
    score = method.clean_score()
    assert score is None or (score.shape == (N,) and bool(score.isfinite().all()))
    assert sum(stage.share for stage in method.stages()) == 1


@pytest.mark.parametrize(
    ("cls", "options", "name"),
    [
        (nla.Nla, {"lam_a": -1.0}, "lam_a"),
        (nla.Nla, {"slope": 1.0}, "slope"),
        (nla.Nla, {"t_std_major": 0.0}, "t_std_major"),
        (nla.Nla, {"f_std_ratio": 0.5}, "f_std_ratio"),
        (coteaching.Coteaching, {"forget_rate": 1.5}, "forget_rate"),
        (coteaching.Coteaching, {"num_gradual": 0}, "num_gradual"),
        (coteaching.Coteaching, {"decay_start": -1}, "decay_start"),
        (coteaching.Coteaching, {"exponent": 0.0}, "exponent"),
        (jocor.Jocor, {"co_lambda": 1.1}, "co_lambda"),
        (jocor.Jocor, {"forget_rate": -0.1}, "forget_rate"),
        (jocor.Jocor, {"num_gradual": 0}, "num_gradual"),
        (jocor.Jocor, {"decay_start": -1}, "decay_start"),
        (scn.Scn, {"beta": 1.5}, "beta"),
        (scn.Scn, {"relabel_epoch": 0}, "relabel_epoch"),
        (eac.Eac, {"lam": -1.0}, "lam"),
        (cb.Cb, {"beta": 1.0}, "beta"),
        (cb.Cb, {"gamma": -1.0}, "gamma"),
        (bs.BalancedSoftmax, {"tau": -1.0}, "tau"),
    ],
)
def test_bounds_name_the_field_and_the_value(cls: type[Method], options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*{next(iter(options.values()))}.* out of range"):
        cls.Config(**options)


def test_cross_entropy_is_torch_cross_entropy() -> None:
    method = build(ce.Ce)
    batch = batch_for(method)
    expected = F.cross_entropy(method.net(batch.view("weak")), batch.label)
    torch.testing.assert_close(method.loss(batch, TinyRun(method)), expected)


# --- NLA


def weight_of(z: Tensor, y: Tensor, s: float = 0.7) -> Tensor:
    return build(nla.Nla).weight(z, y, s)


def test_nla_weight_belongs_to_its_own_row() -> None:
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


def test_nla_weight_is_the_textbook_gaussian() -> None:
    true, false = nla.true_gaussian((0.5, 0.5), 0.8, 2.0, 0.6), nla.false_gaussian((0.3, 0.15), 0.91, 6.0)
    assert true.variance == pytest.approx(0.80) and true.covariance == pytest.approx(-0.48 * 0.6)
    assert false.variance == pytest.approx(0.851103, abs=1e-6) and false.covariance == pytest.approx(0.805097, abs=1e-6)
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for g in (true, false):
        matrix = torch.tensor([[g.variance, g.covariance], [g.covariance, g.variance]], dtype=torch.float64)
        mean = torch.tensor([g.mean_gt, g.mean_nn], dtype=torch.float64)
        expected = torch.distributions.MultivariateNormal(mean, matrix).log_prob(points).exp()
        torch.testing.assert_close(g(points[:, 0], points[:, 1]), expected)


def test_nla_flip_regulariser() -> None:
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


def test_nla_regulariser_keeps_its_strength_at_any_batch_size() -> None:
    def ratio(size: int, kind: Any) -> float:
        z = logits(0, 1).repeat(size, 1).requires_grad_()
        m, y = logits(1, 1).repeat(size, 1), torch.zeros(size, dtype=torch.int64)
        (of_reg,) = torch.autograd.grad(nla.flip_regulariser(z, m, kind), z)
        (of_ce,) = torch.autograd.grad(F.cross_entropy(z, y), z)
        return number(of_reg.norm() / of_ce.norm())

    assert ratio(4, "bhattacharyya_scaled") == pytest.approx(ratio(32, "bhattacharyya_scaled"))
    assert ratio(32, "bhattacharyya_scaled") == pytest.approx(ratio(32, "bhattacharyya_sum"))
    assert ratio(4, "bhattacharyya_sum") == pytest.approx(ratio(32, "bhattacharyya_sum") / 8)


def test_nla_ties_limits_and_epochs() -> None:
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


def test_nla_weight_ignores_which_other_class_is_which() -> None:
    z, y = logits(0, 1), torch.tensor([0])
    shuffled = z[:, [0, 3, 1, 6, 5, 2, 4]]
    torch.testing.assert_close(weight_of(z, y), weight_of(shuffled, y))


def test_nla_loss_parts_and_gradients() -> None:
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


def test_nla_takes_two_passes_and_its_epoch_from_the_run() -> None:
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


# --- small-loss selection


def test_forget_rate_ramps() -> None:
    official = [ops.forget_rate_at(e, 0.3, 10, schedule="official") for e in range(30)]
    paper = [ops.forget_rate_at(e, 0.3, 10) for e in range(30)]
    for ramp in (official, paper):
        assert ramp[0] == 0 and ramp == sorted(ramp) and ramp[-1] == pytest.approx(0.3)
    assert official[9] == pytest.approx(0.3) and paper[9] == pytest.approx(0.27) and paper[10] == pytest.approx(0.3)
    assert [ops.forget_rate_at(e, 0.3, 1, schedule="official") for e in range(3)] == [0.0, 0.3, 0.3]
    # the official exponent acts on the rate and overshoots
    assert ops.forget_rate_at(14, 0.45, 15, 0.5, "official") == pytest.approx(0.45**0.5)
    assert ops.forget_rate_at(14, 0.45, 15, 0.5, "paper") < 0.45
    assert [ops.default_num_gradual(e) for e in (200, 40, 39, 16, 4)] == [10, 10, 9, 4, 2]


def test_keep_count() -> None:
    assert ops.keep_count(10, 0.8, "official") == 1 and ops.keep_count(10, 0.8) == 2
    assert ops.keep_count(1, 0.9, "official") == 0 and ops.keep_count(1, 0.9) == 1
    assert ops.keep_count(8, 0.0) == 8


def test_small_loss_prefers_lower_positions_in_ties() -> None:
    assert ops.small_loss(torch.ones(6), 3).tolist() == [0, 1, 2]
    assert ops.small_loss(torch.tensor([3.0, 1.0, 2.0]), 2).tolist() == [1, 2]


# --- Co-teaching


def test_coteaching_trains_each_network_on_the_choice_of_the_other() -> None:
    y = torch.zeros(B, dtype=torch.int64)
    z1, z2 = torch.zeros(B, C), torch.zeros(B, C)
    z1[:4, 0] += 5  # the first network finds the first half easy, the second network the other half
    z2[4:, 0] += 5
    z1.requires_grad_(), z2.requires_grad_()
    ce_1, ce_2 = (F.cross_entropy(z, y, reduction="none") for z in (z1, z2))
    loss_1, loss_2, kept_1, kept_2 = ops.small_loss_exchange(ce_1, ce_2, 4)
    assert sorted(kept_1.tolist()) == [0, 1, 2, 3] and sorted(kept_2.tolist()) == [4, 5, 6, 7]
    torch.testing.assert_close(loss_1, ce_1[4:].mean())
    (g1,) = torch.autograd.grad(loss_1, z1)
    (g2,) = torch.autograd.grad(loss_2, z2)
    assert bool((g1[:4] == 0).all()) and bool((g1[4:].abs().sum(1) > 0).all())
    assert bool((g2[4:] == 0).all()) and bool((g2[:4].abs().sum(1) > 0).all())


def test_coteaching_without_forgetting_is_plain_cross_entropy() -> None:
    z1, z2, y = logits(0), logits(1), labels(2)
    ce_1, ce_2 = (F.cross_entropy(z, y, reduction="none") for z in (z1, z2))
    loss_1, loss_2, *_ = ops.small_loss_exchange(ce_1, ce_2, ops.keep_count(B, 0.0))
    torch.testing.assert_close(loss_1, F.cross_entropy(z1, y))
    torch.testing.assert_close(loss_2, F.cross_entropy(z2, y))
    twice, *_ = ops.small_loss_exchange(ce_1, ce_2, 4, divide_twice=True)
    once, *_ = ops.small_loss_exchange(ce_1, ce_2, 4)
    torch.testing.assert_close(twice * 4, once)


def test_coteaching_selection_follows_the_batch_order() -> None:
    ce_1, ce_2 = torch.rand(2, B, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    *_, kept, _ = ops.small_loss_exchange(ce_1, ce_2, 5)
    *_, kept_permuted, _ = ops.small_loss_exchange(ce_1[order], ce_2[order], 5)
    assert sorted(order[kept_permuted].tolist()) == sorted(kept.tolist())
    *_, same_1, same_2 = ops.small_loss_exchange(ce_1, ce_1, 5)
    assert torch.equal(same_1, same_2)


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_two_networks_are_built_by_role_and_start_apart(cls: type[Method]) -> None:
    method = build(cls)
    assert (method.net_a.role, method.net_b.role) == ("a", "b")
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight)
    assert method.needs(method.config).networks == 2


def test_coteaching_step_reports_what_the_first_network_saw() -> None:
    method = build(coteaching.Coteaching)
    batch = batch_for(method)
    run = TinyRun(method, epoch=19)
    run.frozen = True
    method.train_step(batch, run)
    ((index, kept),) = run.selected
    assert torch.equal(index, batch.index) and int(kept.sum()) == 6  # noise rate 0.25 of 8
    assert [name for name, _ in run.minimized] == ["a", "b"]
    ce_b = F.cross_entropy(method.net_b(batch.view("weak")), batch.label, reduction="none")
    assert set(torch.nonzero(kept).flatten().tolist()) == set(ops.small_loss(ce_b, 6).tolist())
    assert set(map(id, run.optimizers["a"].param_groups[0]["params"])) == set(map(id, method.net_a.parameters()))


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_nothing_kept_skips_the_step(cls: type[Method]) -> None:
    method = build(cls, counting="official", forget_rate=0.9, num_gradual=1)
    run = TinyRun(method, epoch=5)
    method.train_step(batch_for(method), run)
    assert not run.minimized and not bool(run.selected[0][1].any())


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_the_noise_rate_is_asked_for_only_when_used(cls: type[Method]) -> None:
    assert cls.needs(cls.Config()).noise_rate and not cls.needs(cls.Config(forget_rate=0.2)).noise_rate
    with pytest.raises(ValueError, match="noise rate"):
        build(cls, task(noise_rate=None)).forget_rate(3)
    assert build(cls, task(noise_rate=0.0)).forget_rate(15) == 0
    assert build(cls, task(noise_rate=None), forget_rate=0.2).forget_rate(15) == pytest.approx(0.2)


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_official_learning_rate_and_beta(cls: type[Method]) -> None:
    method = build(cls, lr_schedule="official")
    seen = []
    for epoch in (0, 7, 8, 14):
        run = TinyRun(method, epoch, adam=True)
        method.on_epoch_start(run)
        group = next(iter(run.optimizers.values())).param_groups[0]
        seen.append((group["lr"], group["betas"]))
    assert [lr for lr, _ in seen] == pytest.approx([1e-3, 1e-3, 1e-3, 0.5e-3])
    assert [betas[0] for _, betas in seen] == [0.9, 0.9, 0.1, 0.1] and seen[0][1][1] == 0.999
    late = build(cls, lr_schedule="official", decay_start=10, official_lr=0.01)
    run = TinyRun(late, 9)
    late.on_epoch_start(run)  # an optimizer without betas is fine
    assert next(iter(run.optimizers.values())).param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_clean_score_is_minus_the_last_loss(cls: type[Method]) -> None:
    method = build(cls)
    batch = batch_for(method)
    method.train_step(batch, TinyRun(method))
    score, seen = method.clean_score(), torch.zeros(N, dtype=torch.bool)
    seen[batch.index] = True
    torch.testing.assert_close(score[seen], -method.last_loss[seen])
    torch.testing.assert_close(score[~seen], score[seen].mean().expand(N - B))


def test_mean_of_two_networks_is_of_probabilities() -> None:
    method = build(coteaching.Coteaching).eval()
    images = torch.randn(3, 3, 10, 10)
    mean = method.other_predictions(images)["mean"]
    expected = (F.softmax(method.net_a(images), 1) + F.softmax(method.net_b(images), 1)) / 2
    torch.testing.assert_close(mean.exp(), expected)
    torch.testing.assert_close(method.predict(images), method.net_a(images))


# --- JoCoR


def test_jocor_limits_and_symmetry() -> None:
    z1, z2, y = logits(0).requires_grad_(), logits(1).requires_grad_(), labels(2)
    both = F.cross_entropy(z1, y, reduction="none") + F.cross_entropy(z2, y, reduction="none")
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 0.0), both)
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 1.0), jocor.joint_loss(z1, z2, labels(5), 1.0))
    torch.testing.assert_close(jocor.joint_loss(z1, z2, y, 0.9), jocor.joint_loss(z2, z1, y, 0.9))
    torch.testing.assert_close(jocor.joint_loss(z1, z1, y, 0.9), 0.1 * 2 * F.cross_entropy(z1, y, reduction="none"))
    torch.testing.assert_close(jocor.joint_loss(z1 + 3, z2 - 1, y, 0.9), jocor.joint_loss(z1, z2, y, 0.9))
    assert bool((ops.kl_divergence(z1, z2) > 0).all())
    grads = torch.autograd.grad(jocor.joint_loss(z1, z2, y, 0.9)[[0, 3, 5]].mean(), (z1, z2))
    for g in grads:
        assert torch.nonzero(g.abs().sum(1)).flatten().tolist() == [0, 3, 5]
    # both arguments of both divergences carry a gradient
    assert torch.autograd.gradcheck(lambda a, b: jocor.joint_loss(a, b, y, 0.9), (z1, z2))
    (g1, _) = torch.autograd.grad(jocor.joint_loss(z1, z2, y, 0.0).mean(), (z1, z2))
    torch.testing.assert_close(g1, torch.autograd.grad(F.cross_entropy(z1, y), z1)[0])


def test_jocor_stays_finite_for_extreme_logits() -> None:
    z1, z2 = (logits(s, scale=200.0, dtype=torch.float32).requires_grad_() for s in (0, 1))
    loss = jocor.joint_loss(z1, z2, labels(2), 0.9).mean()
    assert bool(loss.isfinite())
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, (z1, z2)))
    official = jocor.joint_loss(z1, z2, labels(2), 0.9, stable=False).mean()
    torch.testing.assert_close(official, loss)
    assert bool(torch.autograd.grad(official, z1)[0].isnan().any())


def test_jocor_has_one_optimizer_and_selects_by_the_joint_loss() -> None:
    method = build(jocor.Jocor)
    batch = batch_for(method)
    run = TinyRun(method, epoch=19)
    run.frozen = True
    method.train_step(batch, run)
    assert [name for name, _ in run.minimized] == ["main"] and len(run.optimizers) == 1
    params = run.optimizers["main"].param_groups[0]["params"]
    assert len(params) == len(list(method.net_a.parameters())) + len(list(method.net_b.parameters()))
    joint = jocor.joint_loss(*(n(batch.view("weak")) for n in (method.net_a, method.net_b)), batch.label, 0.9)
    ((_, kept),) = run.selected
    assert set(torch.nonzero(kept).flatten().tolist()) == set(ops.small_loss(joint, 6).tolist())
    assert jocor.target_forget_rate(0.4, halve=True) == 0.2 and jocor.target_forget_rate(0.4, 0.3, True) == 0.3


# --- SCN


def test_scn_relabelling_is_strict_and_first_class_wins() -> None:
    p = torch.tensor([[0.4, 0.6, 0, 0, 0, 0, 0], [0.3, 0.7, 0, 0, 0, 0, 0], [0.2, 0.4, 0.4, 0, 0, 0, 0]]).double()
    changed, best = ops.clearly_better_class(p, torch.tensor([0, 0, 3]), 0.25)
    assert changed.tolist() == [False, True, True] and best.tolist() == [1, 1, 1]
    assert not bool(ops.clearly_better_class(p, best, 0.2)[0].any())
    exact = torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]])
    assert not bool(ops.clearly_better_class(exact, torch.tensor([0]), 0.5)[0].any())


def test_scn_relabels_from_its_epoch_on_and_remembers() -> None:
    def confident(method: Any) -> None:
        with torch.no_grad():
            method.net.fc.bias.copy_(torch.tensor([8.0, 0, 0, 0, 0, 0, 0]))

    method = build(scn.Scn)
    given = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
    batch = batch_for(method, labels=given)
    confident(method)
    run = TinyRun(method, epoch=8)  # the 9th epoch
    run.frozen = True
    method.train_step(batch, run)
    assert bool((method.new_label == scn.NOT_RELABELLED).all())
    run.epoch = 9  # the 10th
    logged = method.train_step(batch, run)
    assert int(logged["relabelled"]) == 6
    touched = torch.nonzero(method.new_label != scn.NOT_RELABELLED).flatten()
    assert set(touched.tolist()) == set(batch.index[1:7].tolist())
    assert batch.label.tolist() == given.tolist()  # the data set's labels are not changed
    # the new labels are what the next epoch trains on, and they travel with the state
    other = build(scn.Scn)
    other.load_state_dict(method.state_dict())
    assert other.current_labels(batch.index, batch.label).tolist() == [0] * 8
    run.epoch = 10
    assert int(other.train_step(batch, run)["relabelled"]) == 0
    # and a label can change back
    z = torch.zeros(1, C)
    z[0, 3] = 9.0
    other.relabel(batch.index[1:2], torch.tensor([0]), torch.tensor([0.5]), z)
    assert int(other.current_labels(batch.index[1:2], batch.label[1:2])) == 3


def test_scn_scope_low_leaves_important_samples_alone() -> None:
    method = build(scn.Scn, relabel_scope="low")
    alpha, z = torch.linspace(1, 0, 10), torch.zeros(10, C)
    z[:, 2] = 9.0
    changed = method.relabel(torch.arange(10), torch.zeros(10, dtype=torch.int64), alpha, z)
    assert int(changed) == 3 and torch.nonzero(method.new_label >= 0).flatten().tolist() == [7, 8, 9]


def test_scn_weights_logits_and_scores_by_alpha() -> None:
    method = build(scn.Scn).eval()
    images = torch.randn(4, 3, 10, 10)
    alpha, raw = method(images)
    torch.testing.assert_close(method.predict(images), alpha[:, None] * raw)
    assert torch.equal(method.predict(images).argmax(1), method.other_predictions(images)["without alpha"].argmax(1))
    with torch.no_grad():
        method.alpha_head.bias.fill_(-60.0)
    torch.testing.assert_close(F.softmax(method.predict(images), 1), torch.full((4, C), 1 / C))
    method.train()
    batch = batch_for(method)
    method.train_step(batch, TinyRun(method))
    assert bool((method.clean_score()[batch.index] < 1e-6).all())
    assert {id(p) for p in method.alpha_head.parameters()} <= {
        id(p) for o in TinyRun(method).optimizers.values() for g in o.param_groups for p in g["params"]
    }


# --- EAC


def test_eac_consistency() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, C, 4, 6, generator=g, dtype=torch.float64)
    assert number(eac.flip_consistency(a, ops.mirror(a))) == 0 and number(eac.flip_consistency(a, a)) > 0
    assert torch.equal(ops.mirror(a)[..., 0], a[..., -1])
    torch.testing.assert_close(eac.flip_consistency(a, b), eac.flip_consistency(ops.mirror(b), ops.mirror(a)))
    constant = torch.ones(1, C, 7, 7)
    assert number(eac.flip_consistency(2 * constant, -1 * constant)) == 9


def test_eac_gradient_reaches_both_features_and_not_the_classifier() -> None:
    g = torch.Generator().manual_seed(0)
    f1, f2 = (torch.randn(2, 5, 4, 6, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    w = torch.randn(C, 5, generator=g, dtype=torch.float64).requires_grad_()
    ac = eac.attention_consistency(f1, f2, w)
    g1, g2, gw = torch.autograd.grad(ac, (f1, f2, w), allow_unused=True)
    assert gw is None and bool((g1 != 0).any()) and bool((g2 != 0).any())
    torch.testing.assert_close(eac.attention_consistency(f1, f2, 3 * w), 9 * ac)


def test_eac_step() -> None:
    method = build(eac.Eac, lam=0.0)
    batch = batch_for(method)
    run = TinyRun(method)
    run.frozen = True
    logged = method.train_step(batch, run)
    torch.testing.assert_close(logged["loss"], F.cross_entropy(method.net(batch.view("weak")), batch.label).detach())
    assert method.net.passes[:2] == [B, B]
    # cross-entropy alone moves the classifier: its gradient is the same whatever the weight of the consistency
    grads = []
    for lam in (0.0, 50.0):
        m = build(eac.Eac, lam=lam)
        r = TinyRun(m)
        r.frozen = True
        m.train_step(batch, r)
        grads.append((m.net.fc.weight.grad.clone(), m.net.conv.weight.grad.clone()))
    torch.testing.assert_close(grads[0][0], grads[1][0])
    assert not torch.allclose(grads[0][1], grads[1][1])
    assert eac.Eac.needs(eac.Eac.Config()).views == ("weak", "mirror-erased")
    assert eac.Eac.needs(eac.Eac.Config(shared_erasing=True)).views == ("weak", "mirror")


def test_eac_refuses_networks_without_class_activation_maps() -> None:
    class MaxPooled(TinyNet):
        def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
            pooled = x.amax(dim=(2, 3))
            return pooled if pre_logits else self.fc(pooled)

    with pytest.raises(ValueError, match="global average pooling"):
        build(eac.Eac, make_net=MaxPooled)
    with pytest.raises(ValueError, match="classifier of TinyNet is Sequential"):
        build(eac.Eac, make_net=lambda role: TinyNet(role, nn.Sequential(nn.Linear(5, C))))


# --- class-balanced loss


def test_cb_weights() -> None:
    for beta in (0.0, 0.9, 0.999, 0.9999):
        w = ops.effective_number_weights(RAF, beta)
        assert number(w.sum()) == pytest.approx(C)
    torch.testing.assert_close(ops.effective_number_weights(torch.full((C,), 50), 0.999), torch.ones(C).double())
    torch.testing.assert_close(ops.effective_number_weights(RAF, 0.0), torch.ones(C).double())
    by_count = ops.effective_number_weights(RAF, 0.999)[RAF.argsort()]
    assert bool((by_count.diff() < 0).all())
    limit = ops.effective_number_weights(RAF, 1 - 1e-9)
    inverse = 1 / RAF.double()
    torch.testing.assert_close(limit, inverse / inverse.sum() * C, rtol=1e-5, atol=1e-6)


def test_cb_absent_class() -> None:
    counts = torch.tensor([10, 0, 5, 20, 3, 7, 9])
    w = ops.effective_number_weights(counts, 0.999)
    assert number(w[1]) == 0 and number(w.sum()) == pytest.approx(C - 1) and bool(w.isfinite().all())
    assert ops.effective_number_weights(counts, 0.999, official=True)[1].isnan()
    method = build(cb.Cb, task(class_counts=counts))
    method.loss(batch_for(method, labels=torch.zeros(B, dtype=torch.int64)), TinyRun(method))
    with pytest.raises(ValueError, match="no training image"):
        method.loss(batch_for(method, labels=torch.ones(B, dtype=torch.int64)), TinyRun(method))


def test_cb_losses() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    a = ops.effective_number_weights(RAF, 0.9999)[y]
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), torch.ones_like(a)), F.cross_entropy(z, y))
    torch.testing.assert_close(cb.focal_loss(z, y, 0.0), cb.sigmoid_loss(z, y))
    torch.testing.assert_close(cb.focal_loss(z, y, 2.0), cb.focal_loss(z, y, 2.0, "official"))
    # the factor multiplies sample losses, and batch_mean is not what torch's weighted cross-entropy does
    w = ops.effective_number_weights(RAF, 0.9999)
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), a, "weighted_mean"), F.cross_entropy(z, y, weight=w))
    torch.testing.assert_close(cb.weighted(cb.softmax_loss(z, y), 2 * a), 2 * cb.weighted(cb.softmax_loss(z, y), a))
    assert not torch.allclose(cb.weighted(cb.softmax_loss(z, y), a), F.cross_entropy(z, y, weight=w))
    (grad,) = torch.autograd.grad(cb.weighted(cb.softmax_loss(z, y), a), z)
    torch.testing.assert_close(grad, a[:, None] / B * (F.softmax(z, 1) - F.one_hot(y, C)))
    order = torch.randperm(B)
    torch.testing.assert_close(
        cb.weighted(cb.focal_loss(z[order], y[order], 1.0), a[order]), cb.weighted(cb.focal_loss(z, y, 1.0), a)
    )


def test_cb_focal_keeps_the_hardest_samples_in_float32() -> None:
    z, y = torch.zeros(1, C), torch.tensor([0])
    z[0, 0] = -100.0
    exact = cb.focal_loss(z.double(), y, 1.0)
    torch.testing.assert_close(cb.focal_loss(z, y, 1.0).double(), exact, rtol=1e-5, atol=1e-5)
    assert number(cb.focal_loss(z, y, 1.0, "official")) < 0.1 * number(exact)


def test_cb_last_bias() -> None:
    for variant in ("sigmoid", "focal"):
        method = build(cb.Cb, variant=variant)
        bias = method.net.fc.bias
        torch.testing.assert_close(bias.detach(), torch.full((C,), -math.log(C - 1)))
        groups = method.optimizers("train", lambda p, **kw: torch.optim.SGD(p, lr=0.1, weight_decay=0.3, **kw))["main"]
        decay = {id(p): g["weight_decay"] for g in groups.param_groups for p in g["params"]}
        assert len(decay) == len(list(method.parameters()))
        assert decay.pop(id(bias)) == 0 and set(decay.values()) == {0.3}
    assert not torch.allclose(build(cb.Cb).net.fc.bias.detach(), torch.full((C,), -math.log(C - 1)))


def test_cb_start_epoch_and_no_op() -> None:
    method = build(cb.Cb, start_epoch=5)
    batch = batch_for(method)
    plain = F.cross_entropy(method.net(batch.view("weak")), batch.label)
    torch.testing.assert_close(method.loss(batch, TinyRun(method, epoch=4)), plain)
    assert not torch.allclose(method.loss(batch, TinyRun(method, epoch=5)), plain)
    unweighted = build(cb.Cb, beta=0.0)
    torch.testing.assert_close(unweighted.loss(batch, TinyRun(unweighted)), plain)


# --- Balanced Softmax


def test_balanced_softmax_is_the_shifted_cross_entropy() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    prior = bs.log_prior(RAF)
    loss = bs.balanced_softmax_loss(z, y, prior)
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(torch.full((C,), 9))), F.cross_entropy(z, y))
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(1000 * RAF)), loss)
    torch.testing.assert_close(bs.balanced_softmax_loss(z, y, bs.log_prior(RAF, 0.0)), F.cross_entropy(z, y))
    (grad,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(grad, (F.softmax(z + prior, 1) - F.one_hot(y, C)) / B)
    assert bs.balanced_softmax_loss(z[:1], y[:1], prior).isfinite()
    extreme = torch.tensor([[1e4, -1e4, 0, 0, 0, 0, 0]])
    assert bs.balanced_softmax_loss(extreme, torch.tensor([1]), prior).isfinite()


def test_balanced_softmax_optimum_is_free_of_the_counts() -> None:
    z = torch.zeros(1, C, dtype=torch.float64, requires_grad=True)
    frequency = RAF.double() / RAF.sum()
    losses = bs.balanced_softmax_loss(z.expand(C, C), torch.arange(C), bs.log_prior(RAF), "none")
    (grad,) = torch.autograd.grad((frequency * losses).sum(), z)
    torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-12)


def test_balanced_softmax_drops_the_prior_at_test_time_and_keeps_the_natural_order() -> None:
    method = build(bs.BalancedSoftmax).eval()
    images = torch.randn(4, 3, 10, 10)
    torch.testing.assert_close(method.predict(images), method.net(images))
    torch.testing.assert_close(method.other_predictions(images)["with prior"], method.net(images) + method.prior)
    assert method.epoch_indices(labels(0), torch.Generator()) is None


def test_balanced_softmax_absent_class() -> None:
    counts = torch.tensor([40, 0, 12, 200, 75, 9, 130])
    method = build(bs.BalancedSoftmax, task(class_counts=counts))
    batch = batch_for(method, labels=torch.zeros(B, dtype=torch.int64))
    assert method.loss(batch, TinyRun(method)).isfinite()
    with pytest.raises(ValueError, match="no training image"):
        method.loss(batch_for(method, labels=torch.ones(B, dtype=torch.int64)), TinyRun(method))
    with torch.no_grad():
        method.net.fc.bias[1] = 1e4  # the absent class is out of the softmax, however large its logit
    torch.testing.assert_close(method.loss(batch, TinyRun(method)), build_loss_without(method, batch))


def build_loss_without(method: Any, batch: Batch) -> Tensor:
    keep = [0, 2, 3, 4, 5, 6]
    z = method.net(batch.view("weak"))[:, keep] + method.prior[keep]
    return F.cross_entropy(z, torch.zeros(B, dtype=torch.int64))
