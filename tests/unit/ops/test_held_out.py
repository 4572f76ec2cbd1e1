"""A part of the training set that a method does not train on."""

from __future__ import annotations

import pytest
import torch

from fer_bench.ops import held_out


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_held_out_part_has_its_share_of_every_class(share: float) -> None:
    labels = torch.tensor([0] * 100 + [1] * 20 + [2] * 2 + [3])
    mask = held_out(labels, share, torch.Generator().manual_seed(0))
    counts = [int(mask[labels == c].sum()) for c in range(4)]
    assert counts == [round(100 * share), round(20 * share), 1, 0]
    assert torch.equal(mask, held_out(labels, share, torch.Generator().manual_seed(0)))
    assert not torch.equal(mask, held_out(labels, share, torch.Generator().manual_seed(1)))
