"""Golden cases of symmetric cross-entropy, through fer_bench_methods.sce and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.sce as sce
import torch

from fer_bench.ops import reverse_cross_entropy
from tests.golden.adapters._tools import expect, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    alpha, beta = case["params"]["alpha"], case["params"]["beta"]
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    expect(case, num_classes=logits.shape[1], clamp_p=sce.SMALLEST)
    rce = reverse_cross_entropy(logits, labels, clamp=sce.SMALLEST)
    losses = {
        "loss": sce.symmetric_cross_entropy(logits, labels, alpha, beta, clamp="pytorch").mean(),
        "loss_tf": sce.symmetric_cross_entropy(logits, labels, alpha, beta, clamp="tensorflow").mean(),
        "ce": sce.symmetric_cross_entropy(logits, labels, 1.0, 0.0, clamp="pytorch").mean(),
        "rce": rce.mean(),
    }
    found: dict[str, Any] = {**losses, "rce_per_sample": rce}
    for name, suffix in (("loss", ""), ("loss_tf", "_tf"), ("rce", "_rce"), ("ce", "_ce")):
        (found[f"grad_logits{suffix}"],) = torch.autograd.grad(losses[name], logits, retain_graph=True)
    return pick(case, found)
