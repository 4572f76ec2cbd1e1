"""The margin between the high and the low values of a batch."""

from __future__ import annotations

import pytest
import torch

from fer_bench.ops.ranking import high_count, rank_groups, rank_loss


def test_the_loss_depends_on_the_group_means_alone() -> None:
    values = torch.rand(10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = rank_loss(values, 0.7, 0.9)
    assert 0 <= loss.item() <= 0.9
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rank_loss(values[order], 0.7, 0.9), loss)
    (grad,) = torch.autograd.grad(loss, values)
    high, low = rank_groups(values, 0.7)
    torch.testing.assert_close(grad[high], torch.full((7,), -1 / 7))
    torch.testing.assert_close(grad[low], torch.full((3,), 1 / 3))


def test_equal_values_give_the_margin_and_separated_ones_nothing() -> None:
    assert float(rank_loss(torch.full((10,), 0.4), 0.7, 0.15)) == pytest.approx(0.15)
    apart = torch.tensor([0.9] * 7 + [0.1] * 3, requires_grad=True)
    closed = rank_loss(apart, 0.7, 0.15)
    assert closed.item() == 0 and bool((torch.autograd.grad(closed, apart)[0] == 0).all())


def test_sizes_of_the_groups_and_batches_that_are_too_small() -> None:
    assert [high_count(n, 0.7) for n in (64, 47, 90, 1)] == [44, 32, 62, 0]
    one = torch.tensor([0.3], requires_grad=True)
    assert rank_loss(one, 0.7, 0.15).item() == 0
    official = rank_loss(one, 0.7, 0.15, official=True)
    assert official.item() == pytest.approx(0.15)
    assert float(torch.autograd.grad(official, one)[0]) == 0
