"""Golden cases of DivideMix, through fer_bench_methods.dividemix."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.dividemix as dividemix
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import Mix
from tests.golden.adapters._tools import expect, floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs = case["inputs"]
    if "max_iter" in case["params"]:
        return pick(case, _division(case))
    if "current_epoch" in inputs:
        p = case["params"]
        shares = [dividemix.ramp(e, p["warm_up"], p["rampup_length"]) for e in inputs["current_epoch"]]
        return pick(case, {"weight": [p["lambda_u"] * share for share in shares]})
    if "logits_x" in inputs:
        return pick(case, _losses(case))
    if "labelled_batches" in inputs:
        return pick(case, _train(case))
    if "batches" in inputs:
        return pick(case, _warm_up(case))
    return pick(case, _answer(case))


def _division(case: dict[str, Any]) -> dict[str, Any]:
    params, inputs = case["params"], case["inputs"]
    expect(case, max_iter=dividemix.ROUNDS, tol=dividemix.TOLERANCE, reg_covar=dividemix.FLOOR)
    if "logits" in inputs:
        losses = F.cross_entropy(floats(case, "logits"), integers(case, "labels"), reduction="none")
    else:
        losses = floats(case, "losses")
    now = dividemix.normalised(losses)
    fitted = now
    if params["average_last_5"]:
        earlier = floats(case, "earlier_normalised_losses").reshape(-1, len(now))  # none in the first division
        fitted = torch.cat([earlier, now[None]])[-5:].mean(dim=0)
    pair = dividemix.loss_mixture(fitted, random_state=0)
    w = dividemix.clean_probability(fitted, random_state=0)
    labelled = w > params["p_threshold"]
    return {
        "normalised": now,
        "fitted_on": fitted,
        "clean_probability": w,
        "labelled_rows": labelled.nonzero().squeeze(1),
        "unlabelled_rows": (~labelled).nonzero().squeeze(1),
        "means": pair.means,
        "variances": pair.variances,
        "weights": pair.weights,
        "iterations": pair.rounds,
    }


def _losses(case: dict[str, Any]) -> dict[str, Any]:
    params, inputs = case["params"], case["inputs"]
    z_x, z_u = floats(case, "logits_x", grad=True), floats(case, "logits_u", grad=True)
    targets = torch.cat([floats(case, "targets_x"), floats(case, "targets_u")])
    l_x, l_u = dividemix.mixmatch_losses(torch.cat([z_x, z_u]), targets, len(z_x))
    return {
        "Lx": l_x,
        "Lu": l_u,
        "weight_u": params["lambda_u"] * dividemix.ramp(inputs["epoch"], params["warm_up"], params["rampup_length"]),
        "grad_Lx": torch.autograd.grad(l_x, z_x, retain_graph=True)[0],
        "grad_Lu": torch.autograd.grad(l_u, z_u)[0],
    }


class Net(nn.Module):
    """Linear, BatchNorm1d, ReLU, linear."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc1, self.bn = nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.bn(self.fc1(x))))


def _network(given: dict[str, Any]) -> nn.Module:
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    if "bn.weight" in state:
        net: nn.Module = Net(state["fc1.weight"].shape[1], len(state["fc1.bias"]), len(state["fc2.bias"]))
    else:
        net = nn.Linear(state["weight"].shape[1], len(state["bias"]))
    net.double().load_state_dict(state, strict=False)
    return net.train()


def _state(net: nn.Module, names: dict[str, Any]) -> dict[str, Tensor]:
    return {name: net.state_dict()[name].clone() for name in names}


def _method(params: dict[str, Any]) -> dividemix.Dividemix:
    """The method without networks, for its objective."""
    config = dividemix.Dividemix.Config(lambda_u=params["lambda_u"], temperature=params["T"])
    task = Task(params["C"], 2, torch.ones(params["C"], dtype=torch.int64), 300, 64)
    return dividemix.Dividemix(config, task).double()


