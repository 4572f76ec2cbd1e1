"""Golden cases of Co-teaching+, through fer_bench_methods.coteaching_plus and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.coteaching_plus as plus
import torch
from torch import Tensor

from fer_bench.ops import (
    disagreement,
    keep_count,
    official_beta1,
    official_learning_rate,
    positions,
    small_loss_exchange,
)
from tests.golden.adapters._tools import dtype_of, floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "num_gradual" in case["params"]:
        return pick(case, _schedules(case["params"]))
    if "step" in case["params"]:
        return pick(case, _batch(case))
    if "logits_1" in case["inputs"]:
        return pick(case, _warm_up(case))
    raise NotImplementedError(case["name"])


def _schedules(params: dict[str, Any]) -> dict[str, Any]:
    epochs, tau, num_gradual = params["n_epoch"], params["noise_rate"], params["num_gradual"]
    lr, start = params.get("lr", 1e-3), params["epoch_decay_start"]
    return {
        "forget_rate_per_epoch_type_1": [plus.ramp(e, epochs, tau, num_gradual, "official") for e in range(epochs)],
        "type_2_commented_out_in_official": [
            plus.ramp(e, epochs, tau, num_gradual, "official_type_2") for e in range(epochs)
        ],
        "lr_per_epoch": [official_learning_rate(e, epochs, lr, start) for e in range(epochs)],
        "beta1_per_epoch": [official_beta1(e, start) for e in range(epochs)],
        "note": None,
    }


def _share(clean: Tensor, rows: Tensor) -> Tensor:
    return clean[rows].double().mean()


def _warm_up(case: dict[str, Any]) -> dict[str, Any]:
    labels, rate = integers(case, "labels"), case["params"]["forget_rate"]
    # Float32 unless the case says otherwise.
    dtype = dtype_of(case) if "dtype" in case["params"] else torch.float32
    logits = (torch.tensor(case["inputs"][key], dtype=dtype) for key in ("logits_1", "logits_2"))
    ce = [plus.cross_entropy(z, labels) for z in logits]
    case["inputs"].get("sample_index")  # looked up after the warm-up only
    everybody = torch.arange(len(labels))
    count = plus.count_kept(len(labels), rate, "official")
    official = small_loss_exchange(*ce, count, everybody, divide_twice=True)
    mean = small_loss_exchange(*ce, count, everybody)
    # These cases record the mean as the official loss times its count, in double precision.
    recorded = [official[k].item() * count for k in (0, 1)]
    torch.testing.assert_close(torch.tensor(recorded, dtype=dtype), torch.stack(mean[:2]).detach())
    clean = torch.tensor(case["inputs"].get("clean_flag", [True] * len(labels)))
    return {
        "official_loss_1": official[0],
        "official_loss_2": official[1],
        "loss_1_mean": recorded[0],
        "loss_2_mean": recorded[1],
        "official_pure_ratio_1": _share(clean, official[2]),
        "official_pure_ratio_2": _share(clean, official[3]),
        "note": None,
    }


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    z1, z2 = floats(case, "logits_1", grad=True), floats(case, "logits_2", grad=True)
    labels, rows = integers(case, "labels"), integers(case, "sample_index")
    clean, params = torch.tensor(case["inputs"]["clean_flag"]), case["params"]
    remarks(case, "step")  # counts where nothing disagrees
    members = positions(disagreement(z1, z2))
    found: dict[str, Any] = {
        "pred_1": z1.max(dim=1).indices,
        "pred_2": z2.max(dim=1).indices,
        "disagree_positions": members,
        "note": None,
    }
    found |= _losses(z1, z2, labels, members, params["forget_rate"])
    found |= _official(z1, z2, labels, members, rows, clean, params)
    return found


def _gradients(loss_1: Tensor, loss_2: Tensor, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    return torch.autograd.grad(loss_1, z1, retain_graph=True)[0], torch.autograd.grad(loss_2, z2, retain_graph=True)[0]


def _losses(z1: Tensor, z2: Tensor, labels: Tensor, members: Tensor, rate: float) -> dict[str, Any]:
    """Cross-entropy of logits, the mean over what is kept, and nothing to learn where the networks agree."""
    ce_1, ce_2 = plus.cross_entropy(z1, labels), plus.cross_entropy(z2, labels)
    if len(members) == 0:
        loss_1, loss_2, kept_1, kept_2 = ce_1[members].sum(), ce_2[members].sum(), members, members
    else:
        # The cases count by truncation, as the official code does, and keep one where that leaves none.
        count = max(1, keep_count(len(members), rate, "official"))
        loss_1, loss_2, kept_1, kept_2 = small_loss_exchange(ce_1, ce_2, count, members)
    grad_1, grad_2 = _gradients(loss_1, loss_2, z1, z2)
    return {
        "kept_by_net1_sorted": sorted(kept_1.tolist()),
        "kept_by_net2_sorted": sorted(kept_2.tolist()),
        "loss_1": loss_1,
        "loss_2": loss_2,
        "grad_logits_1": grad_1,
        "grad_logits_2": grad_2,
    }


def _official(
    z1: Tensor, z2: Tensor, labels: Tensor, members: Tensor, rows: Tensor, clean: Tensor, params: dict[str, Any]
) -> dict[str, Any]:
    """The plugin's official options, and the loss of a member beside row 0, which no option brings back."""
    ce_1, ce_2 = plus.cross_entropy(z1, labels, True), plus.cross_entropy(z2, labels, True)
    if len(members) == 0:
        train = float(params["step"] < plus.OFFICIAL_STEPS)
        loss_1, loss_2, ratio = ce_1.mean() * train, ce_2.mean() * train, [clean.double().mean()] * 2
    else:
        told = members[rows[members] != 0]
        members = members[: len(told)]
        count = plus.count_kept(len(members), params["forget_rate"], "official")
        loss_1, loss_2, kept_1, kept_2 = small_loss_exchange(ce_1, ce_2, count, members, divide_twice=True)
        # The purity is looked up by the row numbers that are left, whose places no longer match the members'.
        ratio = [_share(clean, told[torch.isin(members, kept)]) for kept in (kept_1, kept_2)]
    grad_1, grad_2 = _gradients(loss_1, loss_2, z1, z2)
    return {
        "official_loss_1": loss_1,
        "official_loss_2": loss_2,
        "official_pure_ratio_1": ratio[0],
        "official_pure_ratio_2": ratio[1],
        "grad_logits_1_official": grad_1,
        "grad_logits_2_official": grad_2,
    }
