"""Golden cases of PES, through fer_bench_methods.pes."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.pes as pes
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.engine.stages import stage_spans
from fer_bench.method import Task
from tests.golden.adapters._tools import dtype_of, expect, floats, integers, numbers, pick, remarks

STAGES = ("warm_up", "refine_1", "refine_2", "selected")


def compute(case: dict[str, Any]) -> dict[str, Any]:
    family = case["name"].partition("/")[0]
    families = {"select": _select, "loss": _loss, "schedule": _schedule, "refine": _refine, "full": _full,
                "resnet18": _resnet18}  # fmt: skip
    return pick(case, families[family](case))


def _method(net: Any, rows: int = 1, classes: int = 7, epochs: int = 200, **options: Any) -> pes.Pes:
    config = pes.Pes.Config(**options)
    method = pes.Pes(config, Task(classes, rows, torch.ones(classes, dtype=torch.int64), epochs, 8))
    if net is not None:
        method.net, method.renew = net, "block"
    return method


# --- pieces -------------------------------------------------------------------------------------------------------


def _chosen(first: Tensor, second: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean probability, selected bool [N], selected per class) of two views' logits."""
    p = pes.mean_probability(first, second)
    selected = p.argmax(dim=1) == labels
    return p, selected, torch.bincount(labels[selected], minlength=first.shape[1])


def _select(case: dict[str, Any]) -> dict[str, Any]:
    p, selected, counts = _chosen(floats(case, "logits_view1"), floats(case, "logits_view2"), integers(case, "labels"))
    expect(case, num_classes=p.shape[1])
    weights = pes.class_weights(counts)
    if not selected.any():  # the official weights are not defined then; ours are 1
        weights = torch.full_like(weights, torch.nan)
    return {
        "probability": p,
        "selected": selected.nonzero().squeeze(1),
        "selected_per_class": counts,
        "class_weight": weights,
    }


def _loss(case: dict[str, Any]) -> dict[str, Any]:
    method = _method(None, classes=case["params"]["num_classes"])
    method.class_weight = pes.class_weights(integers(case, "selected_per_class")).to(dtype_of(case))
    logits = floats(case, "logits", grad=True)
    loss = method.objective(logits, integers(case, "labels"), "selected")
    return {
        "class_weight": method.class_weight,
        "loss": loss.detach(),
        "grad_logits": torch.autograd.grad(loss, logits)[0],
    }


def _schedule(case: dict[str, Any]) -> dict[str, Any]:
    """The stages in passes over the data, as the official loop counts epochs: both refinements are one of them."""
    params = case["params"]
    epochs, lengths = params["num_epochs"], (params["T1"], params["T2"], params["T3"])
    if params["T1"] >= epochs:
        lengths = (epochs, 0, 0)
    passes = sum(lengths) + max(0, epochs - params["T1"] - 1)
    shares = dict(zip(STAGES, (length / passes for length in lengths), strict=False))
    method = _method(None, epochs=passes, **shares)
    method.renew = "block"
    found = {span.stage.name: span.epochs for span in stage_spans(method.stages(), passes)}
    phases = ["all"] * found["warm_up"] + ["refine"] + ["selected"] * found.get("selected", 0)
    refinements = [[1, found.get("refine_1", 0)], [0, found.get("refine_2", 0)]]
    warm_up_to_the_end = params["T1"] >= epochs
    return {
        "epoch_trains_on": phases[:epochs],
        "main_lr": [params["lr"] * 0.1 ** ((epoch >= 100) + (epoch >= 150)) for epoch in range(epochs)],
        "refinements_layers_epochs": [] if warm_up_to_the_end else refinements,
    }


# --- training -----------------------------------------------------------------------------------------------------


class _Net(nn.Module):
    """The small network of the cases; what is renewed is given."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__()
        shapes = {name: torch.tensor(value) for name, value in case["inputs"]["network"].items()}
        for name in ("trunk", "block", "linear"):
            outputs, inputs = shapes[f"{name}_weight"].shape
            setattr(self, name, nn.Linear(inputs, outputs))
        self.bn = nn.BatchNorm1d(len(shapes["trunk_bias"]))
        self.to(dtype_of(case))
        self.set(case["inputs"]["network"])

    def set(self, values: dict[str, Any]) -> None:
        state = self.state_dict()
        for name, value in values.items():
            part, _, kind = name.rpartition("_")
            state[f"{part}.{kind}"] = torch.tensor(numbers(value), dtype=self.linear.weight.dtype)
        self.load_state_dict(state)

    def get(self) -> dict[str, list[float]]:
        return {
            name.replace(".", "_"): value.tolist()
            for name, value in self.state_dict().items()
            if "num_batches" not in name
        }

    def get_classifier(self) -> nn.Module:
        return self.linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(self.block(F.relu(self.bn(self.trunk(x))))))


def _training(case: dict[str, Any]) -> tuple[_Net, pes.Pes]:
    net = _Net(case)
    params = case["params"]
    skipped = {name: 0.0 for name, key in (("refine_1", "T2"), ("refine_2", "T3")) if params.get(key) == 0}
    method = _method(net, classes=params["num_classes"], refine_lr=params["PES_lr"], **skipped)
    method.block = [net.block]
    return net.train(), method


def _epoch(
    method: pes.Pes, x: Tensor, labels: Tensor, rows: Tensor, optimizer: Any, size: int, stage: str, rate: float | None
) -> float:
    """The mean of the batches' losses; an incomplete last batch is dropped, as officially."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] if rate is None else rate
    losses = []
    for part in rows.split(size):
        if len(part) == size:
            loss = method.objective(method.net(x[part]), labels[part], stage)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def _sgd(case: dict[str, Any]) -> Any:
    params = case["params"]
    return lambda groups: torch.optim.SGD(
        groups, lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"]
    )


