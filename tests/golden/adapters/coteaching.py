"""Golden cases of Co-teaching, through fer_bench_methods.coteaching and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from fer_bench.ops import (
    forget_rate_at,
    keep_count,
    official_beta1,
    official_learning_rate,
    small_loss,
    small_loss_exchange,
)
from tests.golden.adapters._tools import floats, integers, pick, remarks

TABLE_SIZES = (1, 2, 5, 7, 16, 32, 48, 64, 100, 128, 256)
TABLE_RATES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.5, 0.8, 0.9)


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "logits_1" in case["inputs"]:
        return pick(case, _batch(case))
    if "num_gradual" in case["params"]:
        return pick(case, schedules(case["params"], case["params"]["noise_rate"]))
    if case["name"].startswith("keep_count_table"):
        return pick(case, _table())
    raise NotImplementedError(case["name"])


def schedules(params: dict[str, Any], tau: float) -> dict[str, Any]:
    """The official schedules of an epoch each, as Co-teaching and JoCoR share them."""
    epochs, start = range(params["n_epoch"]), params["epoch_decay_start"]
    return {
        "forget_rate_per_epoch": [
            forget_rate_at(e, tau, params["num_gradual"], params["exponent"], "official") for e in epochs
        ],
        "lr_per_epoch": [official_learning_rate(e, len(epochs), params["lr"], start) for e in epochs],
        "beta1_per_epoch": [official_beta1(e, start) for e in epochs],
        "note": None,
    }


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "tie_case")
    z1, z2 = floats(case, "logits_1", grad=True), floats(case, "logits_2", grad=True)
    labels, clean = integers(case, "labels"), torch.tensor(case["inputs"]["clean_flag"])
    ce_1, ce_2 = (F.cross_entropy(z, labels, reduction="none") for z in (z1, z2))
    count = keep_count(len(labels), case["params"]["forget_rate"], "official")
    kept_1, kept_2 = small_loss(ce_1, count), small_loss(ce_2, count)
    found: dict[str, Any] = {
        "ce_1": ce_1,
        "ce_2": ce_2,
        "num_keep": count,
        "kept_by_net1_sorted": sorted(kept_1.tolist()),
        "kept_by_net2_sorted": sorted(kept_2.tolist()),
    }
    if count == 0:
        return found
    for name, twice in (("mean", False), ("official", True)):
        loss_1, loss_2, set_1, set_2 = small_loss_exchange(ce_1, ce_2, count, divide_twice=twice)
        assert torch.equal(set_1, kept_1) and torch.equal(set_2, kept_2)
        key = "loss_{}_mean" if name == "mean" else "official_loss_{}"
        found[key.format(1)], found[key.format(2)] = loss_1, loss_2
        (found[f"grad_logits_1_{name}"],) = torch.autograd.grad(loss_1, z1, retain_graph=True)
        (found[f"grad_logits_2_{name}"],) = torch.autograd.grad(loss_2, z2, retain_graph=True)
    found["official_over_mean"] = found["official_loss_1"] / found["loss_1_mean"]
    found["official_pure_ratio_1"] = clean[kept_1].double().mean()
    found["official_pure_ratio_2"] = clean[kept_2].double().mean()
    return found


def _table() -> dict[str, Any]:
    """The case names no sizes and rates: these are the ones of its two tables."""
    traps = []
    for n in range(1, 257):
        for rate in (i / 20 for i in range(20)):
            # The exact floor is taken in whole numbers: a rate on this grid is a whole number of twentieths.
            official, exact = keep_count(n, rate, "official"), (20 - round(20 * rate)) * n // 20
            assert keep_count(n, rate) == max(1, exact), (n, rate)
            if official != exact:
                traps.append({"n": n, "forget_rate": rate, "official": official, "exact_floor": exact})
    keep = [[n, rate, keep_count(n, rate, "official")] for n in TABLE_SIZES for rate in TABLE_RATES]
    return {"keep": keep, "float_truncation_traps_n_le_256": traps}
