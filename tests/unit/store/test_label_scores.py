"""Scores of labels come from the arrays of a run, by their formulas; measures of detection become columns."""

from __future__ import annotations

import numpy as np
import pytest

from fer_bench.store.label_scores import ALWAYS, MEASURES, SCORES, detection_columns, label_scores

LOGITS = np.array([[4.0, 1.0, 0.0], [2.0, 3.0, -1.0], [0.0, 0.0, 5.0]], np.float16)
ARRAYS = {"train_logits": LOGITS, "noisy_label": np.array([0, 0, 1]), "clean_score": np.array([-0.1, -2.0, -7.0])}
FIT = {
    "fit_probability": np.array([3.0, 1.0, 0.2], np.float32),
    "fit_margin": np.array([6.0, -2.0, -9.0], np.float32),
    "fit_passes": np.array([4, 2, 2], np.int32),
}


def test_scores_by_hand() -> None:
    found = label_scores({**ARRAYS, **FIT}, "method")
    assert list(found) == list(SCORES) and all(values.dtype == np.float64 for values in found.values())
    assert found["own"].tolist() == [-0.1, -2.0, -7.0]
    p = np.exp(LOGITS.astype(float))
    expected = np.log(p[[0, 1, 2], [0, 0, 1]] / p.sum(1))
    assert found["loss"] == pytest.approx(expected)
    assert found["margin"].tolist() == [3.0, -1.0, -5.0]
    assert found["mean_probability"] == pytest.approx([0.75, 0.5, 0.1])
    assert found["mean_margin"] == pytest.approx([1.5, -1.0, -4.5])


def test_the_loss_is_the_one_that_was_measured() -> None:
    """It was computed before the logits were rounded, and ``detection`` of the results is its measure."""
    found = label_scores(ARRAYS, "loss")
    assert list(found) == ["loss", "margin"] and found["loss"].tolist() == [-0.1, -2.0, -7.0]


def test_a_logit_of_the_largest_half_gives_finite_scores() -> None:
    arrays = ARRAYS | {"train_logits": np.array([[65504, -65504, 0]] * 3, np.float16)}
    assert all(np.isfinite(values).all() for values in label_scores(arrays, "method").values())


def test_without_arrays_there_are_no_scores() -> None:
    assert label_scores({}, "loss") == {} == label_scores({"clean_score": np.zeros(3)}, "loss")


def test_columns_of_older_and_newer_runs() -> None:
    older = detection_columns({"detection": {"auroc": 0.9, "ap": 0.8}})
    assert older["detection_auroc"] == 0.9 and older["detection_ap"] == 0.8
    assert len(older) == 3 * (1 + len(ALWAYS)) and sum(value is not None for value in older.values()) == 2
    measured = dict(zip(MEASURES, (0.7, 0.6, 0.3), strict=True))
    scores = {"loss": measured, "own": {**measured, "missed": 0.1}}
    newer = detection_columns({"detection": {"auroc": 0.9, "ap": 0.8}, "label_scores": scores})
    assert newer["detection_missed"] == 0.1 and newer["detection_missed_loss"] == 0.3
    assert newer["detection_auroc_loss"] == 0.7 and newer["detection_auroc_mean_margin"] is None
    del scores["own"]
    by_loss = detection_columns({"detection": {"auroc": 0.9, "ap": 0.8}, "label_scores": scores})
    assert by_loss["detection_missed"] == 0.3
