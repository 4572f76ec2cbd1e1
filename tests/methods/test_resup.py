"""Properties of ReSup."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fer_bench_methods.resup as resup
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

B, C = 8, 7
LABELS = torch.tensor([0, 3, 3, 6, 1, 2, 5, 0])


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(seed: int) -> Tensor:
    return (torch.randn(B, C, generator=stream(seed), dtype=torch.float64) * 2).requires_grad_()


def tables() -> tuple[Tensor, Tensor]:
    rising = torch.linspace(0, 1, 100, dtype=torch.float64)
    return rising, rising**2


def humps(seed: int = 0, count: int = 300) -> Tensor:
    """Similarities of which two thirds are near 0.9 and the others near 0.1."""
    x = torch.cat([torch.full((2 * count // 3,), 0.9), torch.full((count // 3,), 0.1)]).double()
    return x + (torch.rand(len(x), generator=stream(seed), dtype=torch.float64) - 0.5) * 0.15


def loss_of(za: Tensor, zb: Tensor, table_a: Tensor, table_b: Tensor, consistency: float = 5.0) -> Tensor:
    weights = (resup.clean_weight(za, LABELS, table_a), resup.clean_weight(zb, LABELS, table_b))
    return resup.crossed_loss((za, zb), LABELS, weights, consistency)["loss"]


def test_similarity_is_a_cosine() -> None:
    z = logits(0)
    one_hot = F.one_hot(LABELS, C).double()
    torch.testing.assert_close(
        resup.label_similarity(z, LABELS), F.cosine_similarity(F.softmax(z.detach(), dim=1), one_hot)
    )
    uniform = resup.label_similarity(torch.zeros(2, C), torch.tensor([1, 2]))
    torch.testing.assert_close(uniform, torch.full((2,), 1 / math.sqrt(C)))
    assert not resup.label_similarity(z, LABELS).requires_grad


def test_the_mixture_tells_the_humps_apart() -> None:
    pair = resup.fit_beta_pair(humps())
    assert float(pair.weight[1]) == pytest.approx(2 / 3, abs=0.02)
    table = resup.clean_table(pair)
    assert float(table[10]) < 0.01 and float(table[90]) > 0.99 and bool(((table >= 0) & (table <= 1)).all())
    order = torch.randperm(300, generator=stream(1))
    torch.testing.assert_close(resup.fit_beta_pair(humps()[order]).a, pair.a)


def test_the_densities_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    pair, x = resup.fit_beta_pair(humps()), torch.tensor([0.05, 0.3, 0.8, 0.97], dtype=torch.float64)
    expected = [stats.beta.pdf(x.numpy(), float(a), float(b)) for a, b in zip(pair.a, pair.b, strict=True)]
    torch.testing.assert_close(pair.joint(x) / pair.weight, torch.tensor(expected).double().T)


def test_reflection_swaps_the_components() -> None:
    a, b, x = resup.initial_pair(), resup.initial_pair(), humps()
    # the start itself is symmetric: reflecting it exchanges its components
    for _ in range(3):
        a, b = resup.refitted(a, x), resup.refitted(b, 1 - x)
    torch.testing.assert_close(a.a, b.b.flip(0))
    torch.testing.assert_close(a.weight, b.weight.flip(0))


def test_a_table_is_flat_above_its_maximum_and_can_be_made_to_rise() -> None:
    close = 0.36 + 0.05 * torch.rand(60, generator=stream(0), dtype=torch.float64) ** 3
    pair = resup.fit_beta_pair(close)
    raw, risen = resup.clean_table(pair), resup.clean_table(pair, monotone=True)
    assert bool((raw.diff() < 0).any()), "the case must be one in which the official table falls"
    assert bool((risen.diff() >= 0).all()) and float(risen.max()) == float(raw.max())
    top = int(raw.argmax())
    assert bool((raw[top:] == raw[top]).all())


def test_weights_stay_off_the_ends_and_look_into_their_bin() -> None:
    zero_and_one = torch.cat([torch.zeros(50), torch.ones(50)]).double()
    u = resup.clean_weight(logits(0), LABELS, zero_and_one)
    assert set(u.tolist()) <= {1e-4, 1 - 1e-4} and not u.requires_grad
    numbers = torch.arange(100, dtype=torch.float64)
    similarity = torch.tensor([-1.0, 0.0, 0.001, 0.456, 0.999, 1.0, 1.1], dtype=torch.float64)
    assert resup.looked_up(similarity, numbers).tolist() == [0, 0, 0, 45, 99, 99, 99]


def test_weights_cross_over_and_carry_no_gradient() -> None:
    za, zb = logits(0), logits(1)
    ta, tb = tables()
    grads = torch.autograd.grad(loss_of(za, zb, ta, tb), (za, zb))
    changed = torch.autograd.grad(loss_of(za, zb, ta * 0.5, tb), (za, zb))
    assert torch.equal(grads[0], changed[0]) and not torch.equal(grads[1], changed[1])
    torch.testing.assert_close(loss_of(za, zb, ta, tb), loss_of(zb, za, tb, ta))


def test_special_cases_of_the_loss() -> None:
    z = logits(0)
    table, ones = tables()[0], torch.ones(100, dtype=torch.float64)
    ce = F.cross_entropy(z, LABELS, reduction="none")
    u = resup.clean_weight(z, LABELS, table)
    torch.testing.assert_close(loss_of(z, z, table, table), (2 * u * ce).mean())
    za, zb = logits(0), logits(1)
    (plain,) = torch.autograd.grad(resup.warm_up_loss(za, zb, LABELS), za)
    (ours,) = torch.autograd.grad(loss_of(za, zb, ones, ones, consistency=0.0), za)
    torch.testing.assert_close(ours, (1 - 1e-4) * plain)
    p = [F.softmax(x, dim=1) for x in (za, zb)]
    apart = loss_of(za, zb, ones, ones, 5.0) - loss_of(za, zb, ones, ones, 0.0)
    torch.testing.assert_close(apart, 5 * ((p[0] - p[1]) ** 2).mean())


def method(**options: Any) -> resup.Resup:
    task = Task(C, 30, torch.ones(C, dtype=torch.int64), 30, B)
    built = resup.Resup(resup.Resup.Config(**options), task)
    built.build(lambda role: nn.Linear(3, C))
    return built


def test_a_fit_that_breaks_down_keeps_the_table() -> None:
    ours = method()
    ours.fit(0, humps().float())
    before = ours.table.clone()
    with pytest.warns(UserWarning, match="not renewed"):
        ours.fit(0, torch.full((30,), 0.4))
    assert torch.equal(ours.table, before) and bool((ours.table[1] == 1).all())


def test_warm_up_length() -> None:
    assert method().warmup_epochs == 1 and method(warmup=0.1).warmup_epochs == 3 and method(warmup=0).warmup_epochs == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [({"warmup": 1.5}, "warmup"), ({"consistency": -1.0}, "consistency"), ({"rounds": 0}, "rounds")],
)
def test_bounds(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        resup.Resup.Config(**options)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, seen = bench.trained(discover()["resup"], noise, factor)
    assert all(math.isfinite(record["train"]["loss"]) for record in folder.epochs())
    if factor == 1:
        score = seen.method.clean_score()
        assert score is not None and bool(((score >= 0) & (score <= 1)).all())


def test_options_train(tmp_path: Path) -> None:
    plugin, bench = discover()["resup"], Bench(tmp_path)
    spec = bench.spec(plugin, 0.4)
    spec.config.update(fit_view="plain", monotone=True)
    folder, _ = bench.train(plugin, spec, "options")
    assert folder.state == "done"
