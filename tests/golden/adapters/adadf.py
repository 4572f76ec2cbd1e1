"""Golden cases of Ada-DF, through fer_bench_methods.adadf."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.adadf as adadf
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from tests.golden.adapters._tools import expect, floats, integers, pick, remarks

LAYERS = ("classifier_1", "classifier_2", "alpha_1", "alpha_2")


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    remarks(case, "optimizer", "schedule")  # in words: Adam, and a factor on its rate after each epoch
    if "epochs_1based" in inputs:
        pairs = [adadf.ramps(e, params["beta"], params["alpha"]) for e in inputs["epochs_1based"]]
        return pick(case, {"alpha_1": [p[0] for p in pairs], "alpha_2": [p[1] for p in pairs]})
    if "out_1" in inputs:
        return pick(case, _batch(case))
    if "features" in inputs:
        z_1, z_2, attention = _forward(_layers(inputs["weights"]), floats(case, "features"))
        expect(case, num_classes=z_1.shape[1])
        found = {"out_1": z_1, "out_2": z_2, "attention": attention[:, None], "prediction": z_2.argmax(dim=1)}
        return pick(case, found)
    if "training_passes" in inputs:
        return pick(case, _training(case))
    rows = _distributions(floats(case, "logits_1"), integers(case, "labels"), params)
    return pick(case, {"class_distributions": rows, "row_sums": rows.sum(dim=1)})


def _distributions(logits: Tensor, labels: Tensor, params: dict[str, Any]) -> Tensor:
    p = F.softmax(logits.detach(), dim=1)
    return adadf.class_distributions(p, labels, params["num_classes"], params["threshold"], official_fallback=True)


def _method(params: dict[str, Any]) -> adadf.Adadf:
    config = adadf.Adadf.Config(
        max_weight=params["max_weight"], min_weight=params["min_weight"], tops=params["tops"],
        margin=params["margin_1"], threshold=params.get("threshold", 0.7), official_fallback=True,
        detach_attention=False,
    )  # fmt: skip
    classes = params["num_classes"]
    return adadf.Adadf(config, Task(classes, 1, torch.ones(classes, dtype=torch.int64), 75, 64))


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    params, labels = case["params"], integers(case, "labels")
    z_1, z_2, attention = (floats(case, key, grad=True) for key in ("out_1", "out_2", "attention"))
    method, a = _method(params), attention.squeeze(1)
    method.distributions = floats(case, "class_distributions")
    weights = adadf.ramps(params["epoch_1based"], params["beta"], params.get("alpha"))
    parts = method.objective((z_1, z_2), a, labels, weights)
    grads = torch.autograd.grad(parts["loss"], (z_1, z_2, attention))
    g = adadf.rescaled(a, params["min_weight"], params["max_weight"])
    return {
        "loss": parts["loss"],
        "ce": parts["ce"],
        "kld": parts["kl"],
        "rr": parts["rank"],
        "alpha_1": weights[0],
        "alpha_2": weights[1],
        "target": adadf.fused_target(z_1, labels, g, method.distributions),
        "grad_out_1": grads[0],
        "grad_out_2": grads[1],
        "grad_attention": grads[2],
    }


def _layers(weights: dict[str, Any]) -> dict[str, nn.Linear]:
    layers = {}
    for name in LAYERS:
        weight, bias = (torch.tensor(weights[name][key], dtype=torch.float64) for key in ("weight", "bias"))
        layers[name] = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layers[name].load_state_dict({"weight": weight, "bias": bias})
    return layers


def _forward(layers: dict[str, nn.Linear], features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z_1, z_2 [B, C] and the mean attention [B] of features that both branches read."""
    (z_1, a_1), (z_2, a_2) = (adadf.attended(features, layers[f"classifier_{k}"], layers[f"alpha_{k}"]) for k in (1, 2))
    return z_1, z_2, (a_1 + a_2) / 2


def _training(case: dict[str, Any]) -> dict[str, Any]:
    """Epochs of the four linear layers, each followed by the class distributions of a pass."""
    inputs, params = case["inputs"], case["params"]
    method, layers = _method(params), _layers(inputs["weights"])
    optimizer = torch.optim.Adam([p for layer in layers.values() for p in layer.parameters()], lr=params["lr"])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, params["gamma"])
    expect(case, epochs=len(inputs["training_passes"]))
    found: dict[str, Any] = {"initial_class_distributions": method.distributions.clone(), "after_epoch": []}
    passes = zip(inputs["training_passes"], inputs["distribution_passes"], strict=True)
    for epoch, (training, describing) in enumerate(passes, 1):
        logged = []
        x, y = _data(training)
        for features, labels in zip(x.split(params["batch_size"]), y.split(params["batch_size"]), strict=True):
            z_1, z_2, attention = _forward(layers, features)
            weights = adadf.ramps(epoch, params["beta"], params.get("alpha"))
            parts = method.objective((z_1, z_2), attention, labels, weights)
            optimizer.zero_grad()
            parts["loss"].backward()
            optimizer.step()
            logged.append({name: float(parts[name].detach()) for name in ("loss", "ce", "kl")})
        schedule.step()
        x, y = _data(describing)
        method.distributions = _distributions(_forward(layers, x)[0], y, params)
        means = {name: sum(entry[name] for entry in logged) / len(logged) for name in logged[0]}
        state = {
            "class_distributions": method.distributions,
            "weights": {
                name: {key: value.detach().clone() for key, value in layer.state_dict().items()}
                for name, layer in layers.items()
            },
            "mean_loss": means["loss"],
            "mean_ce": means["ce"],
            "mean_kld": means["kl"],
        }
        found["after_epoch"].append(state)
    return found


def _data(part: dict[str, Any]) -> tuple[Tensor, Tensor]:
    return torch.tensor(part["x"], dtype=torch.float64), torch.tensor(part["labels"])
