"""Golden cases of NCE+RCE, through fer_bench_methods.nce_rce and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.nce_rce as nce_rce
import torch

from fer_bench.ops import reverse_cross_entropy
from tests.golden.adapters._tools import expect, floats, integers, pick

CLAMP = 1e-7
"""Of the official code, in every case."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    alpha, beta = case["params"]["alpha"], case["params"]["beta"]
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    expect(case, num_classes=logits.shape[1])
    nce = nce_rce.normalised_cross_entropy(logits, labels)
    rce = reverse_cross_entropy(logits, labels, clamp=case["params"].get("clamp_p", CLAMP))
    loss = (alpha * nce + beta * rce).mean()
    found: dict[str, Any] = {"loss": loss, "nce": nce.mean(), "nce_per_sample": nce, "rce": rce.mean()}
    for name, value in (("grad_logits", loss), ("grad_logits_nce", nce.mean()), ("grad_logits_rce", rce.mean())):
        (found[name],) = torch.autograd.grad(value, logits, retain_graph=True)
    return pick(case, found)