def _train(case: dict[str, Any]) -> dict[str, Any]:
    """Official steps of one network: labelled and unlabelled batches of their own, and guesses in training mode."""
    inputs, params = case["inputs"], case["params"]
    net, peer = _network(inputs["net"]), _network(inputs["net2"]).eval()
    views, labels = (floats(case, "x"), floats(case, "x_second")), integers(case, "labels")
    w, method = floats(case, "clean_probability"), _method(params)
    remarks(case, "batch_size")  # of the loaders; the rows of each batch are given
    expect(case, bn=isinstance(net, Net))
    method.prior.fill_(1 / params["C"])
    optimizer = torch.optim.SGD(
        net.parameters(), lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )
    steps: list[dict[str, Any]] = []
    rows = zip(inputs["labelled_batches"], inputs["unlabelled_batches"], strict=True)
    for number, (x, u) in enumerate(rows):
        share = dividemix.ramp(
            inputs["epoch"] + number / params["iterations_per_epoch"], params["warm_up"], params["rampup_length"]
        )
        of_u, of_x = tuple(view[u] for view in views), tuple(view[x] for view in views)
        p_u = dividemix.mean_probability(net, of_u, training=True)
        t_u = dividemix.guessed(p_u, dividemix.mean_probability(peer, of_u), params["T"])
        t_x = dividemix.refined(labels[x], w[x], dividemix.mean_probability(net, of_x, training=True), params["T"])
        draw = inputs["beta_draw"][number]
        mix = Mix(max(draw, 1 - draw), torch.tensor(inputs["permutation"][number]))
        mixed, targets = mix(torch.cat([*of_x, *of_u])), mix(torch.cat([t_x, t_x, t_u, t_u]))
        used = len(mixed) if params["script"] == "cifar" else 2 * len(x)
        logits = net(mixed[:used])
        logits.retain_grad()
        parts = method.objective(logits, targets[:used], 2 * len(x), share)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        steps.append(
            {
                "targets_x": t_x,
                "targets_u": t_u,
                "mixed_input": mixed[:used],
                "mixed_target": targets[:used],
                "Lx": parts["labelled_loss"],
                "Lu": parts["unlabelled_loss"],
                "penalty": parts["penalty"],
                "loss": parts["loss"],
                "logits": logits,
                "grad_logits": logits.grad,
                "weight_u": params["lambda_u"] * share,
            }
        )
    found: dict[str, Any] = {name: [step[name] for step in steps] for name in steps[0]}
    return found | {"after": _state(net, inputs["net"]), "net2_after": _state(peer, inputs["net2"])}


def _warm_up(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params, net = case["inputs"], case["params"], _network(case["inputs"]["net"])
    x, labels = floats(case, "x"), integers(case, "labels")
    remarks(case, "C")
    optimizer = torch.optim.SGD(
        net.parameters(), lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )
    found: dict[str, Any] = {name: [] for name in ("cross_entropy", "penalty", "total", "logits", "grad_logits")}
    for rows in inputs["batches"]:
        logits = net(x[rows])
        logits.retain_grad()
        loss, penalty = F.cross_entropy(logits, labels[rows]), dividemix.confidence_penalty(logits)
        total = loss + penalty if params["penalty"] else loss
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values = {"cross_entropy": loss, "penalty": penalty, "total": total, "logits": logits}
        for name, value in (values | {"grad_logits": logits.grad}).items():
            found[name].append(value)
    return found | {"after": _state(net, inputs["net"])}


def _answer(case: dict[str, Any]) -> dict[str, Any]:
    method = _method({"lambda_u": 25, "T": 0.5, "C": 7})
    first, second = floats(case, "logits_1"), floats(case, "logits_2")
    method.nets = nn.ModuleDict({"a": Given(first), "b": Given(second)})
    total = 2 * method.predict(first)
    right = total.argmax(dim=1) == integers(case, "labels")
    accuracy = 100 * right.double().mean()
    return {"sum_of_logits": total, "predicted": total.argmax(dim=1), "accuracy_percent": accuracy}


class Given(nn.Module):
    """A network whose logits are given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits
