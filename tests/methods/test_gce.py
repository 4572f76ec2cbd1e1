"""Properties of generalised cross-entropy and of its truncated form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fer_bench_methods.gce as gce
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task

C, B, N = 7, 12, 30


def logits(seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, C, generator=generator, dtype=torch.float64) * scale).requires_grad_()


LABELS = torch.arange(B) % C


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss, at, retain_graph=True)[0]


def build(**options: Any) -> gce.Gce:
    counts = torch.full((C,), N // C)
    task = Task(num_classes=C, num_samples=N, class_counts=counts, epochs=12, batch_size=B)
    return gce.Gce(gce.Gce.Config(**options), task)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_gradient_is_that_of_cross_entropy_times_p_to_the_q(q: float) -> None:
    z = logits()
    p = F.softmax(z, dim=1)
    p_y = p.gather(1, LABELS[:, None])
    grad = gradient(gce.lq_loss(z, LABELS, q).sum(), z)
    torch.testing.assert_close(grad, p_y**q * (p - F.one_hot(LABELS, C)))
    weight = gce.Gce.sample_weight(gce.Gce.Config(q=q), 0, 1)
    torch.testing.assert_close(grad, weight(p_y, p_y) * gradient(F.cross_entropy(z, LABELS, reduction="sum"), z))


def test_limits_and_range() -> None:
    z = logits()
    p_y = F.softmax(z, dim=1).gather(1, LABELS[:, None]).squeeze(1)
    ce = F.cross_entropy(z, LABELS, reduction="none")
    torch.testing.assert_close(gce.lq_loss(z, LABELS, 1e-6), ce, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gce.lq_loss(z, LABELS, 1.0), 1 - p_y)
    loss = gce.lq_loss(z, LABELS, 0.7)
    assert bool((loss >= 0).all() and (loss <= 1 / 0.7).all())
    order = p_y.argsort()
    assert bool((loss[order].diff() < 0).all())
    assert gce.threshold(0.7, 0.5) == pytest.approx(0.5491825619, abs=1e-10)


@pytest.mark.parametrize("q", [0.3, 0.7])
def test_hopeless_samples_have_finite_gradients(q: float) -> None:
    z = torch.zeros(1, C)
    z[0, 1] = 1000.0
    z.requires_grad_()
    loss = gce.lq_loss(z, torch.tensor([0]), q).sum()
    assert loss.item() == pytest.approx(1 / q)
    assert bool(gradient(loss, z).isfinite().all())
    # the naive form has none
    naive = ((1 - F.softmax(z, dim=1)[:, 0] ** q) / q).sum()
    assert not bool(gradient(naive, z).isfinite().all())


def test_clamp_bounds_the_loss_and_ends_the_gradient() -> None:
    z = torch.tensor([[0.0, 40.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss = gce.lq_loss(z, torch.zeros(2, dtype=torch.int64), 0.7, clamp=1e-7)
    assert loss[0].item() == pytest.approx((1 - 1e-7**0.7) / 0.7)
    grad = gradient(loss.sum(), z)
    assert bool((grad[0] == 0).all()) and bool((grad[1] != 0).all())


def test_truncated_loss() -> None:
    z, q, k = logits(), 0.7, 0.5
    per_sample = gce.lq_loss(z, LABELS, q)
    every = torch.ones(B, dtype=torch.bool)
    # all kept: the gradient of the plain loss, and a shifted value
    whole = gce.truncated_loss(per_sample, every, q, k)
    assert torch.equal(gradient(whole, z), gradient(per_sample.mean(), z))
    torch.testing.assert_close(whole, per_sample.mean() - gce.threshold(q, k))
    # pruned rows have no gradient; kept ones do not notice, because the sum is divided by B
    kept = every.clone()
    kept[::3] = False
    grad = gradient(gce.truncated_loss(per_sample, kept, q, k), z)
    assert bool((grad[~kept] == 0).all()) and torch.equal(grad[kept], gradient(whole, z)[kept])
    none = gce.truncated_loss(per_sample, ~every, q, k)
    assert none.item() == 0 and bool((gradient(none, z) == 0).all())


def test_schedule_of_the_passes() -> None:
    def passes(epochs: int, **options: Any) -> list[int]:
        start, every = gce.Gce.pass_epochs(gce.Gce.Config(**options), epochs)
        return [epoch for epoch in range(epochs) if gce.prunes_before(epoch, start, every)]

    assert passes(120) == [39, 49, 59, 69, 79, 89, 99, 109, 119]
    assert passes(60) == [19, 24, 29, 34, 39, 44, 49, 54, 59]
    assert passes(14) == list(range(4, 14)) and passes(120, prune_start=1.1) == []
    assert passes(2) == [1] and passes(12, prune_start=0.0)[0] == 1  # an untrained network never prunes
    truncated = gce.Gce.needs(gce.Gce.Config(variant="truncated"))
    assert truncated.forwards_in(60) == pytest.approx(1 + 9 / 60) and truncated.forwards_in(14) == 1 + 10 / 14
    assert gce.Gce.needs(gce.Gce.Config()).forwards_in(14) == 1.0


class FixedPass:
    """A run whose training set has given logits, in batches of ``size``, in the order ``rows``."""

    def __init__(self, z: Tensor, labels: Tensor, rows: Tensor, size: int) -> None:
        self.z, self.labels, self.parts = z, labels, rows.split(size)

    def training_set(self) -> Any:
        for rows in self.parts:
            yield type(
                "Part", (), {"index": rows, "label": self.labels[rows], "view": lambda _, name, r=rows: self.z[r]}
            )()


def looked_at(z: Tensor, labels: Tensor, rows: Tensor, size: int, method: gce.Gce | None = None) -> gce.Gce:
    method = method or build(variant="truncated")
    method.net = torch.nn.Identity()
    method.look_at_all(FixedPass(z, labels, rows, size))  # type: ignore[arg-type]
    return method


def test_a_pass_keeps_what_looks_likely() -> None:
    z = torch.randn(N, C, generator=torch.Generator().manual_seed(1)) * 3
    labels = z.argmax(dim=1)
    labels[::4] = (labels[::4] + 1) % C
    p_y = F.softmax(z, dim=1).gather(1, labels[:, None]).squeeze(1)
    rows = torch.arange(N)
    method = looked_at(z, labels, rows, 7)
    assert torch.equal(method.kept(rows), p_y > 0.5) and 0 < int(method.kept(rows).sum()) < N
    torch.testing.assert_close(method.clean_score(), p_y)
    # whatever the order and the batches are, and again the same
    backwards = looked_at(z, labels, rows.flip(0), 4)
    assert torch.equal(backwards.kept(rows), method.kept(rows))
    assert torch.equal(looked_at(z, labels, rows, 7, method).kept(rows), p_y > 0.5)
    # only the rows that a pass names are decided anew, and a pruned sample returns
    before = method.kept(rows)
    better = F.one_hot(labels, C).float() * 10
    looked_at(better, labels, rows[:9], 7, method)
    assert bool(method.kept(rows[:9]).all()) and torch.equal(method.kept(rows[9:]), before[9:])


def test_truncated_training(train: Callable[..., Any]) -> None:
    folder, seen = train("gce", epochs=6, variant="truncated")
    method = seen.method
    assert int(method.passes) == 5 and folder.epochs()[-1]["selection"] is not None
    rows = torch.arange(method.task.num_samples)
    assert 0 < int(method.kept(rows).sum()) < len(rows)
    with np.load(folder.path / "scores.npz") as scores:
        np.testing.assert_array_equal(scores["clean_score"], method.clean_score().numpy())


def test_without_a_pass_the_truncated_form_is_the_plain_one(train: Callable[..., Any]) -> None:
    (_, plain), (_, late) = train("gce"), train("gce", variant="truncated", prune_start=2.0)
    assert plain.method.clean_score() is None and late.method.clean_score() is None
    theirs = dict(late.method.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in plain.method.named_parameters())


def test_a_pass_at_another_view(train: Callable[..., Any]) -> None:
    _, seen = train("gce", variant="truncated", prune_view="plain")
    assert seen.method.needs(seen.method.config).views == ("weak", "plain") and int(seen.method.passes) == 1


def test_remarks_name_the_variant() -> None:
    assert gce.Gce.remarks(gce.Gce.Config()) == ()
    assert gce.Gce.remarks(gce.Gce.Config(variant="truncated")) == ("variant truncated",)


@pytest.mark.parametrize(
    ("name", "value"),
    [("q", 0.0), ("q", 1.1), ("k", 1.5), ("prune_start", -0.1), ("prune_every", 1.5), ("clamp", 0.5)],
)
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        gce.Gce.Config(**{name: value})


def test_weight_of_a_rare_class_at_the_start() -> None:
    """What the card warns of: an answer with the prior weighs a frequent class more."""
    weight = gce.Gce.sample_weight(gce.Gce.Config(), 0, 1)
    assert weight(0.389, 0.0) / weight(0.0229, 0.0) == pytest.approx((0.389 / 0.0229) ** 0.7)
    assert math.isclose(weight(1.0, 0.0), 1.0)
