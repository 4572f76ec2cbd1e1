"""Golden cases of self-adaptive training, through fer_bench_methods.self_adaptive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fer_bench_methods.self_adaptive as sat
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from tests.golden.adapters._tools import dtype_of, floats, integers, pick

EPOCHS = 2**20


def compute(case: dict[str, Any]) -> dict[str, Any]:
    method = _method(case)
    if "x" in case["inputs"]:
        return pick(case, _train(case, method))
    if "steps" not in case["inputs"]:
        return pick(case, _step(case, method, case))
    found: dict[str, list[Any]] = {}
    for step in case["inputs"]["steps"]:
        outputs = _step(case, method, {**case, "inputs": step})
        for name, value in outputs.items():
            found.setdefault(name, []).append(value.tolist() if isinstance(value, Tensor) else value)
    return pick(case, found)


def _method(case: dict[str, Any]) -> sat.SelfAdaptive:
    params, labels = case["params"], integers(case, "labels_of_all_rows")
    config = sat.SelfAdaptive.Config(
        start=params["es"] / EPOCHS, momentum=params["momentum"], loss=params["loss"],
        forward=float(params.get("alpha", 1)), backward=float(params.get("beta", 0.3)),
    )  # fmt: skip
    counts = torch.bincount(labels, minlength=params["C"])
    method = sat.SelfAdaptive(config, Task(params["C"], params["N"], counts, EPOCHS, len(labels), labels=labels))
    method.target = method.target.to(dtype_of(case))
    if "soft_labels_before" in case["inputs"]:
        method.target = floats(case, "soft_labels_before")
    return method


def _loss(method: sat.SelfAdaptive, logits: Tensor, index: Tensor, epoch: int) -> tuple[Tensor, Tensor | None]:
    if not method.adapting(SimpleNamespace(epoch=epoch, epochs=EPOCHS)):
        return F.cross_entropy(logits, method.task.labels[index]), None
    parts = method.objective(logits, index)
    return parts["loss"], parts["weight"]


def _step(case: dict[str, Any], method: sat.SelfAdaptive, step: dict[str, Any]) -> dict[str, Any]:
    logits = floats({**case, "inputs": step["inputs"]}, "logits", grad=True)
    loss, weights = _loss(method, logits, integers(step, "index"), step["inputs"]["epoch"])
    (gradient,) = torch.autograd.grad(loss, logits)
    return {
        "loss": loss.detach(), "grad_logits": gradient, "soft_labels_after": method.target.clone(), "weights": weights,
    }  # fmt: skip


def _train(case: dict[str, Any], method: sat.SelfAdaptive) -> dict[str, Any]:
    params, x = case["params"], floats(case, "x")
    weight, bias = floats(case, "weight", grad=True), floats(case, "bias", grad=True)
    optimizer = torch.optim.SGD(
        [weight, bias], lr=params["lr"], momentum=params["sgd_momentum"], weight_decay=params["weight_decay"]
    )
    losses = []
    for epoch, batches in enumerate(case["inputs"]["batches_per_epoch"]):
        for rows in map(torch.tensor, batches):
            loss, _ = _loss(method, x[rows] @ weight.T + bias, rows, epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return {"loss_per_step": losses, "soft_labels_after": method.target, "weight_after": weight, "bias_after": bias}
