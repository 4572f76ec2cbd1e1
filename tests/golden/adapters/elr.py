"""Golden cases of ELR, through fer_bench_methods.elr."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.elr as elr
import torch
from torch import Tensor

from fer_bench.method import Task
from tests.golden.adapters._tools import dtype_of, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    size, classes = params["N"], params["C"]
    config = elr.Elr.Config(lam=float(params["lambda"]), beta=params["beta"])
    method = elr.Elr(config, Task(classes, size, torch.ones(classes, dtype=torch.int64), 150, size))
    method.memory = method.memory.to(dtype_of(case))
    if "target_before" in case["inputs"]:
        method.memory = floats(case, "target_before")
    if "x" in case["inputs"]:
        return pick(case, _train(case, method))
    if "steps" not in case["inputs"]:
        return pick(case, _step(method, floats(case, "logits"), integers(case, "labels"), integers(case, "index")))
    found: dict[str, list[Any]] = {}
    for step in case["inputs"]["steps"]:
        part = {**case, "inputs": step}
        outputs = _step(method, floats(part, "logits"), integers(part, "labels"), integers(part, "index"))
        for name, value in outputs.items():
            found.setdefault(name, []).append(value.tolist())
    return pick(case, found)


def _step(method: elr.Elr, logits: Tensor, labels: Tensor, index: Tensor) -> dict[str, Tensor]:
    logits.requires_grad_()
    parts = method.objective(logits, labels, index)
    (gradient,) = torch.autograd.grad(parts["loss"], logits)
    return {**{k: v.detach() for k, v in parts.items()}, "grad_logits": gradient, "target_after": method.memory.clone()}


def _train(case: dict[str, Any], method: elr.Elr) -> dict[str, Any]:
    params, x, labels = case["params"], floats(case, "x"), integers(case, "labels")
    weight, bias = floats(case, "weight", grad=True), floats(case, "bias", grad=True)
    optimizer = torch.optim.SGD(
        [weight, bias], lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )
    losses = []
    for rows in (torch.tensor(batch) for epoch in case["inputs"]["batches_per_epoch"] for batch in epoch):
        loss = method.objective(x[rows] @ weight.T + bias, labels[rows], rows)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"loss_per_step": losses, "target_after": method.memory, "weight_after": weight, "bias_after": bias}
