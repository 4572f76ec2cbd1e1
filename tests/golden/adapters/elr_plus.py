"""Golden cases of ELR+, through fer_bench_methods.elr_plus."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.elr_plus as plus
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import Mix, average_parameters, clamped_softmax
from tests.golden.adapters._tools import dtype_of, expect, floats, integers, numbers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs = case["inputs"]
    if "current" in inputs:
        length = case["params"]["length"]
        return pick(case, {"sigmoid_rampup": [plus.sigmoid_ramp(value, length) for value in inputs["current"]]})
    if "average_before" in inputs:
        return pick(case, _average(case))
    if "beta_draw" in inputs:
        return pick(case, _mixup(case))
    if "net1_before" in inputs:
        return pick(case, _train(case))
    if "logits_1" in inputs:
        return pick(case, _answer(case))
    return pick(case, _loss(case))


def _method(case: dict[str, Any]) -> plus.ElrPlus:
    params = case["params"]
    branch = params.get("hundred_class_branch", False)
    config = plus.ElrPlus.Config(
        lam=float(params.get("lambda", 3)), beta=params.get("beta", 0.7),
        label_target="times-memory" if branch else "mixed",
    )  # fmt: skip
    size, classes = params.get("N", 1), params.get("C", 7)
    method = plus.ElrPlus(config, Task(classes, size, torch.ones(classes, dtype=torch.int64), 200, size))
    method.memory = method.memory.to(dtype_of(case))
    return method


def _mix(share: float, partner: list[int] | None, count: int) -> Mix:
    """No partner: mixup is off."""
    return Mix(share, torch.arange(count) if partner is None else torch.tensor(partner))


def _momentum(params: dict[str, Any], step: int) -> float:
    return plus.average_momentum(
        step, "ramp" if params["ema_update"] else "plain", params["ema_alpha"], params["ema_step"]
    )


def _average(case: dict[str, Any]) -> dict[str, Any]:
    slow, fast = (
        nn.ParameterList([torch.tensor(numbers(value), dtype=dtype_of(case)) for value in case["inputs"][key]])
        for key in ("average_before", "parameters")
    )
    average_parameters(slow, fast, _momentum(case["params"], case["inputs"]["global_step"]))
    return {"average_after": [value.tolist() for value in slow]}


def _mixup(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "mixup_alpha")  # of the draws, which are given
    draw, labels = case["inputs"]["beta_draw"], integers(case, "labels")
    mix = _mix(1.0 if draw is None else max(draw, 1 - draw), case["inputs"]["mix_index"], len(labels))
    target = F.one_hot(labels, case["params"]["C"]).to(dtype_of(case))
    return {"mixed_x": mix(floats(case, "x")), "mixed_target": mix(target), "mixup_lambda": mix.share}


def _loss(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params, method = case["inputs"], case["params"], _method(case)
    method.memory[:, 0] = floats(case, "history_before")
    labels, index = integers(case, "labels"), integers(case, "index")
    mix = _mix(inputs["mixup_lambda"], inputs["mix_index"], len(labels))
    logits = floats(case, "logits", grad=True)
    q = mix(method.remember(0, floats(case, "logits_average_of_other"), index))
    target = mix(F.one_hot(labels, params["C"]).to(logits.dtype))
    loss = method.objective(logits, target, q, plus.sigmoid_ramp(inputs["iteration"], params["coef_step"]))["loss"]
    return {
        "history_after": method.memory[:, 0],
        "q": q,
        "mixed_target": target,
        "loss": loss.detach(),
        "grad_logits": torch.autograd.grad(loss, logits)[0],
        "clamped_probabilities": clamped_softmax(logits).detach(),
    }


class _BatchNormNet(nn.Module):
    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc1, self.bn, self.fc2 = nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.bn(self.fc1(x))))


def _network(case: dict[str, Any], key: str) -> nn.Module:
    state = {name: torch.tensor(value, dtype=dtype_of(case)) for name, value in case["inputs"][key].items()}
    inputs, classes = len(case["inputs"]["x"][0]), case["params"]["C"]
    if case["params"]["bn"]:
        net: nn.Module = _BatchNormNet(inputs, len(state["fc1.bias"]), classes)
    else:
        net = nn.Linear(inputs, classes)
    net = net.to(dtype_of(case))
    net.load_state_dict(state, strict=False)
    return net.train()


def _train(case: dict[str, Any]) -> dict[str, Any]:
    """The official loop: an epoch of one network after an epoch of the other, by the method's own steps."""
    inputs, params, method = case["inputs"], case["params"], _method(case)
    method.nets = nn.ModuleList([_network(case, f"net{k}_before") for k in (1, 2)])
    method.averages = nn.ModuleList([_network(case, f"average{k}_before").requires_grad_(False) for k in (1, 2)])
    optimizers = [
        torch.optim.SGD(net.parameters(), params["lr"], params["momentum"], weight_decay=params["weight_decay"])
        for net in method.nets
    ]
    remarks(case, "mixup_alpha")
    expect(case, epochs=len(inputs["batches_in_order"]) // 2)
    x, labels = floats(case, "x"), integers(case, "labels")
    draws, partners = iter(inputs["beta_draws_in_order"]), iter(inputs["mix_indices_in_order"])
    losses, first_step = [], 0
    for number, part in enumerate(inputs["batches_in_order"]):
        k, warm_up = part["network"] - 1, number // 2 < params["warmup_epochs"]
        for step, rows in enumerate(map(torch.tensor, part["batches"]), first_step + 1):
            if warm_up:
                loss = method.warm_up_parts(k, x[rows], labels[rows], rows)["loss"]
            else:
                draw = next(draws, 1.0)
                mix = _mix(max(draw, 1 - draw), next(partners, None), len(rows))
                weight = plus.sigmoid_ramp(step, params["coef_step"])
                loss = method.parts(k, x[rows], labels[rows], rows, mix, weight)["loss"]
            optimizers[k].zero_grad()
            loss.backward()
            optimizers[k].step()
            if not warm_up:
                average_parameters(method.averages[k], method.nets[k], _momentum(params, step))
            losses.append(loss.item())
        if k == 1 and not warm_up:
            first_step += len(part["batches"])
    nets = zip(("net1", "net2", "average1", "average2"), (*method.nets, *method.averages), strict=True)
    return {
        **{f"{name}_after": net.state_dict() for name, net in nets},
        "history1_after": method.memory[:, 0],
        "history2_after": method.memory[:, 1],
        "loss_per_step_in_order": losses,
    }


class _Answer(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def _answer(case: dict[str, Any]) -> dict[str, Any]:
    method = _method(case)
    method.nets = nn.ModuleList([_Answer(floats(case, f"logits_{k}")) for k in (1, 2)])
    answer = method.predict(torch.empty(0))
    return {"answer": answer, "cross_entropy": F.cross_entropy(answer, integers(case, "labels"))}
