"""Golden cases of loss correction, through fer_bench_methods.forward_correction."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.forward_correction as fc
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden.adapters._tools import dtype_of, expect, floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family = case["name"].split("_")[0]
    expect(case, epsilon=1e-7, percentile=97)
    remarks(case, "optimizer")  # in words: SGD with the numbers of the case
    if family == "anchors":
        transition = fc.estimate_transition(floats(case, "probabilities"), case["params"]["filter_outlier"])
        return pick(case, {"transition": transition, "condition_number": torch.linalg.cond(transition)})
    if family == "stages":
        return pick(case, _stages(case))
    logits, kind = floats(case, "logits", grad=True), case["params"]["loss"]
    per_sample = _loss(logits, integers(case, "labels"), floats(case, "transition"), kind)
    (grad,) = torch.autograd.grad(per_sample.mean(), logits)
    return pick(case, {"per_sample": per_sample, "loss": per_sample.mean(), "grad_logits": grad})


def _loss(logits: Tensor, labels: Tensor, transition: Tensor, kind: str) -> Tensor:
    """The official loss of that name; its cross-entropy is the forward loss without noise."""
    if kind == "backward":
        return fc.corrected_loss(logits, labels, torch.linalg.inv(transition), "backward")
    return fc.corrected_loss(
        logits, labels, torch.eye(len(transition)).to(logits) if kind == "crossentropy" else transition
    )


def _stages(case: dict[str, Any]) -> dict[str, Any]:
    params, x = case["params"], floats(case, "x")
    first, first_losses = _trained(
        case, "first", torch.eye(len(case["inputs"]["first_weights"]["bias"])), "crossentropy"
    )
    with torch.no_grad():
        transition = fc.estimate_transition(F.softmax(F.linear(x, *first), dim=1), params["filter_outlier"])
    second, second_losses = _trained(case, "second", transition, params["loss"])
    return {
        "first_losses": first_losses,
        "first_after": dict(zip(("weight", "bias"), first, strict=True)),
        "transition": transition,
        "second_losses": second_losses,
        "second_after": dict(zip(("weight", "bias"), second, strict=True)),
    }


def _trained(case: dict[str, Any], stage: str, transition: Tensor, kind: str) -> tuple[list[Tensor], list[float]]:
    """Weight and bias of the linear model after a stage, and the loss of each of its batches."""
    params, start = case["params"], case["inputs"][f"{stage}_weights"]
    model = [torch.tensor(start[name], dtype=dtype_of(case)).requires_grad_() for name in ("weight", "bias")]
    optimizer = torch.optim.SGD(model, lr=params["lr"], momentum=params["momentum"])
    x, labels, losses = floats(case, "x"), integers(case, "labels"), []
    for order in case["inputs"][f"orders_{stage}"]:
        for rows in torch.tensor(order).split(params["batch_size"]):
            loss = _loss(F.linear(x[rows], *model), labels[rows], transition.to(x), kind).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return [value.detach() for value in model], losses
