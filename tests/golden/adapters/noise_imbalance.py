"""Golden cases of noise and imbalance, through fer_bench.data.noise.apply and fer_bench.data.imbalance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer_bench.data import imbalance
from fer_bench.data.noise import instance, summary, transition
from fer_bench.data.noise.numbers import ORDERS

RAF = np.array([1290, 281, 717, 4772, 1982, 705, 2524])
"""RAF-DB's training counts, in the order of RAF-DB (two outputs are stated for RAF-DB without giving them)."""

KINDS = {
    "symmetric_excl": "symmetric",
    "symmetric_incl": "symmetric-inclusive",
    "pairflip": "pair",
    "frequency_proportional": "frequency",
    "class_dependent_lanet": "class-dependent",
}


def compute(case: dict[str, Any]) -> dict[str, Any]:
    """The outputs that ``case["outputs"]`` names, computed by the project."""
    found = FAMILIES[case["name"].split("/")[0]](case)
    return {key: found[key] for key in case["outputs"]}


def _transition(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    kind = KINDS[case["name"].split("/")[1]]
    counts = np.asarray(inputs["counts"], dtype=float) if "counts" in inputs else None
    classes = ORDERS["RAF-DB"] if kind == "class-dependent" else params.get("C", 7 if counts is None else len(counts))
    if "map" in inputs:
        ours = transition.weights(kind, classes).argmax(1).tolist()
        if ours != inputs["map"]:
            raise ValueError(f"the case's map {inputs['map']} is not LA-Net's {ours}")
    matrix = transition.transition_matrix(kind, params["rate"], classes, counts=counts)
    # for kinds that flip every class alike the flip rate does not depend on the counts
    equal = summary.describe(matrix)
    result = {"T": matrix, "true_flip_rate": equal["realised_rate"]}
    if len(matrix) == len(RAF):
        result["expected_noisy_counts_raf"] = summary.describe(RAF[:, None] * matrix)["noisy_counts"]
    if counts is not None:
        result["expected_noisy_counts"] = summary.describe(counts[:, None] * matrix)["noisy_counts"]
    return result


def _joint(case: dict[str, Any]) -> dict[str, Any]:
    counts = np.asarray(case["inputs"]["clean_counts"], dtype=float)
    matrix = transition.transition_matrix("symmetric", case["params"]["rate"], len(counts))
    found = summary.describe(counts[:, None] * matrix)
    return {
        "expected_noisy_counts": found["noisy_counts"],
        "purity": found["purity"],
        "noisy_IF": found["noisy_imbalance"],
    }


def _published(case: dict[str, Any]) -> dict[str, Any]:
    """Label lists that may not be shipped: their count matrix, which is among the outputs, stands for the file.

    It is spelled out as label pairs, and the rates and counts derived from those are a check. The matrix itself only
    makes a round trip through ``summary``: that it comes back says nothing about the published file.
    """
    case["inputs"].get("path")  # of a file that may not be shipped
    cells = np.asarray(case["outputs"]["count_matrix_rows_clean_cols_noisy"], dtype=np.int64)
    true, given = (axis.ravel().repeat(cells.ravel()) for axis in np.indices(cells.shape))
    found = summary.summary(true, given, len(cells))
    return {
        "count_matrix_rows_clean_cols_noisy": found["confusion"],
        "n": found["n"],
        "flip_rate": found["realised_rate"],
        "per_class_flip_rate": [f / n for f, n in zip(found["flips"], found["clean_counts"], strict=True)],
        "noisy_counts": found["noisy_counts"],
    }


def _long_tail(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    kind = "step" if case["name"].split("/")[1].startswith("step") else "exp"
    if "available" not in inputs:
        # the profile itself: ours keeps an image of a class that it would leave empty
        plan = imbalance.describe(np.full(params["C"], params["n_max"]), params["IF"], kind)
        counts = np.asarray(plan["ideal"])
        # the official loops run over C // 2 classes twice; that loses a middle class of an odd number, ours does not
        official = np.concatenate([counts[: len(counts) // 2], counts[len(counts) - len(counts) // 2 :]])
        return {"counts": counts, "counts_official": official, "length": len(official)}
    available = np.asarray(inputs["available"], dtype=np.int64)
    if "IF" not in params:
        return {"IF": imbalance.imbalance_factor(available)}
    if params.get("order_desc", order := np.argsort(-available, kind="stable").tolist()) != order:
        raise NotImplementedError(f"{case['name']}: another order than that of the counts")
    found = imbalance.describe(available, params["IF"], kind)
    return {
        "ideal": found["ideal"],
        "kept": found["kept"],
        "total": found["total"],
        "realised_IF": found["factor"],
        "largest_uncapped_n_max": found["exact_head"],
        "uncapped_counts": found["exact_counts"],
    }


def _part_dependent(case: dict[str, Any]) -> dict[str, Any]:
    inputs, params = case["inputs"], case["params"]
    if case["name"].split("/")[1] == "truncnorm_mean":
        drawn = instance.truncated(params["rate"], params["std"])
        return {"mean": float(drawn.mean()), "std": float(drawn.std())}
    params.get("dtype")  # all are computed in float64, and compared as the case says
    labels = np.asarray(inputs["y"], dtype=np.int64)
    x, projection, q = (np.asarray(inputs[name], dtype=np.float64) for name in ("x", "W", "q"))
    found = instance.ptd_probabilities(x, labels, projection, q)
    return {"P": found, "row_sum": found.sum(1), "diag": found[np.arange(len(labels)), labels]}


FAMILIES = {
    "T": _transition,
    "joint": _joint,
    "published_file": _published,
    "lt": _long_tail,
    "ptd": _part_dependent,
}
