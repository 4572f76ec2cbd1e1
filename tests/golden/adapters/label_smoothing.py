"""Golden cases of generalised label smoothing, through fer_bench_methods.label_smoothing."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.label_smoothing as ls
import torch

from tests.golden.adapters._tools import expect, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    expect(case, num_classes=logits.shape[1])
    # The official loss adds cross-entropy, weighted by wa, to the smoothed loss, weighted by wb.
    plain, smoothed = (ls.smoothed_cross_entropy(logits, labels, rate) for rate in (0.0, params["smooth_rate"]))
    per_sample = params["wa"] * plain + params["wb"] * smoothed
    loss = per_sample.mean()
    (grad,) = torch.autograd.grad(loss, logits)
    return pick(case, {"loss": loss, "grad_logits": grad, "loss_per_sample": per_sample})
