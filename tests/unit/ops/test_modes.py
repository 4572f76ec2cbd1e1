"""Passes that do not train leave every part of a network in the mode that it was in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fer_bench.ops import evaluating


def test_evaluating_puts_every_part_back() -> None:
    net, other = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)), nn.Dropout(0.5)
    net[1].eval()
    with pytest.raises(RuntimeError, match="stop"), evaluating(net, other):
        assert not (net.training or net[0].training or other.training or torch.is_grad_enabled())
        raise RuntimeError("stop")
    assert net.training and net[0].training and other.training and not net[1].training and torch.is_grad_enabled()
