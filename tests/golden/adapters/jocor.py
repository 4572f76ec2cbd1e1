"""Golden cases of JoCoR, through fer_bench_methods.jocor and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.jocor as jocor
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import keep_count, kl_divergence, small_loss
from tests.golden.adapters._tools import floats, integers, pick, remarks
from tests.golden.adapters.coteaching import schedules


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "logits_1" in case["inputs"]:
        return pick(case, _batch(case))
    if "num_gradual" in case["params"]:
        p = case["params"]
        tau = jocor.target_forget_rate(p["noise_rate"], p["forget_rate"], halve=p["noise_type"] == "asymmetric")
        tensors = {"num_param_tensors_in_the_single_optimizer": _parameter_tensors()}
        return pick(case, schedules(p, tau) | tensors)
    raise NotImplementedError(case["name"])


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "tie_case")
    z1, z2 = floats(case, "logits_1", grad=True), floats(case, "logits_2", grad=True)
    labels, clean = integers(case, "labels"), torch.tensor(case["inputs"]["clean_flag"])
    params = case["params"]
    joint = jocor.joint_loss(z1, z2, labels, params["co_lambda"])
    kept = small_loss(joint, keep_count(len(labels), params["forget_rate"], "official"))
    found: dict[str, Any] = {
        "ce_1": F.cross_entropy(z1, labels, reduction="none"),
        "ce_2": F.cross_entropy(z2, labels, reduction="none"),
        "kl_p2_to_p1": kl_divergence(z2, z1),
        "kl_p1_to_p2": kl_divergence(z1, z2),
        "joint_per_sample": joint,
        "num_keep": len(kept),
        "kept_sorted": sorted(kept.tolist()),
    }
    if len(kept) == 0:
        return found
    found["loss"] = joint[kept].mean()
    found["pure_ratio"] = clean[kept].double().mean()
    stable = torch.autograd.grad(found["loss"], (z1, z2), retain_graph=True)
    # The official form of the KL has NaN gradients where a probability underflows; where it is finite, the two agree.
    official_joint = jocor.joint_loss(z1, z2, labels, params["co_lambda"], stable=False)
    official = torch.autograd.grad(official_joint[kept].mean(), (z1, z2))
    for ours, theirs in zip(stable, official, strict=True):
        assert bool(ours.isfinite().all())
        finite = theirs.isfinite()
        # The two forms round at the size of the logits.
        scale = max(1.0, *(float(z.detach().abs().max()) for z in (z1, z2)))
        torch.testing.assert_close(ours[finite], theirs[finite], rtol=1e-4, atol=1e-5 * scale)
    found["grad_logits_1"], found["grad_logits_2"] = official
    return found


class _Mlp(nn.Module):
    """The shape of the official MNIST network: two linear layers, four parameter tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 3), nn.Linear(3, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(x)))


def _parameter_tensors() -> int:
    method = jocor.Jocor(jocor.Jocor.Config(), Task(7, 4, torch.ones(7, dtype=torch.int64), 10, 2, 0.2))
    method.build(lambda _: _Mlp())
    optimizers = method.optimizers("train", lambda parameters, **kwargs: torch.optim.Adam(parameters, **kwargs))
    (optimizer,) = optimizers.values()
    return sum(len(group["params"]) for group in optimizer.param_groups)
