"""Golden cases of LA-Net, through fer_bench_methods.lanet and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.lanet as lanet
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Task
from fer_bench.models.ferres8 import FerRes8
from fer_bench.ops import adaptive_wing, class_budget, gaussian_heatmaps, heatmap_weights, landmark_cells
from tests.golden.adapters._tools import expect, floats, integers, numbers, pick


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    if "fer_features" in inputs:
        return pick(case, _distributions(case))
    if "bank_pseudo_labels" in inputs:
        q, queue = floats(case, "q", grad=True), floats(case, "bank").T
        ids, queue_ids = (floats(case, key) for key in ("pseudo_labels", "bank_pseudo_labels"))
        loss = lanet.contrast(q, floats(case, "k"), queue, ids, queue_ids, params["T"])
        return pick(case, {"loss": loss, "grad_q": torch.autograd.grad(loss, q)[0]})
    if "confidence" in params:
        target, index = floats(case, "targets"), integers(case, "idx")
        return pick(case, {"pseudo_labels": lanet.pseudo_labels(target, index, params["confidence"], official=True)})
    if "steps" in inputs:
        return pick(case, {"after": _queue(inputs["steps"], params["banksize"])})
    if "points_xy_in_heatmap_cells" in inputs:
        return pick(case, _heatmaps(case))
    if "lm_px" in inputs:
        return pick(case, {"cell": landmark_cells(floats(case, "lm_px"), params["stride"])})
    if "class_counts" in inputs:
        counts, epochs = inputs["class_counts"], params["max_epoch"]
        expect(case, C=len(counts))
        return pick(case, {"budget_per_epoch": {e: class_budget(counts, e, epochs) for e in range(epochs + 1)}})
    if "pred" in inputs:
        return pick(case, _wing(case))
    if "cl_loss" in inputs:
        return pick(case, _total(case))
    if "landmarks_px" in inputs:
        points = floats(case, "landmarks_px")
        rows = torch.arange(points.shape[-2])[:, None].expand(-1, 2)
        expect(case, swap_permutation=lanet.exchange_sides(rows[None])[0, :, 0].tolist())
        mirrored = torch.stack([params["size"] - points[..., 0], points[..., 1]], dim=-1)
        return pick(case, {"official_no_swap": mirrored, "corrected_with_swap": lanet.exchange_sides(mirrored)})
    raise NotImplementedError(case["name"])


def _method(classes: int, width: int, narrow: int, samples: int, **options: Any) -> lanet.Lanet:
    torch.manual_seed(0)
    counts = torch.full((classes,), samples)
    method = lanet.Lanet(lanet.Lanet.Config(**options), Task(classes, samples, counts, 80, 1000))
    method.build(lambda role: FerRes8(classes, widths=(4, narrow, 4, width)))
    return method.train()


def _distributions(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    expect(case, eps=1e-8)
    u, v = floats(case, "fer_features"), floats(case, "lm_features")
    logits, index = floats(case, "logits", grad=True), integers(case, "idx")
    bank, labels = floats(case, "bank_before"), integers(case, "labels_of_bank")
    method = _method(
        params["C"], u.shape[1], v.shape[1], len(bank), neighbours=params["K"], bank_momentum=params["momentum"]
    )
    for score, key in ((method.score_u, "fer_score"), (method.score_v, "lm_score")):
        state = {name: torch.tensor(numbers(value)) for name, value in case["inputs"][key].items()}
        score.load_state_dict(state)
    method.bank.copy_(bank)
    method.given.copy_(labels)
    target = method.targets(u, v, logits, index, labels[index])
    method.remember(index, labels[index], target)
    kl = lanet.target_kl(target, logits, official=True)
    last = method.score_u.fc_out[4].weight
    grad_logits, grad_score = torch.autograd.grad(kl, (logits, last))
    zeroed = not any(bool(p.any()) for p in method.score_u.parameters())  # the case then keeps one number of the matrix
    return {
        "targets": target,
        "bank_after": method.bank,
        "L_kl": kl,
        "grad_logits_of_kl_with_live_targets": grad_logits,
        "grad_fer_score_last_weight": grad_score.abs().max()[None] if zeroed else grad_score,
        "row_sums": target.sum(dim=1),
        "fer_neighbors": lanet.neighbours(u, params["K"]),
        "lm_neighbors": lanet.neighbours(v, params["K"]),
    }


def _queue(steps: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """The queue as it is after each step; the case starts from zeros."""
    width = len(steps[0]["fer_k"][0])
    method = _method(3, 8, width, 100, neighbours=1, queue=size)
    for name in ("queue_u", "queue_v"):
        method.register_buffer(name, torch.zeros(size, width))
    after = []
    for step in steps:
        method.enqueue(torch.tensor(step["fer_k"]), torch.tensor(step["lm_k"]), torch.tensor(step["pseudo"]))
        after.append(
            {
                "ptr": int(method.pointer),
                "fer_bank": method.queue_u.T.clone(),
                "lm_bank": method.queue_v.T.clone(),
                "target_bank": method.queue_label.clone(),
            }
        )
    return after


def _heatmaps(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    expect(case, dilate=3)
    cells = integers(case, "points_xy_in_heatmap_cells")
    maps = gaussian_heatmaps(cells, params["size"], params["size"], params["sigma"], truncate=True)
    weights = heatmap_weights(maps[None], params["weight"], params["threshold"])[0]
    peaks = [divmod(int(m.argmax()), params["size"])[::-1] if bool(m.any()) else None for m in maps]
    return {
        "peak_xy": peaks,
        "heat_sum": maps.sum(dim=(1, 2)),
        "heat_max": maps.amax(dim=(1, 2)),
        "n_weight10": (weights == params["weight"]).sum(dim=(1, 2)),
        "heatmaps": maps,
        "weight_maps": weights,
    }


def _wing(case: dict[str, Any]) -> dict[str, Any]:
    predicted, target, weights = floats(case, "pred", grad=True), floats(case, "target"), floats(case, "weight_map")
    p = case["params"]
    loss_map = adaptive_wing(predicted, target, p["alpha"], p["omega"], p["epsilon"], p["theta"])
    loss: Tensor = lanet.landmark_loss(predicted, target, weights)
    return {"loss_map": loss_map, "L_lm": loss, "grad_pred": torch.autograd.grad(loss, predicted)[0]}


def _total(case: dict[str, Any]) -> dict[str, Any]:
    params, logits = case["params"], floats(case, "fer_logits")
    ce = F.cross_entropy(logits, integers(case, "labels"))
    lm = lanet.landmark_loss(floats(case, "lm_pred"), floats(case, "heatmap"), floats(case, "weight_map"))
    kl = lanet.target_kl(floats(case, "targets"), logits)
    total = ce + params["lam_lm"] * lm + params["lam_kl"] * kl + params["lam_cl"] * case["inputs"]["cl_loss"]
    return {"L_ce": ce, "L_lm": lm, "L_kl": kl, "total": total}
