"""Golden cases of RUL, through fer_bench_methods.rul."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.rul as rul
import torch
import torch.nn.functional as F

from tests.golden.adapters._tools import floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "seed")
    mu, log_var = floats(case, "mu", grad=True), floats(case, "log_var", grad=True)
    weight, bias = floats(case, "fc_weight", grad=True), floats(case, "fc_bias", grad=True)
    labels, partner = integers(case, "targets"), integers(case, "perm")
    log_u = rul.log_uncertainty(log_var)
    own, other = rul.shares(log_u, partner)
    mixed = rul.mix(mu, log_u, partner)
    logits = F.linear(mixed, weight, bias)
    loss = rul.add_up_loss(logits, labels, partner)
    found: dict[str, Any] = {
        "uncertainty": log_u.exp(),
        "att1": own,
        "att2": other,
        "mixed": mixed,
        "targets_a": labels,
        "targets_b": labels[partner],
        "logits": logits,
        "loss": loss,
    }
    leaves = {"grad_mu": mu, "grad_log_var": log_var, "grad_fc_weight": weight, "grad_fc_bias": bias}
    found |= zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)
    return pick(case, found)
