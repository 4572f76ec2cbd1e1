"""Golden cases of MAN, through fer_bench_methods.man."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.man as man
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.ops import kl_divergence
from tests.golden.adapters._tools import floats, integers, pick, remarks

SUBSETS = {"clean": man.CLEAN, "ambiguous": man.AMBIGUOUS, "noise": man.NOISY}


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    if "epochs_1based" in inputs:
        share = [
            man.mutual_share(e, params["max_epochs"], params["lambda_max"], params["beta"])
            for e in inputs["epochs_1based"]
        ]
        return pick(case, {"lambda": share})
    if "pred1" in inputs:
        kinds = man.division(integers(case, "pred1"), integers(case, "pred2"), integers(case, "labels"))
        return pick(case, _sets(kinds, integers(case, "indexes")))
    if "batches" in inputs:
        return pick(case, _epoch(case))
    logits_a, logits_b = floats(case, "logits1", grad=True), floats(case, "logits2", grad=True)
    if "labels" not in inputs:
        probabilities = F.softmax(logits_a, dim=1) + F.softmax(logits_b, dim=1)
        answer = _method(None, None).predict(torch.stack([logits_a, logits_b]))
        found = {"pred": answer.argmax(dim=1), "pred_if_probabilities_were_averaged": probabilities.argmax(dim=1)}
        return pick(case, found)
    share = _share(params) if "epoch" in params else params["lambda"]
    if abs(params.get("lambda", share) - share) > 1e-9:  # a lambda of its own; cases round that of the epoch
        share = params["lambda"]
    loss = man.mutual_loss(logits_a, logits_b, integers(case, "labels"), share)
    grad_a, grad_b = torch.autograd.grad(loss, (logits_a, logits_b))
    return pick(
        case,
        {
            "loss": loss,
            "kl_2_to_1": kl_divergence(logits_b, logits_a).mean(),
            "kl_1_to_2": kl_divergence(logits_a, logits_b).mean(),
            "grad_logits1": grad_a,
            "grad_logits2": grad_b,
        },
    )


def _share(params: dict[str, Any]) -> float:
    """lambda of a case's epoch; the case may name what the ramp is made of."""
    given = [params[name] for name in ("lambda_max", "beta") if name in params]
    return man.mutual_share(params["epoch"], params["max_epochs"], *given)


def _sets(kinds: Tensor, index: Tensor) -> dict[str, list[int]]:
    return {name: index[kinds == kind].tolist() for name, kind in SUBSETS.items()}


class _Given(nn.Module):
    """A network whose logits are given: those of row ``place`` of the stacked logits of both."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        return x[self.place]


def _method(net_a: nn.Module | None, net_b: nn.Module | None) -> man.Man:
    from fer_bench.method import Task

    method = man.Man(man.Man.Config(), Task(7, 100, torch.ones(7, dtype=torch.int64), 100, 6))
    method.net_a, method.net_b = net_a or _Given(0), net_b or _Given(1)
    return method


def _linear(given: dict[str, Any]) -> nn.Linear:
    weight = torch.tensor(given["weight"], dtype=torch.float64)
    net = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    net.load_state_dict({"weight": weight, "bias": torch.tensor(given["bias"], dtype=torch.float64)})
    return net


def _epoch(case: dict[str, Any]) -> dict[str, Any]:
    """An epoch of two linear networks: the division with their first weights, then a step of Adam for each batch."""
    remarks(case, "optimizer")  # in words: Adam with the numbers below
    nets = [_linear(case["inputs"][key]) for key in ("net1", "net2")]
    optimizer = torch.optim.Adam([p for net in nets for p in net.parameters()], lr=1e-3, weight_decay=1e-4)
    batches = [
        {
            key: torch.tensor(value, dtype=torch.float64 if key.startswith("x_") else torch.int64)
            for key, value in batch.items()
        }
        for batch in case["inputs"]["batches"]
    ]
    divide = "x_strong" in batches[0]
    found: dict[str, Any] = {}
    if divide:
        for batch in batches:
            batch["kinds"] = man.division(*(net(batch["x_weak"]).argmax(dim=1) for net in nets), batch["labels"])
        kinds, index = (torch.cat([batch[key] for batch in batches]) for key in ("kinds", "indexes"))
        found |= {name: sorted(rows) for name, rows in _sets(kinds, index).items()}
        with torch.no_grad():
            found["losses_at_initial_weights"] = [_parts(nets, batch, case["params"]) for batch in batches]
    for batch in batches:
        if divide:
            loss = _parts(nets, batch, case["params"])["total"]
        else:
            loss = man.supervised_loss(*(net(batch["x_weak"]) for net in nets), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for number, net in enumerate(nets, 1):
        found[f"net{number}_after"] = {"weight": net.weight, "bias": net.bias}
    return found


def _parts(nets: list[nn.Linear], batch: dict[str, Tensor], params: dict[str, Any]) -> dict[str, Any]:
    """The loss of one batch and its parts, by the plugin's own combination of them."""
    share = _share(params)
    parts = man.divided_loss(
        batch["kinds"],
        batch["labels"],
        lambda rows: tuple(net(batch["x_weak"][rows]) for net in nets),
        lambda rows: tuple(net(batch["x_strong"][rows]) for net in nets),
        share,
        params["omega"],
        params["gamma"],
    )
    rows = {f"rows_{name}": (batch["kinds"] == kind).nonzero().squeeze(1).tolist() for name, kind in SUBSETS.items()}
    names = {"total": "loss", "L_clean": "supervised", "L_ambiguous": "mutual", "L_noise": "consistency"}
    return {**{ours: parts[theirs] for ours, theirs in names.items()}, **rows}
