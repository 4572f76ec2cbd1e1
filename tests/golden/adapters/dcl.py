"""Golden cases of DCL, through fer_bench_methods.dcl."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.dcl as dcl
import torch
import torch.nn.functional as F

from tests.golden.adapters._tools import floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, params = case["name"].split("/")[0], case["params"]
    if family == "scheduler":
        kind, epochs = case["name"].split("/")[1], params["L"]
        curve = [dcl.curriculum(kind, e, epochs, params["lam"]) for e in case["inputs"]["epochs"]]
        return pick(case, {"g": curve, "g_at_L": dcl.curriculum(kind, epochs, epochs, params["lam"])})
    if family == "loss_scheduler":
        f = [dcl.triplet_factor(e, params["L"], params["p"], params["eps"]) for e in case["inputs"]["epochs"]]
        return pick(case, {"f": f})
    if family == "target":
        counts = integers(case, "counts")
        by_min, by_sum = (dcl.target_distribution(counts, params["g"], norm) for norm in ("min", "sum"))
        return pick(case, {"D_target_min_is_1": by_min, "D_target_sum_is_1": by_sum})
    if family == "dsl":
        return pick(case, _selective(case))
    if family == "tea":
        return pick(case, _triplets(case))
    raise NotImplementedError(case["name"])


def _selective(case: dict[str, Any]) -> dict[str, Any]:
    logits, labels, counts = floats(case, "logits"), integers(case, "labels"), integers(case, "counts")
    batch_counts = torch.bincount(labels, minlength=len(counts))
    ratios = dcl.class_ratios(batch_counts, counts, case["params"]["g"], case["params"]["dist_norm"])
    kept = dcl.kept_counts(ratios, batch_counts)
    if "keep_mask" in case["inputs"]:
        keep = torch.tensor(case["inputs"]["keep_mask"])
    else:
        keep = dcl.draw_kept(labels, kept, torch.Generator().manual_seed(0))
    weights = dcl.sample_weights(labels, ratios, keep)
    return {
        "batch_counts": batch_counts,
        "ratio": ratios,
        "kept_count_round_half_up": kept,
        "kept_count_floor": dcl.kept_counts(ratios, batch_counts, "floor"),
        "expected_weight_sum": (ratios * batch_counts).sum(),
        "weights": weights,
        "loss": dcl.selective_loss(logits, labels, weights),
    }


def _triplets(case: dict[str, Any]) -> dict[str, Any]:
    features, logits, labels = floats(case, "features"), floats(case, "logits"), integers(case, "labels")
    p = case["params"]
    triplets, classes = dcl.mine_triplets(F.softmax(logits, dim=1), labels, p["k"], p["easy_threshold"], p["rho"])
    return {
        "minority": dcl.minority_classes(labels, p["rho"]),
        "n_triplets": len(triplets),
        "triplets": torch.cat([triplets, classes[:, None]], dim=1),
        "hinge": dcl.triplet_hinges(features, triplets, p["margin"]),
        "loss": dcl.triplet_loss(features, triplets, p["margin"]),
    }
