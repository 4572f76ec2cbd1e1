"""Golden cases of mixup, through fer_bench_methods.mixup."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.mixup as mixup
import torch

from fer_bench.ops import Mix, draw_mix
from tests.golden.adapters._tools import dtype_of, floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "alpha", "num_classes")  # of the draw, which is given
    if isinstance(case["inputs"].get("lam"), list):
        return pick(case, _epoch(case))
    images, labels = floats(case, "images"), integers(case, "labels")
    weight, bias = floats(case, "weight", grad=True), floats(case, "bias", grad=True)
    mix = _mix(case)
    mixed = mix(images)
    logits = mixed.flatten(1) @ weight.T + bias
    loss = mixup.mixed_cross_entropy(logits, labels, mix)
    grad_logits, grad_weight, grad_bias = torch.autograd.grad(loss, (logits, weight, bias))
    found = {
        "lam_used": mix.share,
        "mixed": mixed,
        "labels_a": labels,
        "labels_b": labels[mix.partner],
        "logits": logits,
        "loss": loss,
        "grad_logits": grad_logits,
        "grad_weight": grad_weight,
        "grad_bias": grad_bias,
    }
    return pick(case, found)


def _mix(case: dict[str, Any]) -> Mix:
    """The given lambda and permutation; without a lambda, what alpha = 0 draws."""
    partner = integers(case, "permutation")
    if "lam" in case["inputs"]:
        return Mix(case["inputs"]["lam"], partner)
    if case["params"]["alpha"] > 0:
        raise NotImplementedError(f"{case['name']}: lambda is drawn, and the case does not give it")
    return Mix(draw_mix(len(partner), case["params"]["alpha"], torch.Generator()).share, partner)


def _epoch(case: dict[str, Any]) -> dict[str, Any]:
    """A sequence of batches through one linear network without a bias that is not trained."""
    inputs, weight = case["inputs"], floats(case, "weight")
    mixed, loss = [], []
    for images, labels, permutation, lam in zip(
        inputs["images"], inputs["labels"], inputs["permutation"], inputs["lam"], strict=True
    ):
        mix = Mix(lam, torch.tensor(permutation))
        mixed.append(mix(torch.tensor(images, dtype=dtype_of(case))))
        loss.append(mixup.mixed_cross_entropy(mixed[-1] @ weight.T, torch.tensor(labels), mix))
    return {"mixed": mixed, "loss": loss}
