"""Golden cases of HAR, through fer_bench_methods.har, on networks with ordinary batch norms."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.har as har
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.golden.adapters._tools import floats, integers, pick

DRW_START, BETA = 2 / 3, 0.9999


class Bare(nn.Module):
    """A 1x1 stem, one 1x1 convolution, the mean over the map, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2)
        self.layer1 = nn.Module()
        self.layer1.conv, self.layer1.bn1 = nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.layer1.bn1(self.layer1.conv(x)))
        return self.linear(x.mean(dim=(2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut skips pixels and adds channels of zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.missing:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.missing // 2, self.missing // 2))
        return F.relu(x + y)


class Block(nn.Module):
    """A 3x3 stem and two basic blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 2, 3, 1, 1, bias=False), nn.BatchNorm2d(2)
        self.layer1, self.layer2 = nn.Module(), nn.Module()
        self.layer1.layers = nn.Sequential(BasicBlock(2, 2, 1))
        self.layer2.layers = nn.Sequential(BasicBlock(2, 4, 2))
        self.linear = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer2.layers(self.layer1.layers(x)).mean(dim=(2, 3)))


def ours(name: str) -> str:
    """An official parameter's name in the networks above."""
    return name.replace(".gamma", ".weight").replace(".beta", ".bias").replace(".bn.running", ".running")


def network(case: dict[str, Any]) -> nn.Module:
    net = {"bare": Bare, "block": Block}[case["params"]["network"]]().double()
    given = case["inputs"]["parameters"] | case["inputs"].get("running", {})
    state = {ours(name): torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all("running" in name or "num_batches" in name for name in missing)
    return net.train()


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family, inputs = case["name"].partition("/")[0], case["inputs"]
    if family == "strengths":
        found = {"strengths": _strengths(floats(case, "class_accuracy"), integers(case, "counts"))}
    elif family == "accuracy":
        logits, labels = floats(case, "logits"), integers(case, "labels")
        found = {"class_accuracy": har.class_accuracy(logits.argmax(dim=1), labels, logits.shape[1])}
    elif family == "schedule":
        epochs, total = case["params"]["epochs"], case["params"]["total_epochs"]
        weights = [har.deferred_weights(integers(case, "counts"), e, total, DRW_START, BETA) for e in epochs]
        found = {"class_weights_by_epoch": torch.stack(weights)}
    elif family == "penalty":
        found = _penalty(case)
    else:
        assert "parameters" in inputs
        found = _train(case)
    return pick(case, found)


def _strengths(accuracy: Tensor, counts: Tensor) -> Tensor:
    """The official strengths are not defined where an error is unknown or no class has one; ours are."""
    strengths = har.class_strengths(accuracy, counts)
    assert bool(strengths.isfinite().all())
    return torch.full_like(strengths, torch.nan) if bool(accuracy.isnan().any() or (accuracy == 1).all()) else strengths


def _objective(
    net: nn.Module, taps: har.Taps, images: Tensor, labels: Tensor, strengths: Tensor, weight: Tensor | None
) -> dict[str, Tensor]:
    with taps.open() as seen:
        logits = net(images)
    loss = F.cross_entropy(logits, labels, weight)
    norms = har.gradient_norms(loss, seen)
    return {"logits": logits, "loss": loss, "norms": norms, "reg": har.penalty(norms, strengths)}


def _penalty(case: dict[str, Any]) -> dict[str, Any]:
    net = network(case)
    weight = floats(case, "class_weight") if "class_weight" in case["inputs"] else None
    images, labels, strengths = floats(case, "images"), integers(case, "labels"), floats(case, "strengths")
    found: dict[str, Any] = _objective(net, har.Taps(net), images, labels, strengths, weight)
    found["total"] = found["loss"] + case["params"]["reg_weight"] * found["reg"]
    names = list(case["inputs"]["parameters"])
    parameters = dict(net.named_parameters())
    grads = torch.autograd.grad(found["total"], [parameters[ours(name)] for name in names])
    return found | {"gradients": dict(zip(names, grads, strict=True))}


def _train(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params, net = case["inputs"], case["params"], network(case)
    images, labels, strengths = floats(case, "images"), integers(case, "labels"), floats(case, "class_strengths")
    taps = har.Taps(net)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )
    losses, regs = [], []
    for epoch, batches in zip(params["epochs"], inputs["batches_by_epoch"], strict=True):
        weight = None
        if params["rule"] == "DRW":
            counts = (
                integers(case, "counts") if "counts" in inputs else torch.bincount(labels, minlength=len(strengths))
            )
            weight = har.deferred_weights(counts, epoch, params.get("total_epochs", 120), DRW_START, BETA)
        sums = torch.zeros(2, dtype=torch.float64)
        for rows in batches:
            found = _objective(net, taps, images[rows], labels[rows], strengths[labels[rows]], weight)
            optimizer.zero_grad()
            (found["loss"] + params["reg_weight"] * found["reg"]).backward()
            optimizer.step()
            sums += torch.stack([found["loss"], found["reg"]]).detach() * len(rows)
        count = sum(map(len, batches))
        losses.append(sums[0] / count)
        regs.append(sums[1] / count)
    state = net.state_dict()
    return {
        "losses": torch.stack(losses),
        "regs": torch.stack(regs),
        "parameters": {name: state[ours(name)] for name in inputs["parameters"]},
        "running": {name: state[ours(name)] for name in inputs["running"]},
    }
