"""Golden cases of Decoupling, through fer_bench_methods.decoupling."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.decoupling as decoupling
import numpy as np
import torch
import torch.nn.functional as F

from tests.golden.adapters._tools import expect, floats, integers, pick

# The queue case records who disagreed among its outputs only: these are the numbers that decided it.
QUEUE_STEPS, QUEUE_SEED, QUEUE_DISAGREEMENT = 12, 0, 0.45
STAIRCASE_STEPS = (0, 4999, 5000, 9999, 10000, 14999, 29999)


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "logits_1" in case["inputs"]:
        return pick(case, _batch(case))
    if "batch_size" in case["inputs"]:
        expect(case, init_iter=0)
        return pick(case, {"log": _queue(case["inputs"]["batch_size"])})
    if "decay_every_steps" in case["params"]:
        p = case["params"]
        rates = [[s, decoupling.staircase(s, p["eta"], p["decay_every_steps"], p["factor"])] for s in STAIRCASE_STEPS]
        return pick(case, {"lr_at_step": rates})
    raise NotImplementedError(case["name"])


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    z1, z2 = floats(case, "logits_1", grad=True), floats(case, "logits_2", grad=True)
    labels, params = integers(case, "labels"), case["params"]
    mask = decoupling.update_mask(z1, z2, warm_up=params["step"] < params["init_iter"])
    weight = decoupling.class_balance_weights(labels, z1.shape[1]).to(z1.dtype)
    if not params["class_balance"]:
        weight = torch.ones_like(weight)
    found: dict[str, Any] = {
        "update_mask": mask,
        "disagree_rate": decoupling.update_mask(z1, z2).to(z1.dtype).mean(),
        "class_weight": weight,
        "denominator": decoupling.denominator(mask, params["min_batch_ratio"]),
    }
    for number, z in ((1, z1), (2, z2)):
        ce = F.cross_entropy(z, labels, reduction="none")
        loss = decoupling.update_loss(ce, mask, params["min_batch_ratio"], weight)
        found[f"loss_{number}_official_form"] = loss
        found[f"loss_{number}_plain_mean"] = decoupling.update_loss(ce, mask)
        (found[f"grad_logits_{number}_official_form"],) = torch.autograd.grad(loss, z)
    return found


def _queue(size: int) -> list[dict[str, Any]]:
    rng, waiting, log = np.random.default_rng(QUEUE_SEED), torch.empty(0, dtype=torch.int64), []
    for step in range(QUEUE_STEPS):
        rows = torch.arange(step * size, (step + 1) * size)
        differ = torch.from_numpy(rng.random(size) < QUEUE_DISAGREEMENT)
        taken, waiting = decoupling.first_in_first_out(waiting, rows[differ], size)
        log.append(
            {
                "step": step,
                "sample_ids": rows.tolist(),
                "disagree_mask": differ.tolist(),
                "update_on": taken.tolist() or None,
                "queue_after": waiting.tolist(),
            }
        )
    return log
