"""Golden cases of the focal loss, through fer_bench_methods.focal."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.focal as focal
import torch

from tests.golden.adapters._tools import floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    gamma = case["params"]["gamma"]
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    weight = floats(case, "weight") if "weight" in case["inputs"] else None
    per_sample = focal.focal_loss(logits, labels, gamma, weight, at_certainty="official")
    detached = focal.focal_loss(logits, labels, gamma, detach=True, at_certainty="official").mean()
    found: dict[str, Any] = {"loss": per_sample.mean(), "per_sample": per_sample, "loss_detached": detached}
    (found["grad_logits"],) = torch.autograd.grad(per_sample.mean(), logits, retain_graph=True)
    (found["grad_logits_detached"],) = torch.autograd.grad(detached, logits)
    return pick(case, found)
