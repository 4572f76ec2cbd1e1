"""Heatmaps of landmarks and the adaptive wing loss."""

from __future__ import annotations

import torch

from fer_bench import ops


def test_adaptive_wing_joins_at_the_threshold() -> None:
    y = torch.tensor([0.0, 0.3, 0.9, 1.0])
    assert (ops.adaptive_wing(y, y) == 0).all()
    for step in (1e-6, 1e-4):
        below, above = ops.adaptive_wing(y + 0.5 - step, y), ops.adaptive_wing(y + 0.5 + step, y)
        assert (above - below).abs().max() < 100 * step + 1e-5
    x = torch.linspace(-1, 2, 50, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: ops.adaptive_wing(p, torch.full_like(p, 0.25)), x)


def test_heatmaps_peak_at_their_cells() -> None:
    cells = torch.tensor([[[7, 3], [0, 0], [2, 9], [11, 11]]])
    maps = ops.gaussian_heatmaps(cells, 12, 12)
    peaks = [divmod(int(m.argmax()), 12)[::-1] for m in maps[0]]
    assert peaks == [tuple(cell) for cell in cells[0].tolist()] and bool((maps.amax(dim=(2, 3)) == 1).all())
    official = ops.gaussian_heatmaps(cells, 12, 12, truncate=True)
    assert divmod(int(official[0, 1].argmax()), 12) == (1, 1) and torch.equal(official[0, 3], maps[0, 3])
    weights = ops.heatmap_weights(maps)
    assert set(weights.unique().tolist()) == {1.0, 10.0} and (weights[maps > 0.2] == 10).all()
    outside = ops.gaussian_heatmaps(torch.tensor([[[-40, 3], [60, 60]]]), 12, 12)
    assert not outside.any() and (ops.heatmap_weights(outside) == 1).all()
