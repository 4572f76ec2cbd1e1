"""Mixup of a batch, and sharpened distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fer_bench.ops import Mix, draw_mix, integer_seed, sharpen


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_mix_is_linear_and_leaves_its_input() -> None:
    rows = torch.randn(6, 3, 4, 4, generator=stream(0), dtype=torch.float64)
    before, partner = rows.clone(), torch.tensor([1, 0, 3, 4, 5, 2])
    mixed = Mix(0.3, partner)(rows)
    torch.testing.assert_close(mixed, 0.3 * rows + 0.7 * rows[partner])
    torch.testing.assert_close(mixed.mean(), rows.mean())
    assert torch.equal(rows, before)
    assert torch.equal(Mix(1.0, partner)(rows), rows) and torch.equal(Mix(0.0, partner)(rows), rows[partner])
    torch.testing.assert_close(Mix(0.37, torch.arange(6))(rows), rows)


@pytest.mark.parametrize("alpha", [1.0, 8.0])
def test_lambda_is_beta(alpha: float) -> None:
    shares = torch.tensor([draw_mix(1, alpha, stream(seed)).share for seed in range(10_000)], dtype=torch.float64)
    assert abs(float(shares.mean()) - 0.5) < 0.01
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    assert bool(((shares >= 0) & (shares <= 1)).all())


def test_a_stream_gives_one_mix() -> None:
    a, b = draw_mix(9, 1.0, stream(3)), draw_mix(9, 1.0, stream(3))
    assert a.share == b.share and torch.equal(a.partner, b.partner) and sorted(a.partner.tolist()) == list(range(9))
    assert draw_mix(9, 1.0, stream(4)).share != a.share
    for seed in range(50):
        share, folded = (draw_mix(9, 4.0, stream(seed), dominant).share for dominant in (False, True))
        assert folded == max(share, 1 - share)
    assert draw_mix(9, 0.0, stream(3)).share == 1.0


def test_a_seed_fits_into_32_bits() -> None:
    assert integer_seed(stream(2**63)) == 2**63 % 2**32 and integer_seed(stream(7)) == 7


def distributions() -> Tensor:
    return torch.softmax(3 * torch.randn(8, 7, generator=stream(1), dtype=torch.float64), dim=1)


def test_sharpening() -> None:
    p = distributions()
    torch.testing.assert_close(sharpen(p, 1.0), p)
    torch.testing.assert_close(sharpen(p, 0.5), p**2 / (p**2).sum(dim=1, keepdim=True))
    assert bool((sharpen(p, 0.5).amax(dim=1) >= p.amax(dim=1)).all())
    one_hot = torch.eye(7, dtype=torch.float64)
    for temperature in (0.01, 0.5, 2.0):
        assert torch.equal(sharpen(one_hot, temperature), one_hot)
    assert bool(sharpen(p.float(), 1e-3).isfinite().all())
