"""Golden cases of MEK, through fer_bench_methods.mek and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.mek as mek
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import class_activation_maps, mirror
from tests.golden.adapters._tools import dtype_of, floats, integers, pick

RAFDB = (0.95124031, 4.36690391, 1.71143654, 0.25714585, 0.6191221, 1.74056738, 0.48617274)
"""The constants of the official code, for cases that name no weights."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs, family = case["inputs"], case["name"].split("/")[0]
    if family == "rsl":
        return pick(case, _smooth(case))
    if family == "total":
        weights = floats(case, "weights")
        rsl = mek.rebalanced_smooth_loss(
            floats(case, "logits"), mek.smooth_labels(integers(case, "labels"), weights, case["params"]["e"])
        )
        rac = _rac(floats(case, "map1"), floats(case, "map2"), weights)
        return pick(case, {"rsl": rsl, "rac": rac, "total": rsl + case["params"]["lam"] * rac})
    if family == "weights":
        ours = mek.class_weights(integers(case, "counts"))
        official = torch.tensor(RAFDB, dtype=torch.float64)
        found = {"official": RAFDB, "n_over_10n": ours, "max_abs_diff": (ours - official).abs().max()}
        return pick(case, {**found, "sum": official.sum()})
    if family == "cam":
        return pick(case, _maps(case))
    if "map1" in inputs:
        return pick(case, _consistency(case))
    if case["name"].startswith("rac/zero"):
        maps = torch.randn(6, 7, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        weights = torch.tensor(RAFDB, dtype=torch.float64)
        return pick(case, {"max_loss": mek.rebalanced_attention_consistency(maps, mirror(maps), weights)})
    raise NotImplementedError(case["name"])


def _smooth(case: dict[str, Any]) -> dict[str, Any]:
    labels, epsilon = integers(case, "labels"), case["params"]["e"]
    weights = torch.tensor(case["inputs"].get("weights", RAFDB), dtype=dtype_of(case))
    soft = mek.smooth_labels(labels, weights, epsilon, official=True)
    if epsilon < 1:
        torch.testing.assert_close(mek.smooth_labels(labels, weights, epsilon), soft)
    found: dict[str, Any] = {"soft_labels": soft, "row_sums": soft.sum(dim=1), "result": "ran"}
    if "logits" in case["inputs"]:
        logits = floats(case, "logits", grad=True)
        found["loss"] = mek.rebalanced_smooth_loss(logits, soft)
        (found["grad"],) = torch.autograd.grad(found["loss"], logits)
    return found


def _official_mirror(maps: Tensor) -> Tensor:
    """The maps as the official code mirrors them: sampled bilinearly on a grid of float32, off by its rounding."""
    height, width = maps.shape[-2:]
    x = (2 * torch.arange(width, dtype=torch.float32) / (width - 1) - 1).expand(height, -1)
    y = (2 * torch.arange(height, dtype=torch.float32) / (height - 1) - 1)[:, None].expand(-1, width)
    grid = torch.stack([-x, y], dim=-1).to(maps.dtype).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _rac(maps: Tensor, maps_mirror: Tensor, weights: Tensor) -> Tensor:
    """Our loss on the second maps with the rounding of the official mirror; on the maps themselves it is all but it."""
    rounded = mek.rebalanced_attention_consistency(maps, mirror(_official_mirror(maps_mirror)), weights)
    exact = mek.rebalanced_attention_consistency(maps, maps_mirror, weights)
    # the rounding grows with the square of the maps
    size = max(1.0, float(maps.abs().max()), float(maps_mirror.abs().max())) ** 2
    torch.testing.assert_close(exact, rounded, rtol=1e-5, atol=1e-5 * size)
    return rounded


def _consistency(case: dict[str, Any]) -> dict[str, Any]:
    maps, second = floats(case, "map1", grad=True), floats(case, "map2", grad=True)
    weights = floats(case, "weights")
    exact, rounded = mek.map_differences(maps, second), mek.map_differences(maps, mirror(_official_mirror(second)))
    per_sample, of_exact = ((differences * weights).sum(dim=1) for differences in (rounded, exact))
    loss = _rac(maps, second, weights)
    grad, grad_second = torch.autograd.grad(loss, (maps, second))
    torch.testing.assert_close(grad_second, -mirror(grad), rtol=0, atol=1e-6 * max(1.0, float(grad.abs().max())))
    return {
        "per_class_mse": rounded,
        "per_sample": per_sample,
        "loss": loss,
        "eac_unweighted_mean": exact.mean(),
        "flip_closed_form_max_diff": (per_sample - of_exact).abs().max(),
        "grad_map1_norm": grad.norm(),
        "grad_map2_norm": grad_second.norm(),
        # strict enough for the rounding of the official mirror to show where gradients are small
        "grad_map2_is_minus_flip": torch.allclose(grad_second, -mirror(grad), rtol=1e-5, atol=1e-10),
    }


def _maps(case: dict[str, Any]) -> dict[str, Any]:
    features, weight, bias = floats(case, "features"), floats(case, "weight", grad=True), floats(case, "bias")
    features.requires_grad_()
    maps = class_activation_maps(features, weight)
    (reaches,) = torch.autograd.grad(maps.sum(), weight, allow_unused=True, retain_graph=True)
    return {
        "logits": features.mean(dim=(2, 3)) @ weight.T + bias,
        "cam": maps,
        "spatial_mean_of_cam_plus_bias": maps.mean(dim=(2, 3)) + bias,
        "weight_gets_gradient_through_cam": reaches is not None,
    }
