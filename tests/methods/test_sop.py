"""Properties of SOP and SOP+: who learns from which term, and how far a visit moves the noise of a sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fer_bench_methods.sop as sop
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.plugins.registry import discover

C, N, B = 7, 20, 6
INDEX, LABELS = torch.tensor([3, 0, 19, 7, 11, 2]), torch.tensor([1, 0, 6, 6, 2, 3])
OTHERS = torch.tensor([row for row in range(N) if row not in INDEX.tolist()])


def build(epochs: int = 14, counts: Tensor | None = None, **options: Any) -> sop.Sop:
    counts = torch.ones(C, dtype=torch.int64) if counts is None else counts
    torch.manual_seed(0)
    labels = torch.arange(N) % C
    method = sop.Sop(sop.Sop.Config(**options), Task(C, N, counts, epochs, B, labels=labels))
    method.build(lambda role: nn.Linear(3, C))
    return method


def logits(scale: float = 2.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(B, C, generator=torch.Generator().manual_seed(seed))


def gradients(method: sop.Sop, z: Tensor, part: str = "loss", second: Tensor | None = None) -> tuple[Tensor, Tensor]:
    value = method.objective(z, LABELS, INDEX, second)[part]
    found = torch.autograd.grad(value, (method.u, method.v), allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, (method.u, method.v), strict=True))


def test_without_noise_it_is_cross_entropy() -> None:
    method, z = build(), logits(0.5)
    method.u.data.zero_(), method.v.data.zero_()
    parts = method.objective(z, LABELS, INDEX)
    assert torch.allclose(parts["ce"], F.cross_entropy(z, LABELS))
    assert parts["square"] == 2 * (z.argmax(1) != LABELS).float().mean()
    assert not any(g.any() for g in gradients(method, z)), "exactly 0 stays 0"


@pytest.mark.parametrize("variant", ["sop", "sop_plus"])
def test_other_rows_never_move(variant: str) -> None:
    method = build(std=0.3, variant=variant)
    u, v = gradients(method, logits(), second=logits(seed=1) if variant == "sop_plus" else None)
    assert not u[OTHERS].any() and not v[OTHERS].any() and bool((u[INDEX] != 0).all()) and v[INDEX].any()


def test_v_learns_from_the_squared_error_alone() -> None:
    method = build(std=0.3, variant="sop_plus")
    z = logits()
    for part in ("ce", "balance"):
        assert not gradients(method, z, part)[1].any()
    assert not method.objective(z, LABELS, INDEX, logits(seed=1))["consistency"].requires_grad
    _, v = gradients(method, z)
    _, same = gradients(method, z * 3)
    assert torch.equal(v, same), "only the predicted class counts"
    assert not v[INDEX, LABELS].any()


@pytest.mark.parametrize("u_loss", ["both", "ce"])
def test_what_teaches_u(u_loss: str) -> None:
    method = build(std=0.3, u_loss=u_loss)
    ce, square, both = (gradients(method, logits(), part)[0] for part in ("ce", "square", "loss"))
    assert square.any() == (u_loss == "both") and torch.allclose(both, ce + square)


def test_closed_forms() -> None:
    method, z = build(std=0.05), logits(1.0)
    u, v = method.u.detach()[INDEX], method.v.detach()[INDEX]
    wrong = (z.argmax(1) != LABELS).float()[:, None]
    o, elsewhere = F.one_hot(z.argmax(1), C), 1 - F.one_hot(LABELS, C)
    found_u, found_v = gradients(method, z, "square")
    assert torch.allclose(found_u[INDEX], 4 / B * u * (u**2 - wrong), atol=1e-7)
    assert torch.allclose(found_v[INDEX], 4 / B * v * (v**2 - o) * elsewhere, atol=1e-7)
    q = F.softmax(z, 1) + u**2 * F.one_hot(LABELS, C) - v**2 * elsewhere
    by_hand = -2 * u / B * (1 / q.gather(1, LABELS[:, None]) - 1 / q.sum(1, keepdim=True))
    assert torch.allclose(gradients(method, z, "ce")[0][INDEX], by_hand, atol=1e-6)


def test_noise_above_one_is_frozen() -> None:
    method = build(std=0.3)
    method.u.data[INDEX[0]], method.v.data[INDEX[0], 4] = 1.01, -1.01
    u, v = gradients(method, logits())
    assert u[INDEX[0]] == 0 and v[INDEX[0], 4] == 0 and u[INDEX[1]] != 0


def test_the_order_of_a_batch_does_not_matter() -> None:
    method, order = build(std=0.3), torch.tensor([5, 0, 3, 1, 4, 2])
    mine = method.objective(logits(), LABELS, INDEX)["loss"]
    other = method.objective(logits()[order], LABELS[order], INDEX[order])["loss"]
    assert torch.allclose(mine, other)


def test_the_first_view_is_the_target_of_the_second() -> None:
    method = build(variant="sop_plus", lam_b=0.0, lam_c=0.5)
    z, second = logits().requires_grad_(), logits(seed=1).requires_grad_()
    parts = method.objective(z, LABELS, INDEX, second)
    of_second = torch.autograd.grad(parts["loss"], second, retain_graph=True)[0]
    p = F.softmax(z.detach(), 1)
    assert torch.allclose(of_second, 0.5 * (F.softmax(second, 1) - p) / B, atol=1e-7)
    assert torch.autograd.grad(parts["consistency"], z, allow_unused=True)[0] is None
    kl = (p * (p.log() - F.log_softmax(second, 1))).sum(1).mean()
    assert torch.allclose(parts["consistency"], kl, atol=1e-6)


def test_the_pull_to_the_prior() -> None:
    counts = torch.tensor([10, 4, 2, 1, 1, 1, 1])
    uniform, observed = (build(variant="sop_plus", prior=name, counts=counts) for name in ("uniform", "observed"))
    z = (counts / counts.sum()).log().expand(B, C)
    for method in (uniform, observed):
        method.u.data.zero_(), method.v.data.zero_()
    shares = counts / counts.sum()
    found = observed.objective(z, LABELS, INDEX)["balance"]
    assert torch.allclose(found, -(shares * shares.log()).sum()), "the least that it can be"
    assert torch.allclose(uniform.objective(z, LABELS, INDEX)["balance"], -shares.log().mean())


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_extreme_logits(scale: float) -> None:
    method = build(variant="sop_plus", std=0.3)
    z = logits(scale).requires_grad_()
    parts = method.objective(z, LABELS, INDEX, logits(scale, 1))
    parts["loss"].backward()
    assert all(bool(t.isfinite().all()) for t in (*parts.values(), z.grad, method.u.grad, method.v.grad))


# --- the clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [40, 60, 100])
def test_an_always_contradicted_v_arrives_when_it_should(epochs: int) -> None:
    method = build(epochs=epochs)
    assert method.rates[0] == method.rates[1] and method.std == 0.01
    v, visits = 0.01, 0
    while v < 1 - 1e-9:
        v, visits = v * (1 + 4 * method.rates[1] / 128), visits + 1
    assert visits == math.ceil(0.5 * epochs)


def test_start_and_rates() -> None:
    assert (build(epochs=10).rates, build(epochs=10).std) == ((30.0, 30.0), 0.01), "no faster than this"
    assert build(epochs=14).rates == (pytest.approx(29.8, abs=0.1),) * 2
    assert (build(epochs=300).rates, build(epochs=300).std) == ((1.0, 10.0), 1e-8), "the official ones"
    assert build(epochs=14, lr_u=2.0, lr_v=3.0, std=0.1).rates == (2.0, 3.0)
    assert build(std=0.1).v.std().item() == pytest.approx(0.1, rel=0.2)


class Step:
    def __init__(self, method: sop.Sop) -> None:
        self.method, self.names = method, ()
        self.optimizers = method.optimizers("train", lambda p, **o: torch.optim.SGD(p, lr=0.1))
        self.kept: Tensor | None = None

    def minimize(self, loss: Tensor, *names: str) -> None:
        self.names = names
        loss.backward()
        for name in names:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        self.kept = kept


class Rows:
    """``count`` rows of features in place of images; the first is the same in every batch."""

    def __init__(self, count: int) -> None:
        self.index, self.label = torch.arange(count), torch.arange(count) % C

    def __len__(self) -> int:
        return len(self.index)

    def view(self, name: str) -> Tensor:
        return torch.randn(len(self), 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("step_size", ["per-visit", "official"])
def test_a_visit_moves_a_sample_as_far_in_any_batch(step_size: str) -> None:
    moves = []
    for count in (16, 4):
        method = build(std=0.3, step_size=step_size)
        before, run = method.u.detach().clone(), Step(method)
        first = Rows(16).view("")[:1]
        rows = Rows(count)
        rows.view = lambda name, rows=rows, first=first: torch.cat([first, torch.zeros(len(rows) - 1, 3)])
        method.train_step(rows, run)
        assert run.names == ("main", "noise")
        moves.append((method.u.detach() - before)[0].item())
    assert moves[1] / moves[0] == pytest.approx(1.0 if step_size == "per-visit" else 4.0, rel=1e-4)


def test_a_sample_is_believed_wrong_once_its_noise_outweighs_its_label() -> None:
    method = build(lr_u=1e-6, lr_v=1e-6)
    method.u.data[0], method.v.data[0, 3] = 0.8, 0.9  # 1 - 0.64 < 0.81
    method.u.data[1], method.v.data[1, 3] = 0.3, 0.9
    run = Step(method)
    method.train_step(Rows(3), run)
    assert run.kept is not None and run.kept.tolist() == [False, True, True]
    score = method.clean_score()
    assert score[0] == pytest.approx(-0.64 - 0.81, abs=1e-3) and score.shape == (N,) and (score[2:] > -0.01).all()


def test_remarks_and_needs() -> None:
    Config = sop.Sop.Config
    assert sop.Sop.needs(Config()).views == ("weak",) and sop.Sop.remarks(Config()) == ()
    plus = Config(variant="sop_plus", second_view="second")
    assert sop.Sop.needs(plus).views == ("weak", "second") and "SOP+" in sop.Sop.remarks(plus)[0]


def test_wrong_settings() -> None:
    for name, value in (("std", 0.0), ("std", 0.9), ("lr_u", -1.0), ("arrival", 1.5), ("lam_c", -0.1)):
        with pytest.raises(ValueError, match=f"{name} = "):
            sop.Sop.Config(**{name: value})


@pytest.mark.parametrize(
    ("noise", "factor", "options", "forwards"),
    [
        (0.4, 1.0, {}, 1), (0.0, 50.0, {}, 1), (0.4, 1.0, {"variant": "sop_plus"}, 2),
        (0.0, 50.0, {"variant": "sop_plus", "prior": "observed", "second_view": "second"}, 2),
    ],
)  # fmt: skip
def test_it_trains(
    train: Callable[..., Any], noise: float, factor: float, options: dict[str, Any], forwards: int
) -> None:
    folder, seen = train("sop", noise=noise, factor=factor, epochs=3, **options)
    rates = [record["lr"] for record in folder.epochs()]
    assert rates[0]["main"] > rates[-1]["main"] and rates[0]["noise"] == rates[-1]["noise"]
    assert folder.final["images_forward"] == forwards * sum(len(batch) for batch in seen.batches)
    assert bool(seen.method.u.isfinite().all())


def test_the_recipes_weight_decay_leaves_the_noise_alone() -> None:
    method = build()
    own = method.optimizers("train", lambda p, **o: torch.optim.Adam(p, weight_decay=0.1))
    assert type(own["noise"]) is torch.optim.SGD
    for group in own["noise"].param_groups:
        assert (group["momentum"], group["weight_decay"], group["follows_recipe"]) == (0, 0, False)
    held = {id(p) for g in own["main"].param_groups for p in g["params"]}
    assert held == {id(p) for p in method.net.parameters()}
    assert discover()["sop"].load().info.kind == "label noise"
