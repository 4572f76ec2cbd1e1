"""Golden cases of logit adjustment, through fer_bench_methods.logit_adjustment."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.logit_adjustment as la
import torch
import torch.nn.functional as F

from tests.golden.adapters._tools import floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, tau = case["name"].split("/")[0], case["params"]["tau"]
    logits, counts = floats(case, "logits", grad=True), integers(case, "counts")
    if "base_probs" in case["inputs"]:
        torch.testing.assert_close(floats(case, "base_probs"), (counts / counts.sum()).to(logits.dtype))
    # The port adds no epsilon.
    adjustment = la.log_prior(counts, tau, 0.0 if family.startswith("port") else la.EPSILON).to(logits.dtype)
    if family == "posthoc_official":
        adjusted = logits - adjustment
        found = {
            "adjusted_logits": adjusted,
            "prediction": adjusted.argmax(dim=1),
            "prediction_unadjusted": logits.argmax(dim=1),
        }
        return pick(case, found)
    labels = integers(case, "labels")
    weight = floats(case, "weight") if "weight" in case["inputs"] else None
    loss = F.cross_entropy(logits + adjustment, labels, weight=weight)
    (grad,) = torch.autograd.grad(loss, logits)
    unadjusted = F.cross_entropy(logits, labels)
    return pick(
        case, {"loss": loss, "grad_logits": grad, "loss_without_adjustment": unadjusted, "adjustment": adjustment}
    )
