"""Golden cases of the class-balanced loss, through fer_bench_methods.cb and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.cb as cb
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import effective_number, effective_number_weights
from tests.golden.adapters._tools import dtype_of, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    counts, beta = integers(case, "counts"), case["params"]["beta"]
    if "logits" not in case["inputs"]:
        found = {
            "effective_num": effective_number(counts, beta),
            "weights": effective_number_weights(counts, beta),
            "weights_official": effective_number_weights(counts, beta, official=True),
            # What the weights tend to as beta -> 1.
            "inverse_freq": (1 / counts.double()) / (1 / counts.double()).sum() * len(counts),
        }
        return pick(case, found)
    return pick(case, _losses(case, counts, beta))


def _losses(case: dict[str, Any], counts: Tensor, beta: float) -> dict[str, Any]:
    labels, gamma, dtype = integers(case, "labels"), case["params"]["gamma"], dtype_of(case)
    weight = effective_number_weights(counts, beta).to(dtype)[labels]
    logits = floats(case, "logits", grad=True)
    ce = cb.softmax_loss(logits, labels)
    found: dict[str, Any] = {
        "per_sample_weight": weight,
        "per_sample_ce": ce,
        "cb_softmax": cb.weighted(ce, weight),
        "cb_softmax_weighted_mean": cb.weighted(ce, weight, "weighted_mean"),
        "cb_sigmoid": cb.weighted(cb.sigmoid_loss(logits, labels), weight),
        "cb_focal": cb.weighted(cb.focal_loss(logits, labels, gamma, "official"), weight),
        "cb_focal_exact_logsigmoid": cb.weighted(cb.focal_loss(logits, labels, gamma), weight),
        "cb_focal_official_float32": cb.weighted(
            cb.focal_loss(logits.detach().float(), labels, gamma, "official"), weight.float()
        ),
        "cb_softmax_official": cb.weighted(ce, weight),
        "port_softmax_vandit": _third_party_port(logits, labels, weight),
    }
    for name in ("softmax", "sigmoid", "focal"):
        (found[f"grad_cb_{name}"],) = torch.autograd.grad(found[f"cb_{name}"], logits, retain_graph=True)
    return found


def _third_party_port(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """What the "softmax" of a third-party port computes instead: binary cross-entropy on softmax probabilities.

    It averages over samples and classes. It is here, and in no method, because it is not the loss of the paper.
    """
    target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy(F.softmax(logits, dim=1), target, weight=weight[:, None].expand_as(target))
