"""Scores of training labels that every run keeps: the lower, the more likely is a label wrong.

A score ranks the labels of one run. It is no probability, and it cannot be compared between runs or between scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FIT = ("fit_probability", "fit_margin", "fit_passes")
"""Arrays of ``scores.npz``: float32 [N], float32 [N] and int32 [N], sums over the passes of an image in training."""

SCORES = {
    "own": "the method's own score of a label",
    "loss": "final loss",
    "margin": "final margin",
    "mean_probability": "mean probability",
    "mean_margin": "mean margin",
}
"""Names and titles of the scores.

own
    ``Method.clean_score`` of a method that has one.
loss
    Minus the cross-entropy of the trained method's answer to the un-augmented image.
margin
    Logit of the label less the largest other logit, of the same answer.
mean_probability
    Probability of the label, averaged over the passes in which a network trained on the image: augmented, in training
    mode, before the update. Its average over training is a common detector of label errors.
mean_margin
    Logit margin, averaged in the same way: the area under the margin (Pleiss et al., "Identifying Mislabeled Data
    using the Area Under the Margin Ranking", NeurIPS 2020).

The two means are missing where a method trains on mixed images, on features or on a part of the images only, and in
runs of versions that did not keep them.
"""


ALWAYS = tuple(name for name in SCORES if name != "own")
"""The scores that do not depend on the method. Tables have measures of each, and those of the method's own score."""

USUAL = ("mean_probability", "own", "loss")
"""The score that ranks labels where none is named: the first of these that a run has."""

MEASURES = ("auroc", "ap", "missed")
"""How well a score finds wrong labels: :func:`fer_bench.metrics.detection` and :func:`fer_bench.metrics.missed`."""


def label_scores(arrays: Mapping[str, np.ndarray], detection_by: str) -> dict[str, np.ndarray]:
    """The scores of a run.

    Args:
        arrays: Arrays of ``scores.npz``.
        detection_by: ``detection_by`` of the results: "method" or "loss", what ``clean_score`` is.

    Returns:
        float64 [N] by name, in the order of SCORES; higher = the label is more likely right. Empty without arrays.
    """
    import numpy as np

    if not {"train_logits", "noisy_label", "clean_score"} <= arrays.keys():
        return {}
    found: dict[str, Any] = {"own": arrays["clean_score"]} if detection_by == "method" else {}
    logits, rows = arrays["train_logits"].astype(np.float64), np.arange(len(arrays["noisy_label"]))
    given = logits[rows, arrays["noisy_label"]]
    others = logits.copy()
    others[rows, arrays["noisy_label"]] = -np.inf
    found["loss"] = given - np.logaddexp.reduce(logits, axis=1) if found else arrays["clean_score"]
    found["margin"] = given - others.max(axis=1)
    if set(FIT) <= arrays.keys():
        probability, margin, passes = (arrays[name] for name in FIT)
        found |= {"mean_probability": probability / passes, "mean_margin": margin / passes}
    return {name: found[name].astype(np.float64) for name in SCORES if name in found}


def detection_columns(final: Mapping[str, Any]) -> dict[str, float | None]:
    """The measures of detection as columns, from the results of a run; None for what it does not have.

    ``detection_*`` are those of the method's own score, or of the final loss if it has none.
    """
    scores = final.get("label_scores", {})
    own = {**scores.get("own", scores.get("loss", {})), **final["detection"]}
    columns = {f"detection_{measure}": own.get(measure) for measure in MEASURES}
    for name in ALWAYS:
        columns |= {f"detection_{measure}_{name}": scores.get(name, {}).get(measure) for measure in MEASURES}
    return columns
