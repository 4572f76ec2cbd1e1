"""Golden cases of DMUE, through fer_bench_methods.dmue."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.dmue as dmue
import torch

from fer_bench.method import Task
from fer_bench.models.ferres8 import FerRes8
from tests.golden.adapters._tools import floats, integers, pick

# The case "identical_features_nan" records W_target after the step that made it NaN. All its features are 1, so that
# any classifier whose rows have these sums gives the logits that the case had.
LOGITS_BEFORE_THE_STEP = [0.287578821182, -0.705221533775, 1.45255303383]


def compute(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    if "feat_target" in inputs:
        return pick(case, _full_step(case))
    if "epochs" in inputs:
        beta = params["beta"]
        found = {
            "w_up": [dmue.ramp_up(e, beta) for e in inputs["epochs"]],
            "w_down": [dmue.ramp_down(e, beta) for e in inputs["epochs"]],
        }
        return pick(case, found)
    if "labels" in inputs:
        return pick(case, _split(integers(case, "labels"), params["C"]))
    if case["name"] == "official_optimizer_leaves_out":
        return pick(case, {"parameters_never_updated": _never_updated()})
    raise NotImplementedError(case["name"])


def _method(classes: int, width: int, **options: Any) -> dmue.Dmue:
    config = dmue.Dmue.Config(dropout=0.0, **options)
    torch.manual_seed(0)
    size = max(64, 2 * classes)
    method = dmue.Dmue(config, Task(classes, size, torch.ones(classes, dtype=torch.int64), 36, size))
    method.build(lambda role: FerRes8(classes, widths=(4, 4, 4, width)))
    return method.train()


def _split(labels: torch.Tensor, classes: int) -> dict[str, Any]:
    rows = [dmue.branch_rows(labels, c) for c in range(classes)]
    complete = dmue.batch_is_complete(labels, torch.ones(classes, dtype=torch.bool))
    return {
        "aux_rows_per_branch": [others for others, _ in rows],
        "softlabel_rows_per_branch": [own for _, own in rows],
        "aux_targets_per_branch": [dmue.branch_labels(labels[others], c) for c, (others, _) in enumerate(rows)],
        "check_batch_ok": complete,
        "skipped": not complete,
    }


def _never_updated() -> list[str]:
    """What the official optimizer leaves out, under the official names of our parameters."""
    method = _method(3, 4)
    optimizer = method.optimizers("train", lambda params, **kw: torch.optim.Adam(params, **kw))["main"]
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = [
        name.replace("certainty.project", "project_w").replace("necks.0", "bottleneck")
        for name, parameter in method.named_parameters()
        if id(parameter) not in updated
    ]
    # Our target classifier is the network's own, whose bias is 0 for good; the official one has none.
    return [name for name in names if name != "net.fc.bias"]


def _full_step(case: dict[str, Any]) -> dict[str, Any]:
    params, labels = case["params"], integers(case, "labels")
    target, aux = floats(case, "feat_target", grad=True), floats(case, "feat_aux", grad=True)
    weight, heads = floats(case, "W_target"), floats(case, "W_aux")
    if weight.isnan().all():
        weight = torch.tensor(LOGITS_BEFORE_THE_STEP)[:, None].expand_as(weight) / weight.shape[1]
    method = _method(
        params["C"],
        target.shape[1],
        temperature=params["T"],
        omega=params["omega"],
        gamma=params["gamma"],
        neck="shared" if params["bnneck"] else "off",
        sp_source="logits",
    )
    method.beta = params["beta"]
    classifier, project = method.net.get_classifier(), method.certainty.project
    classifier.weight = torch.nn.Parameter(weight.clone())
    with torch.no_grad():
        for head, values in zip(method.heads, heads, strict=True):
            head.weight.copy_(values)
        for parameter, key in (
            (project[0].weight, "unc_W1"), (project[0].bias, "unc_b1"), (project[1].weight, "unc_prelu"),
            (project[2].weight, "unc_W2"), (project[2].bias, "unc_b2"),
        ):  # fmt: skip
            parameter.copy_(floats(case, key))
    rows = [dmue.branch_rows(labels, c) for c in range(params["C"])]
    others, own = ([aux[c][r[part]] for c, r in enumerate(rows)] for part in (0, 1))
    found = method.objective(target, others, own, labels, params["epoch"], official=True)
    grads = torch.autograd.grad(found["loss"], (target, classifier.weight, aux))
    features = None
    if not params["bnneck"]:
        each = [dmue.similarity_loss(target[r], x) for (r, _), x in zip(rows, others, strict=True)]
        features = torch.stack(each).mean()
    return {
        "similarity_scaled": found["scaled_similarity"],
        "score": found["score"],
        "logits_target": found["logits"],
        "logits_weighted": found["score"] * found["logits"],
        "soft_label": found["soft"],
        "L_soft": found["soft_label"],
        "L_sp": found["similarity"],
        "L_aux": found["auxiliary"],
        "L_sp_feature_variant_independent": features,
        "L_aux_per_branch": torch.stack(found["auxiliary_each"]),
        "L_wce": found["weighted_ce"],
        "w_up": dmue.ramp_up(params["epoch"], params["beta"]),
        "w_down": dmue.ramp_down(params["epoch"], params["beta"]),
        "total": found["loss"],
        "grad_feat_target": grads[0],
        "grad_W_target": grads[1],
        "grad_feat_aux_0": grads[2][0],
    }
