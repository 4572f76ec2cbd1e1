"""EAC: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.eac as eac
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    B,
    C,
    TinyNet,
    TinyRun,
    batch_for,
    build,
    number,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"shared_erasing": True},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(eac.Eac, options, epoch, size)


@pytest.mark.parametrize(("name", "value"), [("lam", -1.0)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(eac.Eac, name, value)


def test_consistency() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, C, 4, 6, generator=g, dtype=torch.float64)
    assert number(eac.flip_consistency(a, ops.mirror(a))) == 0 and number(eac.flip_consistency(a, a)) > 0
    assert torch.equal(ops.mirror(a)[..., 0], a[..., -1])
    torch.testing.assert_close(eac.flip_consistency(a, b), eac.flip_consistency(ops.mirror(b), ops.mirror(a)))
    constant = torch.ones(1, C, 7, 7)
    assert number(eac.flip_consistency(2 * constant, -1 * constant)) == 9


def test_gradient_reaches_both_features_and_not_the_classifier() -> None:
    g = torch.Generator().manual_seed(0)
    f1, f2 = (torch.randn(2, 5, 4, 6, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    w = torch.randn(C, 5, generator=g, dtype=torch.float64).requires_grad_()
    ac = eac.attention_consistency(f1, f2, w)
    g1, g2, gw = torch.autograd.grad(ac, (f1, f2, w), allow_unused=True)
    assert gw is None and bool((g1 != 0).any()) and bool((g2 != 0).any())
    torch.testing.assert_close(eac.attention_consistency(f1, f2, 3 * w), 9 * ac)


def test_step() -> None:
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


def test_refuses_networks_without_class_activation_maps() -> None:
    class MaxPooled(TinyNet):
        def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
            pooled = x.amax(dim=(2, 3))
            return pooled if pre_logits else self.fc(pooled)

    with pytest.raises(ValueError, match="global average pooling"):
        build(eac.Eac, make_net=MaxPooled)
    with pytest.raises(ValueError, match="classifier of TinyNet is Sequential"):
        build(eac.Eac, make_net=lambda role: TinyNet(role, nn.Sequential(nn.Linear(5, C))))
