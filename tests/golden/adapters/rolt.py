"""Golden cases of RoLT, through fer_bench_methods.rolt."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.ldam_drw as ldam_drw
import fer_bench_methods.rolt as rolt
import torch
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import GaussianPair, effective_number_weights, two_gaussians
from tests.golden.adapters._tools import floats, integers, pick

OFFICIAL_EPOCHS = 200


def compute(case: dict[str, Any]) -> dict[str, Any]:
    return pick(case, FAMILIES[case["name"].partition("/")[0]](case))


def _prototypes(case: dict[str, Any]) -> dict[str, Any]:
    features, labels = floats(case, "features"), integers(case, "labels")
    kept = torch.tensor(case["inputs"].get("mask", [True] * len(labels)))
    mean = features.mean(dim=0)
    rows = {"un": features, "l2n": rolt.centred(features, torch.zeros_like(mean)), "cl2n": rolt.centred(features, mean)}
    classes = int(labels.max()) + 1
    return {"mean": mean} | {name: rolt.class_means(x, labels, kept, classes) for name, x in rows.items()}


def _distances(case: dict[str, Any]) -> dict[str, Any]:
    x = rolt.centred(floats(case, "query"), floats(case, "mean"))
    logits = rolt.distance_logits(x, floats(case, "centroids"))
    return {"logits": logits, "nearest": logits.argmax(dim=1)}


def _gmm_em(case: dict[str, Any]) -> dict[str, Any]:
    params, values = case["params"], floats(case, "values")
    start = GaussianPair(floats(case, "means"), floats(case, "variances"), floats(case, "weights"))
    order = [0, 1] if start.means[0] <= start.means[1] else [1, 0]

    def fitted(rounds: int, tol: float) -> GaussianPair:
        return two_gaussians(values, 0, rounds, tol, params["reg_covar"], start)

    def named(pair: GaussianPair) -> dict[str, Any]:
        parameters = {"means": pair.means, "variances": pair.variances, "weights": pair.weights}
        return {"iterations": pair.rounds} | {name: value[order] for name, value in parameters.items()}

    last = fitted(params["max_iter"], params["tol"])
    # the likelihood that ended the fit is that of the parameters before its last round
    before = fitted(last.rounds - 1, 0.0) if last.rounds > 1 else start
    share = last.posterior(values)
    return {
        "steps": [named(fitted(rounds, 0.0)) for rounds in params["steps"]],
        "converged": named(last) | {"mean_log_likelihood": before.log_joint(values).logsumexp(dim=1).mean()},
        "responsibilities": share[:, order],
        "component": share[:, order].argmax(dim=1),
        "kept": share.argmax(dim=1) == 1,
    }


def _gmm_fit(case: dict[str, Any]) -> dict[str, Any]:
    values = floats(case, "values")
    pair = two_gaussians(values, rolt.RANDOM_STATE)
    return {
        "means": pair.means,
        "variances": pair.variances,
        "weights": pair.weights,
        "iterations": pair.rounds,
        "kept": rolt.near_members(values),
        "probability_of_larger_mean": pair.posterior(values)[:, 1],
    }


def _mask(case: dict[str, Any]) -> dict[str, Any]:
    return {"mask": rolt.split(floats(case, "distance_logits"), integers(case, "labels"))[0]}


class _Wide(nn.Module):
    """A network of which only the width of the classifier is asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def get_classifier(self) -> nn.Linear:
        return nn.Linear(self.width, 1)


def _cleaning(case: dict[str, Any]) -> dict[str, Any]:
    params, given = case["params"], integers(case, "noisy_labels")
    features, logits = floats(case, "features_by_call"), floats(case, "logits_by_call")
    count, classes = len(given), params["num_classes"]
    config = rolt.Rolt.Config(drw=params["drw"], ensemble="official")
    method = rolt.Rolt(config, Task(classes, count, torch.bincount(given, minlength=classes), OFFICIAL_EPOCHS, count))
    method.build(lambda role: _Wide(features.shape[2]))
    method.double()
    current, rows, calls = given, torch.arange(count), []
    for epoch, f, z in zip(params["epochs"], features, logits, strict=True):
        method.clean(f, z, given, epoch)
        first_deferred = method.deferred(epoch - 1) and not method.deferred(epoch - 2)
        # with the LDAM loss, whose margins follow them, surrogates are renewed from the end of the warm-up on
        renewed = params["ldam"] and epoch > method.warmup_epochs and not method.deferred(epoch - 1)
        if first_deferred or renewed:
            method.fix_surrogates(given)
            current = method.surrogate.clone()
        weights, labels = method.targets(rows, given, epoch - 1)
        calls.append(
            {
                "ensemble_logits": method.average_logits.clone(),
                "ensemble_distance_logits": method.average_distance.clone(),
                "prediction": method.average_logits.argmax(dim=1),
                "nearest": method.average_distance.argmax(dim=1),
                "mask": method.kept.clone(),
                "soft_targets": labels,
                "soft_weights": weights,
                "current_labels": current,
                "centroids": method.prototypes.clone(),
            }
        )
    return {"calls": calls}


def _loss(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params, logits = case["inputs"], case["params"], floats(case, "logits", grad=True)
    labels = integers(case, "soft_targets")[:, integers(case, "index")]
    weights = floats(case, "class_weight") if "class_weight" in inputs else None
    if "ldam_counts" in inputs:
        margins = ldam_drw.class_margins(integers(case, "ldam_counts"), params["max_m"], official=True)
        terms = (ldam_drw.ldam_loss(logits, y, margins, params["s"], weights) for y in labels)
        loss = sum(w * term for w, term in zip(inputs["soft_weights"], terms, strict=True))
    else:
        loss = rolt.pseudo_label_loss(logits, inputs["soft_weights"], labels, weights)
    return {"loss": loss, "grad_logits": torch.autograd.grad(loss, logits)[0]}


def _class_weights(case: dict[str, Any]) -> dict[str, Tensor]:
    return {"weights": effective_number_weights(integers(case, "counts"), case["params"]["beta"], official=True)}


FAMILIES = {
    "prototypes": _prototypes,
    "distances": _distances,
    "gmm_em": _gmm_em,
    "gmm_fit": _gmm_fit,
    "mask": _mask,
    "cleaning": _cleaning,
    "loss": _loss,
    "class_weights": _class_weights,
}
