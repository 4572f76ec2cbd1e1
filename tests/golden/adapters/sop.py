"""Golden cases of SOP and SOP+, through fer_bench_methods.sop."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.sop as sop
import torch
from torch import Tensor, nn

from fer_bench.method import Task
from tests.golden.adapters._tools import dtype_of, floats, integers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "batches" in case["inputs"]:
        return pick(case, _fixed_logits(case))
    if "x" in case["inputs"]:
        return pick(case, _train(case))
    return pick(case, _loss(case))


def _method(case: dict[str, Any]) -> sop.Sop:
    """With ratios of 0, SOP+ is SOP."""
    params = case["params"]
    config = sop.Sop.Config(
        variant="sop_plus", lam_c=float(params["ratio_consistency"]), lam_b=float(params["ratio_balance"]),
        lr_u=params.get("lr_u", 1.0), lr_v=params.get("lr_v", 1.0), step_size="official",
    )  # fmt: skip
    size, classes = params["N"], params["C"]
    method = sop.Sop(config, Task(classes, size, torch.ones(classes, dtype=torch.int64), 300, size))
    method.build(lambda role: nn.Identity())
    method.u, method.v = (nn.Parameter(floats(case, name)) for name in "uv")
    method.prior = torch.full((classes,), 1 / classes, dtype=dtype_of(case))
    return method


def _loss(case: dict[str, Any]) -> dict[str, Any]:
    method, labels, index = _method(case), integers(case, "labels"), integers(case, "index")
    logits = floats(case, "logits", grad=True)
    second = floats(case, "logits_second", grad=True) if "logits_second" in case["inputs"] else None
    loss = method.objective(logits, labels, index, second)["loss"]
    loss.backward()
    u_part, v_part = sop.label_noise(method.u[index], method.v[index], labels)
    return {
        "loss": loss.detach(),
        "grad_logits": logits.grad,
        "grad_logits_second": None if second is None else second.grad,
        "grad_u": method.u.grad,
        "grad_v": method.v.grad,
        "E": (u_part - v_part).detach(),
    }


def _noise_optimizer(method: sop.Sop) -> torch.optim.Optimizer:
    return method.optimizers("train", lambda parameters: None)["noise"]


def _fixed_logits(case: dict[str, Any]) -> dict[str, Any]:
    method, logits = _method(case), floats(case, "logits_of_all_rows")
    labels, optimizer = integers(case, "labels_of_all_rows"), _noise_optimizer(method)
    found: dict[str, list[Any]] = {"loss": [], "u_after": [], "v_after": []}
    for rows in map(torch.tensor, case["inputs"]["batches"]):
        loss = method.objective(logits[rows], labels[rows], rows)["loss"]
        _step(loss, optimizer)
        for name, value in (("loss", loss), ("u_after", method.u), ("v_after", method.v)):
            found[name].append(value.tolist())
    return found


def _step(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def _train(case: dict[str, Any]) -> dict[str, Any]:
    params, method = case["params"], _method(case)
    x, labels = floats(case, "x"), integers(case, "labels")
    second = floats(case, "x_second") if "x_second" in case["inputs"] else None
    weight, bias = floats(case, "weight", grad=True), floats(case, "bias", grad=True)
    main = torch.optim.SGD([weight, bias], params["lr"], params["momentum"], weight_decay=params["weight_decay"])
    noise, losses = _noise_optimizer(method), []
    for rows in (torch.tensor(batch) for epoch in case["inputs"]["batches_per_epoch"] for batch in epoch):
        other = None if second is None else second[rows] @ weight.T + bias
        loss = method.objective(x[rows] @ weight.T + bias, labels[rows], rows, other)["loss"]
        _step(loss, main, noise)
        losses.append(loss.item())
    return {
        "loss_per_step": losses, "u_after": method.u, "v_after": method.v, "weight_after": weight, "bias_after": bias,
    }  # fmt: skip
