"""Golden cases of Balanced Softmax, through fer_bench_methods.balanced_softmax.

The Meta Sampler, which the method leaves out, has cases too. What they ask for is written out here: they pass without
saying anything about the method.
"""

from __future__ import annotations

from typing import Any

import fer_bench_methods.balanced_softmax as bs
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden.adapters._tools import dtype_of, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs = case["inputs"]
    if "logits" in inputs:
        return pick(case, _losses(case))
    if "per_sample_loss" in inputs:
        return pick(case, _straight_through(case))
    if "init_pow" in case["params"]:
        return pick(case, _first_rates(integers(case, "counts"), case["params"]["init_pow"], dtype_of(case)))
    raise NotImplementedError(case["name"])


def _losses(case: dict[str, Any]) -> dict[str, Any]:
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
    return found


def _first_rates(counts: Tensor, power: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """psi, the sigmoid of which is the first rate of a class, and the probability that a draw is of the class."""
    n = counts.to(dtype)
    q = (n / n.sum()) ** -power
    q = q / (q.min() + q.max())
    psi = q.log() - torch.log1p(-q)
    weight = n * psi.sigmoid()
    return {"fc_weight": psi, "sigmoid": psi.sigmoid(), "class_draw_probability": weight / weight.sum()}


def _straight_through(case: dict[str, Any]) -> dict[str, Tensor]:
    """The inner loss, a mean in value; its gradient reaches the entries of the one-hot rows that were drawn."""
    given = case["inputs"]["per_sample_loss"]
    per_sample = torch.tensor(given, dtype=dtype_of(case) if "dtype" in case["params"] else torch.float32)
    drawn = F.one_hot(integers(case, "chosen"), case["inputs"]["n_train"]).to(per_sample.dtype).requires_grad_()
    value = (per_sample * (drawn * drawn.detach()).sum(dim=1)).mean()
    (gradient,) = torch.autograd.grad(value, drawn)
    return {"value": value, "mean_loss": per_sample.mean(), "grad_wrt_sample": gradient}
