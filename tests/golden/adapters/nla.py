"""Golden cases of NLA, through fer_bench_methods.nla."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.nla as nla
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from tests.golden.adapters._tools import floats, integers, numbers, pick, remarks

CONFIG_KEYS = (
    "mu_x_t", "mu_y_t", "mu_x_f", "mu_y_f", "t_std_major", "t_std_ratio", "f_std_major", "f_std_ratio", "t_lambda",
    "slope", "lam_a", "lam_b", "lam_c",
)  # fmt: skip


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "logits" in case["inputs"]:
        return pick(case, _batch(case))
    if "p_gt" in case["inputs"]:
        return pick(case, _grid(case))
    if "epoch_index" in case["inputs"]:
        params = case["params"]
        s = [nla.sigma_schedule(e, params["epochs"], params["slope"]) for e in case["inputs"]["epoch_index"]]
        return pick(case, {"eps": s})
    if case["name"].startswith("batch_of_one"):
        return pick(case, _batch_of_one())
    raise NotImplementedError(case["name"])


def _method(params: dict[str, Any], **options: Any) -> nla.Nla:
    config = nla.Nla.Config(**{k: params[k] for k in CONFIG_KEYS if k in params}, **options)
    return nla.Nla(config, Task(7, 1, torch.ones(7, dtype=torch.int64), params.get("epochs", 1), 1))


def _gaussians(params: dict[str, Any], s: float) -> tuple[nla.Gaussian, nla.Gaussian]:
    p = params
    true = nla.true_gaussian((p["mu_x_t"], p["mu_y_t"]), p["t_std_major"], p["t_std_ratio"], s)
    return true, nla.false_gaussian((p["mu_x_f"], p["mu_y_f"]), p["f_std_major"], p["f_std_ratio"])


def _batch(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    logits, mirror = floats(case, "logits", grad=True), floats(case, "logits_flip", grad=True)
    labels = integers(case, "targets")
    s = nla.sigma_schedule(params["epoch_index"], params["epochs"], params["slope"])
    true, false = _gaussians(params, s)
    p_gt, p_nn = nla.ambiguity(F.softmax(logits, dim=1), labels)
    method = _method(params, reg="bhattacharyya_sum")
    w = method.weight(logits, labels, s)
    ce = F.cross_entropy(logits, labels, reduction="none")
    loss = method.objective(logits, mirror, labels, s)["loss"]
    grad, grad_mirror = torch.autograd.grad(loss, (logits, mirror))
    per_sample = torch.stack(
        [nla.flip_regulariser(logits[i : i + 1], mirror[i : i + 1], "bhattacharyya_sum") for i in range(len(logits))]
    )
    return {
        "eps": s,
        "t_cov": [[true.variance, true.covariance], [true.covariance, true.variance]],
        "f_cov": [[false.variance, false.covariance], [false.covariance, false.variance]],
        "p_gt": p_gt,
        "p_nn": p_nn,
        "is_true": p_gt >= p_nn,
        "w_star": w,
        "w_star_unnormalised": nla.ambiguity_weight(p_gt, p_nn, true, false, "unnormalised", params["t_lambda"]),
        "ce": ce,
        "naw_ce": w * ce,
        "jsd_sum": nla.flip_regulariser(logits, mirror, "bhattacharyya_sum"),
        "jsd_per_sample": per_sample,
        "bhattacharyya_per_sample": nla.bhattacharyya(logits, mirror),
        "jsd_true_per_sample": nla.jensen_shannon(logits, mirror),
        "loss": loss,
        "grad_logits": grad,
        "grad_logits_flip": grad_mirror,
        "grad_logits_undefined_rows": _tied_rows(logits.detach(), labels),
    }


def _tied_rows(logits: Tensor, labels: Tensor) -> list[int]:
    """Rows where p_NN is no differentiable function: it is tied with p_GT or between two other classes."""
    p = F.softmax(logits, dim=1)
    p_gt, p_nn = nla.ambiguity(p, labels)
    holders = (p == p_nn[:, None]).scatter(1, labels[:, None], False).sum(dim=1)
    return torch.nonzero((holders > 1) | (p_gt == p_nn)).flatten().tolist()


def _grid(case: dict[str, Any]) -> dict[str, Any]:
    remarks(case, "slope", "lam_a", "lam_b", "lam_c")  # of the schedule and the sum of losses
    p_gt = torch.tensor(numbers(case["inputs"]["p_gt"]), dtype=torch.float64)
    p_nn = torch.tensor(numbers(case["inputs"]["p_nn"]), dtype=torch.float64)
    true, false = _gaussians(case["params"], case["params"]["eps"])
    w = nla.ambiguity_weight(p_gt, p_nn, true, false, t_lambda=case["params"]["t_lambda"])
    return {"w_star": w, "is_true": p_gt >= p_nn}


def _batch_of_one() -> dict[str, Any]:
    """The official code crashes (a text of the file, not compared); ours must give a finite loss and gradient."""
    logits = torch.randn(1, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = _method({}).objective(logits, logits.detach().flip(1), torch.tensor([2]), 0.5)["loss"]
    (grad,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite()) and bool(grad.isfinite().all())
    return {"official": None, "required": "works"}
