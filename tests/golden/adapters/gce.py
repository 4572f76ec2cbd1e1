"""Golden cases of generalised cross-entropy, through fer_bench_methods.gce."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.gce as gce
import torch
from torch import Tensor

from fer_bench.method import Task
from fer_bench.ops import label_log_probability
from tests.golden.adapters._tools import dtype_of, expect, floats, integers, numbers, pick

CLAMP = 1e-7
"""Of the code that the outputs without "unclamped" or "threshold" come from."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, params = case["name"].split("/")[0], case["params"]
    if family in ("lq", "lq_extreme"):
        return pick(case, _losses(case, params["q"], params["k"]))
    if family == "weighted":
        kept = floats(case, "weight").bool()[integers(case, "index")]
        loss, grad = _step(floats(case, "logits", grad=True), integers(case, "labels"), kept, params["q"], params["k"])
        return pick(case, {"loss": loss, "grad_logits": grad})
    if family == "prune":
        method = _method(params, len(case["inputs"]["weight_before"]))
        method.probability = floats(case, "weight_before")
        _look(method, floats(case, "logits"), integers(case, "labels"), integers(case, "index"))
        kept = method.kept(torch.arange(len(method.probability)))
        return pick(case, {"weight": kept.to(dtype_of(case)), "num_kept": int(kept.sum())})
    if family == "run":
        return pick(case, _run(case, params))
    if family == "schedule":
        start, every, epochs = params["start_prune"], params["every"], params["epochs"]
        return {"prune_before_epochs": [e for e in range(epochs) if gce.prunes_before(e, start, every)]}
    raise NotImplementedError(case["name"])


def _losses(case: dict[str, Any], q: float, k: float) -> dict[str, Any]:
    logits, labels = floats(case, "logits", grad=True), integers(case, "labels")
    expect(case, num_classes=logits.shape[1])
    per_sample = gce.lq_loss(logits, labels, q, case["params"].get("clamp", CLAMP))
    lq = per_sample.mean()
    (grad,) = torch.autograd.grad(lq, logits)
    truncated, grad_truncated = _step(logits, labels, torch.ones(len(labels), dtype=torch.bool), q, k)
    return {
        "loss_lq": lq,
        "loss_lq_clamped": lq,
        "grad_logits": grad,
        "grad_logits_clamped": grad,
        "lq_per_sample": per_sample,
        "lq_per_sample_clamped": per_sample,
        "loss_minus_threshold": truncated,
        "loss_minus_threshold_unclamped": truncated,
        "grad_logits_minus_threshold": grad_truncated,
        "grad_logits_unclamped": grad_truncated,
    }


def _step(logits: Tensor, labels: Tensor, kept: Tensor, q: float, k: float) -> tuple[Tensor, Tensor]:
    """Loss and gradient of a batch in the truncated form."""
    loss = gce.truncated_loss(gce.lq_loss(logits, labels, q), kept, q, k)
    return loss, torch.autograd.grad(loss, logits)[0]


def _method(params: dict[str, Any], samples: int) -> gce.Gce:
    config = gce.Gce.Config(variant="truncated", q=params["q"], k=params["k"])
    task = Task(num_classes=7, num_samples=samples, class_counts=torch.ones(7), epochs=1, batch_size=1)
    return gce.Gce(config, task)


def _look(method: gce.Gce, logits: Tensor, labels: Tensor, index: Tensor) -> None:
    """What a pass does with a part of the training set."""
    method.probability = method.probability.to(logits)
    method.probability[index] = label_log_probability(logits, labels).exp()


def _run(case: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    labels = integers(case, "labels")
    passes = torch.tensor(numbers(case["inputs"]["pass_logits"]), dtype=dtype_of(case))
    steps = torch.tensor(numbers(case["inputs"]["step_logits"]), dtype=dtype_of(case))
    everything = torch.arange(len(labels))
    method = _method(params, len(labels))
    first, between = params["steps_before_first_pass"], params["steps_after_each_pass"]
    found: dict[str, Any] = {"weight_after_each_pass": [], "step_loss": [], "step_grad_logits": []}
    for number, (index, logits) in enumerate(zip(integers(case, "step_index"), steps, strict=True)):
        turn = number - first
        if turn >= 0 and turn % between == 0:
            _look(method, passes[turn // between], labels, everything)
            found["weight_after_each_pass"].append(method.kept(everything).to(dtype_of(case)))
        loss, grad = _step(logits.requires_grad_(), labels[index], method.kept(index), params["q"], params["k"])
        found["step_loss"].append(loss)
        found["step_grad_logits"].append(grad)
    return found
