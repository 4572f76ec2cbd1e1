"""Golden cases of EAC, through fer_bench_methods.eac and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.eac as eac
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import class_activation_maps, mirror
from tests.golden.adapters._tools import floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs = case["inputs"]
    if "feat" in inputs:
        return pick(case, _full(case))
    if "cam" in inputs:
        cam, cam_flip = floats(case, "cam", grad=True), floats(case, "cam_flip", grad=True)
        ac = eac.flip_consistency(cam, cam_flip)
        grad, grad_flip = torch.autograd.grad(ac, (cam, cam_flip))
        return pick(case, {"ac_loss": ac, "grad_cam": grad, "grad_cam_flip": grad_flip})
    if "w" in inputs:
        return pick(case, {"grid": _mirror_grid(inputs["w"], inputs["h"])})
    raise NotImplementedError(case["name"])


def _full(case: dict[str, Any]) -> dict[str, Any]:
    features, features_flip = floats(case, "feat", grad=True), floats(case, "feat_flip", grad=True)
    weight, bias = floats(case, "fc_weight", grad=True), floats(case, "fc_bias", grad=True)
    logits, logits_flip = (f.mean(dim=(2, 3)) @ weight.T + bias for f in (features, features_flip))
    ce = F.cross_entropy(logits, integers(case, "targets"))
    ac = eac.attention_consistency(features, features_flip, weight)
    loss = ce + eac.Eac.Config(lam=case["params"]["lam"]).lam * ac
    grads = torch.autograd.grad(loss, (features, features_flip, weight, bias))
    names = ("grad_feat", "grad_feat_flip", "grad_fc_weight", "grad_fc_bias")
    return {
        "logits": logits,
        "logits_flip": logits_flip,
        "cam": class_activation_maps(features, weight),
        "cam_flip": class_activation_maps(features_flip, weight),
        "ce": ce,
        "ac_loss": ac,
        "loss": loss,
        **dict(zip(names, grads, strict=True)),
    }


def _mirror_grid(width: int, height: int) -> Tensor:
    """The sampling grid [1, 2, h, w] by which the official code mirrors a map; our exact mirror is what it does."""
    x = (2 * torch.arange(width, dtype=torch.float32) / (width - 1) - 1).expand(height, -1)
    y = (2 * torch.arange(height, dtype=torch.float32) / (height - 1) - 1)[:, None].expand(-1, width)
    grid = torch.stack([-x, y])[None]
    maps = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    sampled = F.grid_sample(maps, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=True)
    torch.testing.assert_close(sampled, mirror(maps), rtol=1e-5, atol=1e-5)
    return grid
