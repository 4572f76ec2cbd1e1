"""Golden cases of ReSup, through fer_bench_methods.resup."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.resup as resup
import torch
from torch import Tensor, nn

from tests.golden.adapters._tools import expect, floats, integers, pick, remarks


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs = case["inputs"]
    if "x" in inputs:
        return pick(case, _fit(case))
    if "similarity" in inputs:
        return pick(case, {"weight": resup.looked_up(floats(case, "similarity"), floats(case, "lookup"))})
    if "net_0" in inputs:
        return pick(case, {"after_epoch": _training(case)})
    if "lookup_after" in case["params"] or "pass_batch_size" in case["params"]:
        return pick(case, _epoch_end(case))
    return pick(case, _loss(case))


def _named(pair: resup.BetaPair) -> dict[str, Tensor]:
    return {"alphas": pair.a, "betas": pair.b, "weight": pair.weight}


def _fit(case: dict[str, Any]) -> dict[str, Any]:
    x, last = floats(case, "x"), case["params"]["lookup_after"]
    pairs = {rounds: resup.fit_beta_pair(x, rounds) for rounds in {*case["params"]["iterations"], last}}
    return {f"after_{rounds}": _named(pair) for rounds, pair in pairs.items()} | {
        "lookup": resup.clean_table(pairs[last]),
        "posterior_clean": pairs[last].clean_probability(floats(case, "points")),
    }


def _epoch_end(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "pass_batch_size")  # the whole pass counts
    found: dict[str, Any] = {}
    for k in (0, 1):
        similarity = resup.inside(resup.label_similarity(floats(case, f"logits_{k}"), integers(case, "labels")))
        pair = resup.fit_beta_pair(similarity, case["params"]["iterations"])
        found |= {f"similarity_{k}": similarity, f"mixture_{k}": _named(pair), f"lookup_{k}": resup.clean_table(pair)}
    return found


def _loss(case: dict[str, Any]) -> dict[str, Any]:
    labels = integers(case, "labels")
    logits = tuple(floats(case, f"logits_{k}", grad=True) for k in (0, 1))
    found: dict[str, Any] = {}
    remarks(case, "consistency_weight")  # the first epoch has no such term
    if (case["params"]["epoch_index"] > 0) != ("lookup_0" in case["inputs"]):
        raise NotImplementedError(f"{case['name']}: tables in the first epoch, or none later")
    if "lookup_0" in case["inputs"]:
        weights = tuple(resup.clean_weight(logits[k], labels, floats(case, f"lookup_{k}")) for k in (0, 1))
        loss = resup.crossed_loss(logits, labels, weights, case["params"]["consistency_weight"])["loss"]
        for k in (0, 1):
            found |= {f"similarity_{k}": resup.label_similarity(logits[k], labels), f"weight_{k}": weights[k]}
    else:
        loss = resup.warm_up_loss(*logits, labels)
    grads = torch.autograd.grad(loss, logits)
    return found | {"loss": loss, "grad_logits_0": grads[0], "grad_logits_1": grads[1]}


def _linear(given: dict[str, Any]) -> nn.Linear:
    weight, bias = (torch.tensor(given[key], dtype=torch.float64) for key in ("weight", "bias"))
    net = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    net.load_state_dict({"weight": weight, "bias": bias})
    return net


def _training(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Epochs of two linear networks, each ended by the fit of both mixtures that weight the next one."""
    inputs, params = case["inputs"], case["params"]
    remarks(case, "optimizer")  # in words: Adam
    expect(case, epochs=len(inputs["training_passes"]))
    nets = [_linear(inputs[f"net_{k}"]) for k in (0, 1)]
    optimizer = torch.optim.Adam([p for net in nets for p in net.parameters()], lr=params["lr"])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, params["milestones"], params["gamma"])
    tables: list[Tensor] = []
    after = []
    for training, passing in zip(inputs["training_passes"], inputs["mixture_passes"], strict=True):
        losses = []
        for x, y in _batches(training, params["batch_size"]):
            logits = (nets[0](x), nets[1](x))
            if tables:
                weights = tuple(resup.clean_weight(z, y, t) for z, t in zip(logits, tables, strict=True))
                loss = resup.crossed_loss(logits, y, weights, params["consistency_weight"])["loss"]
            else:
                loss = resup.warm_up_loss(*logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss)
        schedule.step()
        ((x, y),) = _batches(passing, len(passing["x"]))
        pairs = [
            resup.fit_beta_pair(resup.inside(resup.label_similarity(net(x), y)), params["iterations"]) for net in nets
        ]
        tables = [resup.clean_table(pair) for pair in pairs]
        state: dict[str, Any] = {"step_losses": torch.stack(losses)}
        for k, net in enumerate(nets):
            state |= {
                f"net_{k}": {name: value.detach().clone() for name, value in net.state_dict().items()},
                f"mixture_{k}": _named(pairs[k]),
            }
        after.append(state)
    return after


def _batches(data: dict[str, Any], size: int) -> list[tuple[Tensor, Tensor]]:
    x, y = torch.tensor(data["x"], dtype=torch.float64), torch.tensor(data["labels"])
    return list(zip(x.split(size), y.split(size), strict=True))
