"""Properties of LDAM with deferred re-weighting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.ldam_drw as ldam
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task

C, B, D = 7, 12, 5
LABELS = torch.arange(B) % C
RAF = torch.tensor([1290, 281, 717, 4772, 1982, 705, 2524])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def test_margins() -> None:
    m = ldam.class_margins(RAF, 0.5)
    assert m.max() == pytest.approx(0.5) and int(m.argmax()) == int(RAF.argmin())
    assert m[0] / m[3] == pytest.approx((1290 / 4772) ** -0.25)
    order = torch.randperm(C, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ldam.class_margins(RAF[order], 0.5), m[order])
    torch.testing.assert_close(ldam.class_margins(torch.full((C,), 9), 0.3), torch.full((C,), 0.3).double())


def test_an_absent_class_has_no_margin() -> None:
    counts = torch.tensor([9, 0, 3, 5, 2, 1, 4])
    m = ldam.class_margins(counts, 0.5)
    assert m[1] == 0 and m[5] == pytest.approx(0.5) and bool((m[counts > 0] > 0).all())
    official = ldam.class_margins(counts, 0.5, official=True)
    assert bool(official[1].isnan()) and bool((official[counts > 0] == 0).all())


def test_cosines_know_directions_only() -> None:
    f, w = drawn(B, D), drawn(C, D, seed=1)
    u = ldam.cosines(f, w)
    assert u.abs().max() <= 1 + 1e-12
    scale = torch.linspace(0.1, 9, C, dtype=torch.float64)[:, None]
    torch.testing.assert_close(ldam.cosines(3 * f, scale * w), u)
    loss = ldam.ldam_loss(u, LABELS, ldam.class_margins(RAF, 0.5), 30.0)
    grad_f, grad_w = torch.autograd.grad(loss, (f, w))
    for grad, value in ((grad_f, f), (grad_w, w)):
        torch.testing.assert_close((grad * value).sum(dim=1), torch.zeros(len(value), dtype=torch.float64))
    assert bool(ldam.cosines(torch.zeros(1, D), w.float()).eq(0).all())


def test_the_loss_without_margin_and_scale_is_cross_entropy() -> None:
    u = drawn(B, C).tanh()
    torch.testing.assert_close(ldam.ldam_loss(u, LABELS, torch.zeros(C), 1.0), F.cross_entropy(u, LABELS))
    lowered = u.clone()
    lowered[torch.arange(B), LABELS] -= 0.25
    torch.testing.assert_close(
        ldam.ldam_loss(u, LABELS, torch.full((C,), 0.25), 7.0), F.cross_entropy(7 * lowered, LABELS)
    )


def test_class_weights() -> None:
    u, m = drawn(B, C).tanh(), ldam.class_margins(RAF, 0.5)
    plain = ldam.ldam_loss(u, LABELS, m, 30.0)
    torch.testing.assert_close(ldam.ldam_loss(u, LABELS, m, 30.0, torch.ones(C)), plain)
    weight = torch.linspace(0.2, 3.0, C)
    assert not torch.allclose(ldam.ldam_loss(u, LABELS, m, 30.0, weight), plain)
    one = torch.full((B,), 4)
    torch.testing.assert_close(ldam.ldam_loss(u, one, m, 30.0, weight), ldam.ldam_loss(u, one, m, 30.0))


def test_official_learning_rate() -> None:
    rates = [ldam.official_rate(epoch, 200) for epoch in (0, 1, 4, 5, 159, 160, 179, 180, 199)]
    assert rates == pytest.approx([0.2, 0.4, 1, 1, 1, 0.01, 0.01, 1e-4, 1e-4])
    assert [ldam.official_rate(epoch, 10) for epoch in (0, 7, 8, 9)] == [1.0, 1.0, 0.01, 1e-4]


def test_the_head_and_the_answer(train: Callable[..., Any]) -> None:
    _, seen = train("ldam_drw", noise=0.0, factor=4.0, epochs=2, s=20.0)
    method = seen.method.eval()
    head = method.net.get_classifier()
    start = seen.start["net.fc.weight"]
    torch.testing.assert_close(start.norm(dim=1), torch.ones(len(start)))
    assert bool((head.bias == 0).all()) and not head.bias.requires_grad
    images = seen.batches[0].view("weak")
    features = method.net.forward_head(method.net.forward_features(images), pre_logits=True)
    expected = 20.0 * F.normalize(features, dim=1) @ F.normalize(head.weight, dim=1).T
    torch.testing.assert_close(method.predict(images), expected)
    # the network's own logits are something else, and have no part in the answer
    assert not torch.allclose(method.net(images), expected)
    with torch.no_grad():
        head.weight.mul_(5)
    torch.testing.assert_close(method.predict(images), expected)


def test_weights_come_late(train: Callable[..., Any]) -> None:
    _, seen = train("ldam_drw", noise=0.0, factor=4.0, epochs=2, start=0.5, beta=0.9)
    method, batch, run = seen.method.eval(), seen.batches[0], seen.runs[0]
    assert method.class_weights.max() > 1.2 * method.class_weights.min()
    u = method.cosines(batch.view("weak"))
    for run.epoch, weight in ((0, None), (1, method.class_weights)):
        expected = ldam.ldam_loss(u, batch.label, method.margins, 30.0, weight)
        torch.testing.assert_close(method.loss(batch, run), expected)


def test_official_schedule_in_training(train: Callable[..., Any]) -> None:
    folder, _ = train("ldam_drw", epochs=10, lr_schedule="official")
    rates = [record["lr"]["main"] for record in folder.epochs()]
    assert rates == pytest.approx([2e-3] * 8 + [2e-5, 2e-7])


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    task = Task(num_classes=C, num_samples=B, class_counts=RAF, epochs=4, batch_size=B)
    method = ldam.LdamDrw(ldam.LdamDrw.Config(), task)
    net = torch.nn.Module()
    net.get_classifier = lambda: torch.nn.Identity()
    with pytest.raises(ValueError, match=r"one nn\.Linear, not Identity"):
        method.build(lambda role: net)


@pytest.mark.parametrize(("name", "value"), [("max_m", -0.1), ("s", 0.0), ("beta", 1.0), ("start", 1.5)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        ldam.LdamDrw.Config(**{name: value})
