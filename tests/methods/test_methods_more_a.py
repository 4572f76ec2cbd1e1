"""Properties of Co-teaching+, Decoupling, RUL and MentorNet: what each paper's formula implies, on tiny networks."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import fer_bench_methods.coteaching as coteaching
import fer_bench_methods.coteaching_plus as plus
import fer_bench_methods.decoupling as decoupling
import fer_bench_methods.mentornet as mentornet
import fer_bench_methods.rul as rul
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from fer_bench.method import Batch, Method
from tests.helpers.tiny import B, C, N, TinyNet, TinyRun, batch_for, build, labels, logits, number, task


class Run(TinyRun):
    """The harness, reduced, with random streams that depend on the name, the epoch and the step."""

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.epoch + self.step + sum(map(ord, name)))


ALL: list[tuple[type[Method], dict[str, Any]]] = [
    (plus.CoteachingPlus, {}),
    (plus.CoteachingPlus, {"init_epochs": 0}),
    (plus.CoteachingPlus, {"init_epochs": 0, "double_softmax": True, "divide_twice": True}),
    (
        plus.CoteachingPlus,
        {"init_epochs": 0, "counting": "official", "schedule": "official", "when_agreed": "official"},
    ),
    (plus.CoteachingPlus, {"schedule": "official_type_2", "forget_rate": 0.4, "num_gradual": 3}),
    (plus.CoteachingPlus, {"lr_schedule": "official", "decay_start": 5, "official_lr": 0.01}),
    (decoupling.Decoupling, {}),
    (decoupling.Decoupling, {"warmup_epochs": 0.0, "min_ratio": 0.0}),
    (decoupling.Decoupling, {"class_balance": True}),
    (decoupling.Decoupling, {"lr_schedule": "official", "official_lr": 0.01, "official_lr_steps": 2}),
    (rul.Rul, {}),
    (rul.Rul, {"dim": 8, "grid": 2, "dropout": 0.0, "classifier_lr": 1.0}),
    (rul.Rul, {"relabel": "scn", "relabel_epoch": 1, "relabel_margin": 0.1}),
    (mentornet.Mentornet, {}),
    (mentornet.Mentornet, {"variant": "self_paced"}),
    (mentornet.Mentornet, {"variant": "spcl_linear", "gamma": 2.0, "start": "zero"}),
    (mentornet.Mentornet, {"variant": "focal", "sampling": "actual", "dropout": "0.5,100"}),
    (mentornet.Mentornet, {"variant": "hard_example", "start": "first"}),
    (mentornet.Mentornet, {"variant": "baseline", "sampling": "binary", "scale_weight_decay": False}),
    (mentornet.Mentornet, {"burn_in": 18, "fixed_after_burn_in": True, "percentile": 0.5, "decay": 0.9}),
]
IDS = [f"{cls.__name__}-{'-'.join(map(str, options)) or 'default'}" for cls, options in ALL]


@pytest.mark.parametrize(("cls", "options"), ALL, ids=IDS)
@pytest.mark.parametrize("epoch", [0, 12])
@pytest.mark.parametrize("size", [B, 2])
def test_every_option_trains(cls: type[Method], options: dict[str, Any], epoch: int, size: int) -> None:
    method = build(cls, **options)
    run = Run(method, epoch, adam=True)
    before = [p.clone() for p in method.parameters()]
    method.on_stage_start("train", run)
    method.on_epoch_start(run)
    for _ in range(4):  # a running percentile that starts at 0 selects nothing at first
        logged = method.train_step(batch_for(method, size=size), run)
    method.on_epoch_end(run)
    assert run.minimized and all(math.isfinite(value) for _, value in run.minimized)
    assert all(math.isfinite(number(v)) for v in logged.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, method.parameters(), strict=True))
    method.eval()
    images = torch.randn(3, 3, 10, 10)
    for answer in (method.predict(images), *method.other_predictions(images).values()):
        assert answer.shape == (3, C) and bool(answer.isfinite().all())
    score = method.clean_score()
    assert score.shape == (N,) and bool(score.isfinite().all())


@pytest.mark.parametrize(
    ("cls", "options", "name"),
    [
        (plus.CoteachingPlus, {"init_epochs": -1}, "init_epochs"),
        (plus.CoteachingPlus, {"forget_rate": 1.5}, "forget_rate"),
        (plus.CoteachingPlus, {"num_gradual": 0}, "num_gradual"),
        (plus.CoteachingPlus, {"decay_start": -1}, "decay_start"),
        (plus.CoteachingPlus, {"official_lr": 0.0}, "official_lr"),
        (decoupling.Decoupling, {"warmup_epochs": -1.0}, "warmup_epochs"),
        (decoupling.Decoupling, {"min_ratio": 1.5}, "min_ratio"),
        (decoupling.Decoupling, {"official_lr": 0.0}, "official_lr"),
        (decoupling.Decoupling, {"official_lr_steps": 0}, "official_lr_steps"),
        (rul.Rul, {"dim": 0}, "dim"),
        (rul.Rul, {"grid": 0}, "grid"),
        (rul.Rul, {"dropout": 1.5}, "dropout"),
        (rul.Rul, {"classifier_lr": 0.0}, "classifier_lr"),
        (rul.Rul, {"relabel_epoch": 0}, "relabel_epoch"),
        (rul.Rul, {"relabel_margin": -0.1}, "relabel_margin"),
        (mentornet.Mentornet, {"percentile": 1.5}, "percentile"),
        (mentornet.Mentornet, {"decay": -0.1}, "decay"),
        (mentornet.Mentornet, {"gamma": 0.0}, "gamma"),
        (mentornet.Mentornet, {"burn_in": 101}, "burn_in"),
        (mentornet.Mentornet, {"mentor_steps": 0}, "mentor_steps"),
        (mentornet.Mentornet, {"dropout": "1.5,100"}, "dropout"),
        (mentornet.Mentornet, {"trusted": 0.0}, "trusted"),
        (mentornet.Mentornet, {"dump_percentile": 1.5}, "dump_percentile"),
    ],
)
def test_bounds_name_the_field_and_the_value(cls: type[Method], options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*{next(iter(options.values()))}.* out of range"):
        cls.Config(**options)


def equal_heads(role: str) -> TinyNet:
    """Networks that never disagree."""
    torch.manual_seed(7)
    return TinyNet(role)


def state(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.named_parameters()}


def unchanged(method: Method, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in method.named_parameters())


# --- disagreement


def test_disagreement_is_of_predictions_only() -> None:
    a, b = logits(0), logits(1)
    differ = ops.disagreement(a, b)
    assert differ.tolist() == [p != q for p, q in zip(a.argmax(1).tolist(), b.argmax(1).tolist(), strict=True)]
    assert torch.equal(ops.disagreement(b, a), differ) and not bool(ops.disagreement(a, a * 3 + 1).any())
    # the first class wins a tie
    tie, first, later = torch.zeros(1, C), torch.zeros(1, C), torch.zeros(1, C)
    first[0, 0], later[0, 3] = 1, 1
    assert not bool(ops.disagreement(tie, first)) and bool(ops.disagreement(tie, later))
    assert ops.positions(torch.tensor([False, True, True])).tolist() == [1, 2]


# --- Co-teaching+


def test_plus_warm_up_is_coteaching_bit_for_bit() -> None:
    ours, theirs = build(plus.CoteachingPlus, divide_twice=True), build(coteaching.Coteaching, divide_twice=True)
    batch, runs = batch_for(ours), [Run(ours, epoch=1), Run(theirs, epoch=1)]
    first, second = (m.train_step(batch, r) for m, r in zip((ours, theirs), runs, strict=True))
    assert torch.equal(first["loss"], second["loss"]) and torch.equal(first["loss_b"], second["loss_b"])
    assert runs[0].minimized == runs[1].minimized and torch.equal(runs[0].selected[0][1], runs[1].selected[0][1])
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_plus_warm_up_length() -> None:
    def length(epochs: int, **options: Any) -> int:
        return build(plus.CoteachingPlus, task(epochs=epochs), **options).init_epochs

    assert [length(e) for e in (2, 20, 60)] == [1, 2, 6] and length(60, init_epochs=0) == 0


def test_plus_selects_within_the_disagreement() -> None:
    z1, z2, y = logits(0).requires_grad_(), logits(1).requires_grad_(), labels(2)
    with torch.no_grad():
        z2[:3] = z1[:3]
    members = ops.positions(ops.disagreement(z1, z2))
    ce = [F.cross_entropy(z, y, reduction="none") for z in (z1, z2)]
    count = plus.count_kept(len(members), 0.5)
    loss_1, loss_2, kept_1, kept_2 = ops.small_loss_exchange(*ce, count, members)
    assert set(kept_1.tolist()) | set(kept_2.tolist()) <= set(members.tolist()) <= set(range(3, B))
    (grad,) = torch.autograd.grad(loss_1, z1, retain_graph=True)
    assert (grad != 0).any(1).nonzero().flatten().tolist() == sorted(kept_2.tolist())
    assert loss_1 == ce[0][kept_2].mean() and loss_2 == ce[1][kept_1].mean()
    twice = ops.small_loss_exchange(*ce, count, members, divide_twice=True)
    torch.testing.assert_close(twice[0], loss_1 / count)
    # samples on which both agree change nothing
    fewer = [c[3:] for c in ce]
    assert ops.small_loss_exchange(*fewer, count, members - 3)[0] == loss_1
    # and over the whole batch it is the exchange of co-teaching
    whole = ops.small_loss_exchange(*ce, 4, torch.arange(B))
    assert all(torch.equal(a, b) for a, b in zip(whole, ops.small_loss_exchange(*ce, 4), strict=True))


def test_plus_counts() -> None:
    assert plus.count_kept(1, 0.3) == 1 and plus.count_kept(1, 0.3, "official") == 1
    assert plus.count_kept(3, 0.9) == 1 and plus.count_kept(3, 0.9, "official") == 3
    assert plus.count_kept(10, 0.8) == 2 and plus.count_kept(10, 0.8, "official") == 1


def test_plus_schedules() -> None:
    one, two = ([plus.ramp(e, 40, 0.45, 10, kind) for e in range(40)] for kind in ("official", "official_type_2"))
    assert one == [ops.forget_rate_at(e, 0.45, 10, schedule="official") for e in range(40)]
    assert two[:11] == pytest.approx(one[:11]) and two[-1] == pytest.approx(0.9) and two == sorted(two)
    assert plus.ramp(5, 6, 0.4, 5, "official_type_2") == 0.4
    # the ramp goes by the whole training, and a rate above 1 keeps one sample
    method = build(plus.CoteachingPlus, task(epochs=40), forget_rate=0.8, schedule="official_type_2", init_epochs=20)
    assert method.forget_rate(20) > 0.8 and method.forget_rate(39) == 1.0 and plus.count_kept(9, 1.0) == 1


def test_plus_double_softmax_bounds_the_loss() -> None:
    z, y = logits(0, scale=50.0), labels(1)
    double = plus.cross_entropy(z, y, double_softmax=True)
    low, high = math.log(1 + (C - 1) / math.e), math.log(math.e + C - 1)
    assert (round(low, 3), round(high, 3)) == (1.165, 2.165)
    assert bool((double >= low - 1e-6).all() and (double <= high + 1e-6).all())
    torch.testing.assert_close(plus.cross_entropy(z, y), F.cross_entropy(z, y, reduction="none"))


@pytest.mark.parametrize("when_agreed", ["skip", "official"])
def test_plus_without_disagreement(when_agreed: str) -> None:
    method = build(plus.CoteachingPlus, make_net=equal_heads, init_epochs=0, when_agreed=when_agreed)
    run, before = Run(method, epoch=3), state(method)
    logged = method.train_step(batch_for(method), run)
    assert logged["disagreement"] == 0 and not any(math.isnan(number(v)) for v in logged.values())
    ((_, kept),) = run.selected
    if when_agreed == "skip":
        assert not run.minimized and unchanged(method, before) and not bool(kept.any())
        return
    assert len(run.minimized) == 2 and not unchanged(method, before) and bool(kept.all())
    # from epoch * step = 5000 on, the loss is 0
    run.epoch, run.step = 10, 500
    method.train_step(batch_for(method), run)
    assert [value for _, value in run.minimized[2:]] == [0.0, 0.0]


def test_plus_heads_differ_and_silence_is_reported() -> None:
    method = build(plus.CoteachingPlus, init_epochs=0)
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight)
    method = build(plus.CoteachingPlus, make_net=equal_heads)
    warnings.simplefilter("error")
    for epoch in (1, 2, 3):
        run = Run(method, epoch=epoch)
        method.on_epoch_start(run)
        method.train_step(batch_for(method), run)
        if epoch != method.init_epochs:  # during the warm-up nothing is said, and then once
            method.on_epoch_end(run)
        else:
            with pytest.warns(UserWarning, match="disagreed about 0 of 8 images in epoch 3"):
                method.on_epoch_end(run)


def test_plus_official_learning_rate() -> None:
    method = build(plus.CoteachingPlus, lr_schedule="official")
    run = Run(method, epoch=14, adam=True)
    method.on_epoch_start(run)
    assert {g["lr"] for o in run.optimizers.values() for g in o.param_groups} == {1e-3 * 6 / 12}


def test_plus_needs_the_noise_rate_only_where_it_is_not_given() -> None:
    assert plus.CoteachingPlus.needs(plus.CoteachingPlus.Config()).noise_rate
    assert not plus.CoteachingPlus.needs(plus.CoteachingPlus.Config(forget_rate=0.3)).noise_rate
    with pytest.raises(ValueError, match="noise rate"):
        build(plus.CoteachingPlus, task(noise_rate=None)).forget_rate(0)


# --- Decoupling


def test_decoupling_loss() -> None:
    z, other, y = logits(0).requires_grad_(), logits(1), labels(2)
    mask = decoupling.update_mask(z, other)
    assert torch.equal(mask, ops.disagreement(z, other))  # no label has a part in it
    ce = F.cross_entropy(z, y, reduction="none")
    torch.testing.assert_close(decoupling.update_loss(ce, mask), ce[mask].mean())
    (grad,) = torch.autograd.grad(decoupling.update_loss(ce, mask), z, retain_graph=True)
    assert torch.equal((grad != 0).any(1), mask)
    one = torch.zeros(B, dtype=torch.bool)
    one[3] = True
    torch.testing.assert_close(decoupling.update_loss(ce, one, 0.25), ce[3] / 2)
    assert number(decoupling.update_loss(ce, one & False, 0.0)) == 0
    assert bool(decoupling.update_mask(z, z, warm_up=True).all())
    torch.testing.assert_close(decoupling.update_loss(ce, mask, 0.0, 2 * torch.ones(B)), 2 * ce[mask].mean())


def test_decoupling_class_balance() -> None:
    y = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(
        decoupling.class_balance_weights(y, 2), torch.tensor([4 / 6] * 3 + [2.0], dtype=torch.float64)
    )
    method = build(decoupling.Decoupling, class_balance=True)
    batch, run = batch_for(method), Run(method)
    run.frozen = True
    logged = method.train_step(batch, run)
    ce = F.cross_entropy(method.net_a(batch.view("weak")), batch.label, reduction="none")
    weight = decoupling.class_balance_weights(batch.label, C).float()
    torch.testing.assert_close(logged["loss"], (weight * ce).mean().detach())


def test_decoupling_without_disagreement_moves_nothing() -> None:
    method = build(decoupling.Decoupling, make_net=equal_heads)
    run = Run(method, epoch=1)
    run.optimizers["a"].param_groups[0]["weight_decay"] = 0.1
    before = state(method)
    assert number(method.train_step(batch_for(method), run)["disagreement"]) == 0
    assert not run.minimized and unchanged(method, before)
    run.epoch = 0  # warm-up
    method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 and not unchanged(method, before)


def test_decoupling_warm_up_counts_fractions_of_epochs() -> None:
    method = build(decoupling.Decoupling, make_net=equal_heads, warmup_epochs=0.5)
    run = Run(method)
    run.steps = 4
    for run.step in range(4):
        method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 * 2


def test_decoupling_first_epoch_updates_and_heads_differ() -> None:
    method = build(decoupling.Decoupling, warmup_epochs=0.0)
    run = Run(method)
    method.train_step(batch_for(method), run)
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight) and len(run.minimized) == 2
    ((_, kept),) = run.selected
    assert bool(kept.any())


def test_decoupling_mask_ignores_labels() -> None:
    picked = []
    for seed in (0, 1):
        method = build(decoupling.Decoupling, warmup_epochs=0.0)
        run = Run(method)
        method.train_step(batch_for(method, labels=labels(seed)), run)
        picked.append(run.selected[0][1])
    assert torch.equal(*picked)


def test_decoupling_staircase() -> None:
    assert [decoupling.staircase(s, 0.002, 5000) for s in (0, 4999, 5000, 10000)] == [0.002, 0.002, 0.001, 0.0005]
    method = build(decoupling.Decoupling, lr_schedule="official", official_lr_steps=3)
    run = Run(method, epoch=2)
    run.steps, run.step = 2, 1
    method.train_step(batch_for(method), run)
    assert {g["lr"] for o in run.optimizers.values() for g in o.param_groups} == {0.001}


def test_decoupling_queue_trains_on_full_batches_in_order() -> None:
    method = build(decoupling.Decoupling, buffer=True, warmup_epochs=0.0)
    run, waiting, steps = Run(method), 0, 0
    for seed in range(12):
        batch = batch_for(method, seed)
        with torch.no_grad():
            differ = int(ops.disagreement(*(n(batch.view("weak")) for n in (method.net_a, method.net_b))).sum())
        method.net_a.passes.clear()
        logged = method.train_step(batch, run)
        steps += waiting + differ >= B
        assert ("loss" in logged) == (waiting + differ >= B)
        assert method.net_a.passes == ([B, B] if waiting + differ >= B else [B])
        waiting = (waiting + differ) - B * (waiting + differ >= B)
        assert len(method.queue_image) == len(method.queue_label) == len(method.queue_row) == waiting < B
    assert steps >= 1 and len(run.minimized) == 2 * steps
    assert decoupling.Decoupling.needs(method.config).forwards == 4.0


def test_decoupling_queue_is_saved_and_goes_on() -> None:
    method = build(decoupling.Decoupling, buffer=True, warmup_epochs=0.0, class_balance=True)
    run = Run(method)
    for seed in range(20):
        method.train_step(batch_for(method, seed), run)
        if len(method.queue_row):
            break
    assert len(method.queue_row)
    saved = io.BytesIO()
    torch.save(method.state_dict(), saved)
    saved.seek(0)
    other = build(decoupling.Decoupling, buffer=True, warmup_epochs=0.0, class_balance=True)
    other.load_state_dict(torch.load(saved, weights_only=True))
    again = Run(other)
    for seed in range(20, 26):
        first, second = (m.train_step(batch_for(m, seed), r) for m, r in ((method, run), (other, again)))
        assert {k: number(v) for k, v in first.items()} == {k: number(v) for k, v in second.items()}
    for name, value in method.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)


def test_decoupling_queue_waits_for_the_warm_up() -> None:
    method = build(decoupling.Decoupling, buffer=True)
    run = Run(method)
    method.train_step(batch_for(method), run)
    assert len(run.minimized) == 2 and len(method.queue_row) == 0


# --- RUL


def rul_inputs(seed: int = 0, dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    mu, log_var = (torch.randn(B, dim, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    return mu, log_var, torch.randperm(B, generator=g)


def test_rul_shares() -> None:
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


def test_rul_loss() -> None:
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


def test_rul_identity_is_ordinary_training_and_uncertainty_is_relative() -> None:
    mu, log_var, partner = rul_inputs()
    itself = torch.arange(B)
    torch.testing.assert_close(rul.mix(mu, rul.log_uncertainty(log_var), itself), mu)
    weight, y = torch.randn(C, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5)), labels(6)
    loss = rul.add_up_loss(rul.mix(mu, rul.log_uncertainty(log_var), partner) @ weight.T, y, partner)
    grad_mu, grad_var = torch.autograd.grad(loss, (mu, log_var))
    assert bool((grad_var != 0).any()) and number(grad_var.sum()) == pytest.approx(0, abs=1e-12)
    assert bool((grad_mu != 0).any(1).all())


def test_rul_heads_are_separate_and_take_any_map() -> None:
    method = build(rul.Rul, grid=2, dim=6)
    assert method.mu_head.project.weight.data_ptr() != method.log_var_head.project.weight.data_ptr()
    maps = torch.randn(B, 5, 2, 2)
    a, b = (method.mu_head(maps) for _ in range(2))
    assert a.shape == (B, 6) and not torch.equal(a, b)  # dropout
    assert method.mu_head(torch.randn(B, 5, 5, 3)).shape == (B, 6)
    head = rul.Head(5, 6, 2, 0.0)
    assert head.norm.eps == head.norm_out.eps == 2e-5 and not head.norm.affine and head.norm_out.affine
    torch.testing.assert_close(
        head(maps), head.norm_out(F.linear(head.norm(maps).flatten(1), head.project.weight, head.project.bias))
    )
    assert rul.Head(512, 64, 7, 0.4).project.in_features == 25088


def test_rul_answers_without_partners() -> None:
    method = build(rul.Rul)
    images = torch.randn(5, 3, 10, 10)
    method.train_step(batch_for(method), Run(method))
    method.eval()
    torch.testing.assert_close(method.predict(images)[:1], method.predict(images[:1]))
    assert torch.equal(method.predict(images), method.predict(images))


def test_rul_classifier_learns_faster_and_the_networks_own_is_out() -> None:
    method = build(rul.Rul)
    run = Run(method, lr=0.05)
    first, second = run.optimizers["main"].param_groups
    assert (first["lr"], second["lr"]) == pytest.approx((0.05, 0.5))
    assert {id(p) for p in second["params"]} == {id(p) for p in method.fc.parameters()}
    trained = {id(p) for group in (first, second) for p in group["params"]}
    assert trained == {id(p) for p in method.parameters()} - {id(p) for p in method.net.fc.parameters()}
    before = state(method)
    method.train_step(batch_for(method), run)
    moved = {name for name, value in method.named_parameters() if not torch.equal(value, before[name])}
    assert {"net.conv.weight", "mu_head.project.weight", "log_var_head.project.weight", "fc.weight"} <= moved
    assert not any(name.startswith("net.fc") for name in moved)


def test_rul_permutation_comes_from_the_runs_stream() -> None:
    losses = []
    for step in (0, 0, 1):
        method = build(rul.Rul, dropout=0.0)
        run = Run(method)
        run.step = step
        torch.manual_seed(step + 5)
        method.train_step(batch_for(method), run)
        losses.append(run.minimized[0][1])
    assert losses[0] == losses[1] != losses[2]


def test_rul_relabels_on_unmixed_features_from_its_epoch_on() -> None:
    method = build(rul.Rul, relabel="scn", relabel_epoch=10, relabel_margin=0.2)
    given = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
    batch = batch_for(method, labels=given)
    with torch.no_grad():
        method.fc.weight.zero_()
        method.fc.bias.copy_(torch.tensor([8.0, 0, 0, 0, 0, 0, 0]))
    run = Run(method, epoch=8)
    run.frozen = True
    method.train_step(batch, run)
    assert bool((method.new_label == rul.NOT_RELABELLED).all())
    run.epoch = 9
    assert int(method.train_step(batch, run)["relabelled"]) == 6
    assert (
        method.current_labels(batch.index, batch.label).tolist() == [0] * 8 and batch.label.tolist() == given.tolist()
    )
    never = build(rul.Rul)
    assert "relabelled" not in never.train_step(batch, Run(never, epoch=15))
    changed, best = ops.clearly_better_class(torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]]), torch.tensor([0]), 0.5)
    assert not bool(changed) and int(best) == 1  # strict


def test_rul_scores_by_uncertainty() -> None:
    method = build(rul.Rul)
    batch = batch_for(method)
    method.train_step(batch, Run(method))
    score = method.clean_score()
    assert torch.equal(score[batch.index], -method.log_u[batch.index]) and bool(score.isfinite().all())


def test_rul_refuses_networks_without_maps() -> None:
    class Tokens(TinyNet):
        def forward_features(self, x: Tensor) -> Tensor:
            return super().forward_features(x).flatten(2)

    method = build(rul.Rul, make_net=Tokens)
    with pytest.raises(ValueError, match="Tokens gives"):
        method.predict(torch.randn(2, 3, 10, 10))


# --- MentorNet


def curve(variant: Any, gamma: float | None = None, percent: int = 50, ema: float = 1.0) -> Tensor:
    loss = torch.linspace(0, 5, 101, dtype=torch.float64)
    return mentornet.curriculum(variant, loss, loss - ema, percent, gamma)


def test_mentornet_curricula_are_monotone_weights() -> None:
    for variant, percent in (("self_paced", 50), ("spcl_linear", 50), ("pd", 5), ("pd", 50), ("pd", 95)):
        v = curve(variant, percent=percent)
        assert bool((v.diff() <= 0).all()) and v.min() >= 0 and v.max() <= 1
    for variant in ("focal", "hard_example"):
        v = curve(variant)
        assert bool((v.diff() >= 0).all()) and v.min() >= 0 and v.max() <= 1
    assert bool((curve("baseline") == 1).all()) and bool((curve("pd", percent=18) == 1).all())
    assert torch.equal(curve("pd", percent=19), curve("self_paced"))
    assert torch.equal(curve("pd", percent=89), curve("self_paced"))
    assert torch.equal(curve("pd", percent=90), curve("spcl_linear"))
    torch.testing.assert_close(curve("focal"), curve("focal", 2.0))
    torch.testing.assert_close(curve("spcl_linear"), curve("spcl_linear", 1.0))
    assert number(curve("spcl_linear", 2.0).sum()) > number(curve("spcl_linear").sum())


def test_mentornet_boundaries() -> None:
    zero = torch.zeros(1)
    assert number(mentornet.curriculum("self_paced", zero, zero, 50)) == 1
    assert number(mentornet.curriculum("hard_example", zero, zero, 50)) == 1
    low = torch.tensor([-1.0])
    assert number(mentornet.curriculum("hard_example", zero, low, 50)) == 0
    assert number(mentornet.curriculum("hard_example", zero, low, 50, label=torch.ones(1))) == 1


def test_mentornet_percentile_and_average() -> None:
    losses = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0])
    # (7 - 1) * 0.25 = 1.5 is rounded to 2: the third largest, not the interpolated 5.5
    assert number(mentornet.nearest_percentile(losses, 0.75)) == 5
    assert (
        number(mentornet.nearest_percentile(losses, 0.0)) == 1
        and number(mentornet.nearest_percentile(losses, 1.0)) == 7
    )
    average, seen = torch.tensor(0.0), []
    for value in (4.0, 4.0, 4.0):
        average = mentornet.moving_average(average, torch.tensor(value), 0.5)
        seen.append(number(average))
    assert seen == [2.0, 3.0, 3.5]
    assert number(mentornet.moving_average(torch.tensor(float("nan")), torch.tensor(4.0), 0.5)) == 4


def test_mentornet_selects_about_its_percentile() -> None:
    method = build(mentornet.Mentornet, variant="self_paced", percentile=0.7, decay=0.0)
    loss = torch.rand(64, generator=torch.Generator().manual_seed(0))
    assert abs(number(method.weights(loss, 0).mean()) - 0.7) < 0.02


def test_mentornet_start_of_the_average() -> None:
    loss = torch.full((B,), 2.0) + torch.linspace(-0.1, 0.1, B)
    for options, started in (
        ({"variant": "self_paced"}, True), ({"variant": "self_paced", "start": "zero"}, False),
        ({"variant": "pd"}, False), ({"variant": "pd", "start": "first"}, True),
    ):  # fmt: skip
        method = build(mentornet.Mentornet, **options)
        method.weights(loss, 50)
        assert (number(method.average) > 1.9) == started


def test_mentornet_schedules() -> None:
    rates = mentornet.parse_dropout("0.5,17,0.05,78,0.9,5")
    assert len(rates) == 100 and (rates[16], rates[17], rates[94], rates[95]) == (0.5, 0.05, 0.05, 0.9)
    for bad in ("0.5,17,0.05,82", "0.5,17,0.05", "half,100", "0.5,99.5,0.1,0.5", "-0.1,100", "0.1,120,0.2,-20", ""):
        with pytest.raises(ValueError, match="dropout = "):
            mentornet.Mentornet.Config(dropout=bad)
    assert mentornet.Mentornet.Config().dropout_spec == "0.5,17,0.05,83"
    assert mentornet.Mentornet.Config(variant="focal").dropout_spec == "0.0,100"
    assert [mentornet.percent_of(s, 39000) for s in (0, 389, 390, 7019, 7020, 38999, 39000)] == [
        0,
        0,
        1,
        17,
        18,
        99,
        99,
    ]
    assert [mentornet.current_percent(p, 18, True) for p in (3, 18, 60)] == [3, 18, 18]
    assert [mentornet.current_percent(p, 18, False) for p in (3, 18, 60)] == [3, 18, 60]
    assert [p for p in range(100) if mentornet.burning_in(p, 18)] == list(range(17))
    assert not any(mentornet.burning_in(p, 0) for p in range(100))


@pytest.mark.parametrize("sampling", ["random", "binary", "actual"])
def test_mentornet_drops_exactly(sampling: Any) -> None:
    v = torch.rand(12, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    for rate, count in ((0.0, 12), (0.05, 11), (0.5, 6), (0.9, 1), (1.0, 0)):
        left = mentornet.draw(v, mentornet.survivors(12, rate), sampling, torch.Generator().manual_seed(1))
        kept = mentornet.drop(v, left, sampling)
        assert int((kept > 0).sum()) == count == len(set(left.tolist()))
        expected = torch.ones(count) if sampling == "binary" else v[left]
        assert torch.equal(kept[left], expected)
    weights = torch.tensor([1.0] * 6 + [0.0] * 6)
    drawn = mentornet.draw(weights, 6, sampling, torch.Generator().manual_seed(1))
    if sampling != "random":
        assert sorted(drawn.tolist()) == [0, 1, 2, 3, 4, 5]


def test_mentornet_loss_and_gradient() -> None:
    z, y = logits(0).requires_grad_(), labels(1)
    v = torch.rand(B, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    loss = mentornet.weighted_loss(F.cross_entropy(z, y, reduction="none"), v)
    grad, of_v = torch.autograd.grad(loss, (z, v), allow_unused=True)
    torch.testing.assert_close(grad, (v[:, None] / B * (F.softmax(z, 1) - F.one_hot(y, C))).detach())
    assert of_v is None
    assert number(mentornet.weighted_loss(F.cross_entropy(z, y, reduction="none"), 0 * v)) == 0


def test_mentornet_burn_in_keeps_exactly_its_share() -> None:
    method = build(mentornet.Mentornet, burn_in=18, fixed_after_burn_in=True, dropout="0.5,100")
    run = Run(method, epoch=1)
    logged = method.train_step(batch_for(method), run)
    assert number(logged["weight"]) == number(logged["used"]) == 0.5
    ((_, kept),) = run.selected
    assert int(kept.sum()) == B // 2
    assert not method.weights(torch.rand(B), 16).requires_grad and bool((method.weights(torch.rand(B), 16) == 1).all())


def test_mentornet_percent_follows_the_steps() -> None:
    method = build(mentornet.Mentornet, variant="baseline", dropout="0.0,50,0.5,50")
    run = Run(method, epoch=9)
    run.steps = 2
    assert number(method.train_step(batch_for(method), run)["weight"]) == 1
    run.stage_epoch = 10
    assert number(method.train_step(batch_for(method), run)["weight"]) == 0.5


def test_mentornet_scales_weight_decay_for_one_step() -> None:
    for scale in (True, False):
        method = build(mentornet.Mentornet, variant="baseline", dropout="0.5,100", scale_weight_decay=scale)
        run, seen = Run(method), []
        (group,) = run.optimizers["main"].param_groups
        group["weight_decay"] = 0.2
        step = run.optimizers["main"].step
        run.optimizers["main"].step = lambda step=step, group=group, seen=seen: (
            seen.append(group["weight_decay"]),
            step(),
        )
        method.train_step(batch_for(method), run)
        assert seen == [0.1 if scale else 0.2] and group["weight_decay"] == 0.2


def test_mentornet_skips_a_step_without_weights() -> None:
    method = build(mentornet.Mentornet, dropout="1.0,100")
    run, before = Run(method), state(method)
    logged = method.train_step(batch_for(method), run)
    assert not run.minimized and unchanged(method, before) and number(logged["loss"]) == 0


def test_mentornet_average_is_saved() -> None:
    method = build(mentornet.Mentornet)
    method.train_step(batch_for(method), Run(method))
    other = build(mentornet.Mentornet)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.average, method.average) and number(other.average) > 0


def test_mentor_network_is_one_step_of_a_bidirectional_lstm() -> None:
    network = ops.MentorNetwork()
    network.reset(torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.gate_bias.normal_()
        network.hidden_bias.normal_()
        network.out_shift.fill_(0.3)
    rows = torch.rand(6, 4) * 3
    rows[:, 2], rows[:, 3] = torch.tensor([0.0, 1, 0, 1, 0, 0]), torch.tensor([0.0, 7, 50, 99, 100, 130])
    lstm = nn.LSTM(2, 1, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            weight, bias = getattr(lstm, f"weight_ih_l0{suffix}"), getattr(lstm, f"bias_ih_l0{suffix}")
            getattr(lstm, f"bias_hh_l0{suffix}").zero_()
            # torch orders its gates i, f, g, o
            weight[0], weight[2] = network.gate[direction, :, 0], network.gate[direction, :, 1]
            bias[0], bias[2] = network.gate_bias[direction]
    _, (_, cell) = lstm(rows[:, None, :2])
    percent = network.percent_embedding[torch.tensor([0, 7, 50, 99, 99, 99])]
    features = torch.cat([network.label_embedding[rows[:, 2].long()], percent, cell.squeeze(2).T], dim=1)
    hidden = torch.tanh(features @ network.hidden + network.hidden_bias)
    torch.testing.assert_close(network(rows), (hidden @ network.out).squeeze(1) + 0.3 * hidden.sum(1))


def test_mentor_tables() -> None:
    table = ops.curriculum_table(lambda loss, diff, percent: mentornet.curriculum("pd", loss, diff, percent))
    assert table.shape == (1_200_000, 5) and table[:, 0].max() == 29 and table[:, 1].min() == -5
    fit, test = ops.split_table(table, torch.arange(1000), 100)
    assert (len(fit), len(test)) == (80, 20)
    assert len(ops.split_table(table, torch.arange(1000), 100, official=True)[1]) == 19
    dump = torch.tensor([[1.0, 5, 2, 2, 0.5], [2, 6, 2, 1, 1.5], [1, 7, 3, 2, 2.5]], dtype=torch.float64)
    every = ops.data_driven_table(dump, 50)
    assert every[:, 4].tolist() == [1, 0, 0] and every[:, 1].tolist() == [-1, 0, 1] and every[:, 2].eq(0).all()
    last = ops.data_driven_table(dump, 50, one_row_per_sample=True)
    assert last[:, 0].tolist() == [2.5, 1.5] and last[:, 3].tolist() == [7, 6]


def test_area_under_roc_counts_pairs() -> None:
    score = torch.tensor([0.1, 0.4, 0.4, 0.8, 0.3])
    right = torch.tensor([False, True, False, True, False])
    # of six pairs, one is a tie
    assert ops.area_under_roc(score, right) == pytest.approx(5.5 / 6)
    assert ops.area_under_roc(-score, right) == pytest.approx(0.5 / 6)
    for one_kind in (right | True, right & False):
        assert ops.area_under_roc(score, one_kind) is None


@pytest.mark.parametrize("binary", [True, False])
def test_mentor_is_fitted(binary: bool) -> None:
    def target(loss: Tensor, difference: Tensor, percent: Tensor) -> Tensor:
        return mentornet.curriculum("self_paced" if binary else "spcl_linear", loss, difference, percent)

    generator = torch.Generator().manual_seed(0)
    table = ops.curriculum_table(target)
    fit, test = ops.split_table(table, torch.randperm(len(table), generator=generator), 5000)
    mentor = ops.MentorNetwork()
    mentor.reset(generator)
    frozen = mentor.percent_embedding.clone()
    errors = [F.mse_loss(mentor(test[:, :4].float()).sigmoid(), test[:, 4].float()).item()]
    ops.fit_mentor(mentor, fit, 150, generator)
    errors.append(F.mse_loss(mentor(test[:, :4].float()).sigmoid(), test[:, 4].float()).item())
    assert errors[1] < 0.7 * errors[0] and torch.equal(mentor.percent_embedding, frozen)


def test_mentornet_with_a_network() -> None:
    method = build(mentornet.Mentornet, variant="self_paced", mentor="network", mentor_steps=100)
    run = Run(method)
    before = method.mentor.hidden.clone()
    method.on_stage_start("train", run)
    assert not torch.equal(method.mentor.hidden, before) and 0 < number(method.mentor_quality) < 0.3
    fitted = method.mentor.hidden.clone()
    batch: Batch = batch_for(method)
    logged = method.train_step(batch, run)
    assert run.minimized and number(logged["mentor_error"]) == number(method.mentor_quality)
    assert torch.equal(method.mentor.hidden, fitted) and all(p.grad is None for p in method.mentor.parameters())
    trained = {id(p) for g in run.optimizers["main"].param_groups for p in g["params"]}
    assert trained == {id(p) for p in method.net.parameters()}
    v = method.weights(torch.tensor([0.1, 8.0] * 4), 50)
    assert number(v.min()) >= 0 and number(v.max()) <= 1 and v[0] > v[1]
    # the same run fits the same mentor
    again = build(mentornet.Mentornet, variant="self_paced", mentor="network", mentor_steps=100)
    again.on_stage_start("train", Run(again))
    assert torch.equal(again.mentor.hidden, fitted)
