"""Golden cases of LDAM-DRW, through fer_bench_methods.ldam_drw and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.ldam_drw as ldam
import torch
from torch import Tensor

from fer_bench.ops import deferral_is_over, effective_number_weights
from tests.golden.adapters._tools import dtype_of, floats, integers, pick

EPOCHS, START, BETA = 200, 0.8, 0.9999
"""Of the official script."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, counts = case["name"].split("/")[0], integers(case, "counts")
    if family == "margins":
        return pick(case, {"margins": _margins(case, counts)})
    if family == "schedule":
        epochs, total = case["params"]["epochs"], case["params"]["total_epochs"]
        return pick(case, _schedule(counts, epochs, total, case["params"]["lr"], case["params"]["rule"]))
    if family == "train":
        return pick(case, _train(case, counts))
    labels, margins, s = integers(case, "labels"), _margins(case, counts), case["params"]["s"]
    if family == "loss":
        u = floats(case, "cosines", grad=True)
        weight = floats(case, "weight") if "weight" in case["inputs"] else None
        loss = ldam.ldam_loss(u, labels, margins, s, weight)
        rows = range(len(labels))
        found: dict[str, Any] = {
            "loss": loss,
            "loss_of_each_row_alone": [
                ldam.ldam_loss(u[i : i + 1], labels[i : i + 1], margins, s, weight) for i in rows
            ],
        }
        (found["grad_cosines"],) = torch.autograd.grad(loss, u)
        return pick(case, found)
    features, weight = floats(case, "features", grad=True), floats(case, "weight", grad=True)
    class_weight = floats(case, "class_weight") if "class_weight" in case["inputs"] else None
    u = ldam.cosines(features, weight.T)  # the official head holds its weight as [D, C]
    loss = ldam.ldam_loss(u, labels, margins, s, class_weight)
    found = {"cosines": u, "loss": loss}
    found["grad_features"], found["grad_weight"] = torch.autograd.grad(loss, (features, weight))
    return pick(case, found)


def _margins(case: dict[str, Any], counts: Tensor) -> Tensor:
    return ldam.class_margins(counts, case["params"]["max_m"], official=True)


def _schedule(counts: Tensor, epochs: list[int], total: int, lr: float, rule: str) -> dict[str, Any]:
    def beta(epoch: int) -> float:
        start = {"DRW": START, "Reweight": 0.0, "None": 1.0, "Resample": 1.0}[rule]
        return BETA if deferral_is_over(epoch, total, start) else 0.0

    return {
        "class_weights_by_epoch": [effective_number_weights(counts, beta(epoch), official=True) for epoch in epochs],
        "lr_by_epoch": [lr * ldam.official_rate(epoch, total) for epoch in epochs],
    }


def _train(case: dict[str, Any], counts: Tensor) -> dict[str, Any]:
    params, weight = case["params"], floats(case, "weight", grad=True)
    optimizer = torch.optim.SGD(
        [weight], lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )
    found = _schedule(counts, params["epochs"], EPOCHS, params["lr"], params["rule"])
    margins, losses, after = _margins(case, counts), [], []
    for lr, class_weight in zip(found["lr_by_epoch"], found["class_weights_by_epoch"], strict=True):
        optimizer.param_groups[0]["lr"] = lr
        total = count = 0
        for batch in case["inputs"]["batches"]:
            features, labels = torch.tensor(batch["features"], dtype=dtype_of(case)), torch.tensor(batch["labels"])
            loss = ldam.ldam_loss(ldam.cosines(features, weight.T), labels, margins, params["s"], class_weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(labels), count + len(labels)
        losses.append(total / count)
        after.append(weight.detach().clone())
    return {**found, "loss_by_epoch": losses, "weight_after_epoch": after}
