"""Golden cases of Balanced Softmax, through fer_bench_methods.balanced_softmax."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.balanced_softmax as bs
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden.adapters._tools import floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    tau = case["params"].get("tau", 1.0)
    prior = bs.log_prior(integers(case, "counts"), tau)
    losses: dict[str, Tensor] = {
        f"loss_{kind}": bs.balanced_softmax_loss(logits, labels, prior, kind) for kind in ("mean", "sum", "none")
    }
    found: dict[str, Any] = dict(losses)
    (found["grad_mean"],) = torch.autograd.grad(losses["loss_mean"], logits)
    expected = F.softmax(logits + prior.to(logits), dim=1) - F.one_hot(labels, logits.shape[1])
    found["grad_closed_form"] = expected / len(labels)
    found["plain_ce"] = bs.balanced_softmax_loss(logits, labels, bs.log_prior(integers(case, "counts"), 0.0))
    if "counts_scaled" in case["inputs"]:
        scaled = bs.log_prior(integers(case, "counts_scaled"), tau)
        found["loss_mean_scaled"] = bs.balanced_softmax_loss(logits, labels, scaled)
    return pick(case, found)
