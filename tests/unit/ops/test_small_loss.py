"""Small-loss selection."""

from __future__ import annotations

import pytest
import torch

from fer_bench import ops
from tests.helpers.tiny import (
    C,
    logits,
)


def test_forget_rate_ramps() -> None:
    official = [ops.forget_rate_at(e, 0.3, 10, schedule="official") for e in range(30)]
    paper = [ops.forget_rate_at(e, 0.3, 10) for e in range(30)]
    for ramp in (official, paper):
        assert ramp[0] == 0 and ramp == sorted(ramp) and ramp[-1] == pytest.approx(0.3)
    assert official[9] == pytest.approx(0.3) and paper[9] == pytest.approx(0.27) and paper[10] == pytest.approx(0.3)
    assert [ops.forget_rate_at(e, 0.3, 1, schedule="official") for e in range(3)] == [0.0, 0.3, 0.3]
    # the official exponent acts on the rate and overshoots
    assert ops.forget_rate_at(14, 0.45, 15, 0.5, "official") == pytest.approx(0.45**0.5)
    assert ops.forget_rate_at(14, 0.45, 15, 0.5, "paper") < 0.45
    assert [ops.default_num_gradual(e) for e in (200, 40, 39, 16, 4)] == [10, 10, 9, 4, 2]


def test_keep_count() -> None:
    assert ops.keep_count(10, 0.8, "official") == 1 and ops.keep_count(10, 0.8) == 2
    assert ops.keep_count(1, 0.9, "official") == 0 and ops.keep_count(1, 0.9) == 1
    assert ops.keep_count(8, 0.0) == 8


def test_small_loss_prefers_lower_positions_in_ties() -> None:
    assert ops.small_loss(torch.ones(6), 3).tolist() == [0, 1, 2]
    assert ops.small_loss(torch.tensor([3.0, 1.0, 2.0]), 2).tolist() == [1, 2]


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
