"""Golden cases of Kang et al.'s samplers and classifiers, through fer_bench_methods.crt and fer_bench.ops."""

from __future__ import annotations

import random
from typing import Any

import fer_bench_methods.crt as crt
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench import metrics
from fer_bench.ops import class_probability
from tests.golden.adapters._tools import expect, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, params = case["name"].split("/")[0], case["params"]
    if family == "sampling":
        return pick(case, _sampling(case))
    if family == "schedule":
        rates = {
            name: [crt.cosine_rate(params["lr"], e, params["epochs"], official) for e in range(params["epochs"])]
            for name, official in (("official_lr_by_epoch", True), ("modern_lr_by_epoch", False))
        }
        return pick(case, rates)
    if family == "ncm":
        features, labels, query = (
            floats(case, "train_features"),
            integers(case, "train_labels"),
            floats(case, "query"),
        )
        kind, distance = params["feat_type"], params["dist_type"]
        mean, means = crt.class_means(features, labels, int(labels.max()) + 1, kind)
        logits = crt.nearest_mean_logits(query, mean, means, kind, distance)
        return pick(case, {"mean": mean, "centroids": means, "logits": logits, "pred": logits.argmax(dim=1)})
    if family == "tau_norm" and "weight" in case["inputs"]:
        weight = floats(case, "weight")
        case["inputs"].get("bias")  # dropped
        scaled = crt.tau_normalise(weight, params["tau"])
        found = {"weight_scaled": scaled, "row_norm": scaled.norm(dim=1)}
        found["weight_scaled_official"] = crt.tau_normalise(weight, params["tau"], official=True)
        if "features" in case["inputs"]:
            logits = F.linear(floats(case, "features"), scaled)
            found |= {"logits_official_no_bias": logits, "pred": logits.argmax(dim=1)}
        return pick(case, found)
    if family == "tau_norm":
        return pick(case, {"grid": crt.tau_grid()})
    if family == "lws":
        return pick(case, _scaling(case))
    if family == "metric":
        return pick(case, _shots(case))
    raise NotImplementedError(case["name"])


def _sampling(case: dict[str, Any]) -> dict[str, Any]:
    counts, params = integers(case, "counts"), case["params"]
    if "epochs" in params:
        epochs = params["epochs"]
        return {
            name: torch.stack([crt.progressive_probability(counts, e, epochs, formula) for e in range(epochs)])
            for name, formula in (
                ("official_class_probability_by_epoch", "official"),
                ("paper_formula_t_over_T_zero_based", "paper"),
            )
        }
    if "num_samples_cls" in params:
        return _class_aware(counts, params["num_samples_cls"], params["seed"])
    probability = class_probability(counts, 1 / params["nroot"] if "nroot" in params else params["q"])
    if "lam" in params:  # the share of the root; the rest is natural
        probability = params["lam"] * probability + (1 - params["lam"]) * class_probability(counts, 1.0)
    # the official sampler's weights are scaled to a mean of 1
    return {"class_probability": probability, "total": (probability * counts.sum()).sum()}


def _class_aware(counts: Tensor, per_class: int, seed: int) -> dict[str, Any]:
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    # the official object's length; the drawing goes on without end
    length = int(counts.max()) * len(counts)
    drawn = labels[crt.class_aware_rows(labels, length, per_class, random.Random(seed).shuffle)]
    blocks = drawn[: length // per_class * per_class].view(-1, per_class)
    return {
        "len": length,
        "class_histogram_first_280k": torch.bincount(drawn[: 280 * per_class], minlength=len(counts)),
        "first_28_labels": drawn[:28],
        "draws_are_blocks_of_k_same_class": bool((blocks == blocks[:, :1]).all()),
    }


def _scaling(case: dict[str, Any]) -> dict[str, Any]:
    weight, bias = floats(case, "weight"), floats(case, "bias")
    features, scales, labels = floats(case, "features"), floats(case, "scales", grad=True), integers(case, "labels")
    logits = crt.scaled_logits(features, weight, bias, scales)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return {
        "logits": logits,
        "loss": loss,
        "grad_scales": scales.grad,
        "fc_weight_has_grad": weight.grad is not None,
        "logits_without_scaling_bias": crt.scaled_logits(features, weight, bias, scales, scale_bias=False),
    }


def _shots(case: dict[str, Any]) -> dict[str, Any]:
    """Mean recall over the classes with many, a medium number of and few training images; 0 where there are none."""
    expect(case, many=">100", low="<20", median="20..100 inclusive")
    preds, labels, counts = (integers(case, key) for key in ("preds", "labels", "train_labels_counts"))
    recall = metrics.classification(F.one_hot(preds, len(counts)).double(), labels)["recall"]

    def mean(group: Tensor) -> float:
        chosen = [recall[c] for c in group.nonzero().squeeze(1).tolist() if recall[c] is not None]
        return sum(chosen) / len(chosen) if chosen else 0.0

    many, few = counts > 100, counts < 20
    tested = [each for each in recall if each is not None]
    return {"many": mean(many), "median": mean(~many & ~few), "low": mean(few), "per_class": tested}
