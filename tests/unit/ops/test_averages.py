"""Moving averages of networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fer_bench.ops import average_parameters, capped_momentum, copied, follow


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net(torch.randn(5, 3))
    return net


def test_averages_move_parameters_only() -> None:
    fast, slow = network(0), copied(network(1))
    assert not any(p.requires_grad for p in slow.parameters())
    wanted = [0.9 * a + 0.1 * b for a, b in zip(slow.parameters(), fast.parameters(), strict=True)]
    statistics = [b.clone() for b in slow.buffers()]
    average_parameters(slow, fast, 0.9)
    torch.testing.assert_close(list(slow.parameters()), wanted)
    assert all(torch.equal(a, b) for a, b in zip(slow.buffers(), statistics, strict=True))
    follow(slow, fast, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True))


def test_the_first_steps_are_a_plain_mean() -> None:
    values, mean = [3.0, 5.0, 10.0, 2.0], 0.0
    for step, value in enumerate(values):
        m = capped_momentum(step, 0.999)
        mean = m * mean + (1 - m) * value
    assert abs(mean - 5.0) < 1e-12
    assert capped_momentum(10_000, 0.99) == 0.99


def test_a_copy_follows_slowly_and_copies_buffers() -> None:
    torch.manual_seed(0)
    fast = nn.BatchNorm1d(3)
    slow = copied(fast)
    assert not any(p.requires_grad for p in slow.parameters())
    with torch.no_grad():
        fast.weight += 1
        fast.running_mean += 5
    follow(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight.data, torch.full((3,), 1.1))
    assert torch.equal(slow.running_mean, fast.running_mean)
    follow(slow, fast, 0.0)
    assert torch.equal(slow.weight, fast.weight)


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.Identity()], ids=["no buffers", "no parameters"])
def test_a_copy_may_lack_buffers_or_parameters(layer: nn.Module) -> None:
    slow = copied(layer)
    follow(slow, layer, 0.5)
    torch.testing.assert_close(slow.state_dict(), layer.state_dict())