def _refine_for(
    case: dict[str, Any], method: pes.Pes, x: Tensor, labels: Tensor, stage: str, renewed: Any, epochs: int
) -> list[float]:
    if not epochs:
        return []
    optimizer = method.optimizers(stage, None)["main"]
    method.net.set(renewed)
    params, rows = case["params"], torch.arange(len(labels))
    return [
        _epoch(method, x, labels, rows, optimizer, params["batch_size"], stage, params["PES_lr"])
        for _ in range(epochs)
    ]  # fmt: skip


def _refine(case: dict[str, Any]) -> dict[str, Any]:
    net, method = _training(case)
    stage = "refine_1" if case["params"]["layers"] == 1 else "refine_2"
    losses = _refine_for(
        case, method, floats(case, "images"), integers(case, "labels"), stage, case["inputs"]["renewed"],
        case["params"]["epochs"],
    )  # fmt: skip
    return {"network_after": net.get(), "mean_loss_of_each_epoch": losses}


def _full(case: dict[str, Any]) -> dict[str, Any]:
    """The official loop. Its main optimizer is made once, so that its momentum outlives the refinements."""
    net, method = _training(case)
    params, first, second = case["params"], floats(case, "images_view1"), floats(case, "images_view2")
    labels, size, states = integers(case, "labels"), params["batch_size"], {}
    main = method.optimizers("warm_up", _sgd(case))["main"]
    every = torch.arange(len(labels))
    losses = [_epoch(method, first, labels, every, main, size, "warm_up", None) for _ in range(params["T1"])]
    states["warm_up"] = net.get()
    for number, epochs in ((1, params["T2"]), (2, params["T3"])):
        renewed = case["inputs"].get(f"renewed_for_refinement_{number}", {})
        losses += _refine_for(case, method, first, labels, f"refine_{number}", renewed, epochs)
        states[f"refinement_{number}"] = net.get()
    method.optimizers("selected", _sgd(case))  # freezes what the official optimizer does not hold
    rows, weights = [], []
    for _ in range(params["num_epochs"] - params["T1"] - 1):
        net.eval()
        with torch.no_grad():
            _, selected, counts = _chosen(net(first), net(second), labels)
        net.train()
        rows.append(selected.nonzero().squeeze(1).tolist())
        method.class_weight = pes.class_weights(counts).to(dtype_of(case))
        weights.append(method.class_weight.tolist())
        losses.append(_epoch(method, first, labels, torch.tensor(rows[-1]), main, size, "selected", None))
    states["end"] = net.get()
    return {
        "network_after": states,
        "mean_loss_of_each_training_epoch": losses,
        "selected_in_each_selected_epoch": rows,
        "class_weight_in_each_selected_epoch": weights,
    }


class _MakeNet:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = timm.create_model("resnet18", num_classes=7)

    def __call__(self, role: str) -> Any:
        return self.net


def _resnet18(case: dict[str, Any]) -> dict[str, Any]:
    """One step of every stage on a ResNet-18, and what it changes."""
    remarks(case, "T1", "T2", "T3", "num_epochs")  # one step of each is enough
    expect(case, renewed_in_refinement_1=["layer4", "linear"], renewed_in_refinement_2=["linear"])
    method = _method(None, epochs=200)
    method.build(_MakeNet())
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 3, 5, 6])
    parts = {name: "fc" if name == "linear" else name for name in case["inputs"]["parts"]}
    changed, held = {}, set()
    for stage, phase in zip(STAGES, ("warm_up", "refinement_1", "refinement_2", "selected"), strict=True):
        optimizer = method.optimizers(stage, lambda groups: torch.optim.SGD(groups, lr=0.1))["main"]
        if stage.startswith("refine"):
            method.on_stage_start(stage, None)
        before = {name: value.clone() for name, value in method.net.state_dict().items()}
        method.net.train()
        for _ in range(2):  # the last normalisation of timm's blocks starts at 0: what lies before moves a step later
            optimizer.zero_grad()
            method.objective(method.net(images), labels, stage).backward()
            optimizer.step()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        changed[phase] = {name: _changes(method.net, own, before) for name, own in parts.items()}
    missing = [
        name for name, own in parts.items() if not any(id(p) in held for p in getattr(method.net, own).parameters())
    ]
    return {"changed": changed, "parts_missing_from_the_main_optimizer_at_the_end": missing}


def _changes(net: nn.Module, part: str, before: dict[str, Tensor]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for name, value in net.state_dict().items():
        if name.startswith(f"{part}.") and "num_batches" not in name:
            kind = "statistics" if "running" in name else "parameters"
            found[kind] = found.get(kind, False) or not torch.equal(value, before[name])
    return found
