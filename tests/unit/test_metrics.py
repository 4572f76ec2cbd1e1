import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_bench import metrics


def logits_of(predictions, classes, sure=4.0):
    """Logits whose argmax is given, with one and the same margin."""
    result = np.zeros((len(predictions), classes), dtype=np.float32)
    result[np.arange(len(predictions)), predictions] = sure
    return result


def test_classification_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = metrics.classification(logits_of([0, 0, 0, 1, 1, 0], 2), labels)
    assert found["confusion"] == [[3, 1], [1, 1]]
    assert found["overall"] == pytest.approx(4 / 6)
    assert found["recall"] == [0.75, 0.5]
    assert found["mean"] == pytest.approx(0.625)
    assert found["worst"] == 0.5
    assert found["macro_f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    right, wrong = math.log1p(math.exp(-4)), math.log1p(math.exp(4))
    assert found["nll"] == pytest.approx((4 * right + 2 * wrong) / 6, rel=1e-9)
    # all samples are in one bin, with confidence sigmoid(4)
    assert found["ece"] == pytest.approx(1 / (1 + math.exp(-4)) - 4 / 6)
    json.dumps(found, allow_nan=False)


def test_absent_class_is_left_out_and_not_scored_one():
    found = metrics.classification(logits_of([0, 1, 1], 4), np.array([0, 0, 1]))
    assert found["recall"] == [0.5, 1.0, None, None]
    assert found["mean"] == 0.75


def test_ece_over_two_bins():
    confidence = np.array([0.95, 0.95, 0.62, 0.62])
    found = metrics.classification(np.log(np.stack([confidence, 1 - confidence], 1)), np.array([0, 0, 0, 1]))
    assert found["ece"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.12)


def test_certain_logits_are_not_softmaxed_twice():
    found = metrics.classification(logits_of([0, 1, 2], 7, sure=1e4), np.array([0, 1, 2]))
    assert found["ece"] == pytest.approx(0, abs=1e-9)
    assert found["nll"] == pytest.approx(0, abs=1e-9)
    assert found["overall"] == found["mean"] == found["macro_f1"] == 1


def test_logits_within_zero_and_one_are_logits_all_the_same():
    found = metrics.classification(np.array([[1.0, 0.0]]), np.array([0]))
    assert found["ece"] == pytest.approx(1 - 1 / (1 + math.exp(-1)))


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 10**6))
def test_classification_against_plain_sums(count, classes, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(count, classes)), rng.integers(classes, size=count)
    found = metrics.classification(torch.tensor(logits), torch.tensor(labels))
    predicted = logits.argmax(1)
    recalls, f1 = [], []
    for c in range(classes):
        hits = ((predicted == c) & (labels == c)).sum()
        if (labels == c).any():
            recalls.append(hits / (labels == c).sum())
        if (labels == c).any() or (predicted == c).any():
            f1.append(2 * hits / ((labels == c).sum() + (predicted == c).sum()))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    bins = np.ceil(p.max(1) * 15)
    right = predicted == labels
    ece = sum(abs(right[bins == b].sum() - p.max(1)[bins == b].sum()) for b in np.unique(bins)) / count
    assert found["overall"] == pytest.approx(right.mean())
    assert found["mean"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert found["nll"] == pytest.approx(-np.log(p[np.arange(count), labels]).mean())
    assert found["ece"] == pytest.approx(ece)


def test_classification_refuses_bad_input():
    good = logits_of([0, 1], 3)
    for value in (math.nan, math.inf, -math.inf):
        bad = good.copy()
        bad[1, 0] = value
        with pytest.raises(ValueError, match="1 of 2 samples are not finite"):
            metrics.classification(bad, np.array([0, 1]))
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="allowed: 0 to 2"):
            metrics.classification(good, np.array(labels))
    with pytest.raises(ValueError, match="3 labels for 2 rows"):
        metrics.classification(good, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="integers"):
        metrics.classification(good, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="not empty"):
        metrics.classification(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


def test_memorisation_by_hand():
    true, given_labels = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 0])
    predicted = np.array([0, 1, 1, 1, 1])
    expected = {"fit_noisy": 3 / 5, "fit_clean": 3 / 5, "memorised": 1 / 3}
    assert metrics.memorisation(predicted, given_labels, true) == pytest.approx(expected)
    assert metrics.memorisation(logits_of(predicted, 3), given_labels, true) == pytest.approx(expected)
    assert metrics.memorisation(predicted, true, true)["memorised"] is None
    with pytest.raises(ValueError, match="length"):
        metrics.memorisation(predicted, given_labels[:3], true)


def test_detection_by_hand():
    clean = np.array([True, True, False, True, False])
    assert metrics.detection(np.array([5, 4, 1, 3, 2]), clean) == {"auroc": 1.0, "ap": 1.0}
    assert metrics.detection(-np.array([5, 4, 1, 3, 2]), clean)["auroc"] == 0.0
    # wrong labels at places 1 and 3 of the list from suspicious to clean: pairs 3 + 2 of 6, precision 1 and 2/3
    found = metrics.detection(np.array([5, 4, 1, 2, 3]), clean)
    assert found == pytest.approx({"auroc": 5 / 6, "ap": (1 + 2 / 3) / 2})
    constant = metrics.detection(np.zeros(5), clean)
    assert constant == pytest.approx({"auroc": 0.5, "ap": 2 / 5})


def test_detection_does_not_depend_on_the_scale_of_a_score():
    rng = np.random.default_rng(0)
    score, clean = rng.normal(size=200), rng.random(200) < 0.7
    plain = metrics.detection(score, clean)
    assert metrics.detection(1000 * score - 5000, clean) == plain
    assert metrics.detection(torch.tensor(score) / 1e6, torch.tensor(clean)) == plain


def test_detection_without_two_kinds_and_with_bad_scores():
    for clean in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        assert metrics.detection(np.arange(3), clean) == {"auroc": None, "ap": None}
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        metrics.detection(np.array([0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match=r"\[N\]"):
        metrics.detection(np.zeros(3), np.array([True, False]))


def test_area_under_roc_counts_pairs():
    score = torch.tensor([0.1, 0.4, 0.4, 0.8, 0.3])
    right = torch.tensor([False, True, False, True, False])
    # of six pairs, one is a tie
    assert metrics.area_under_roc(score, right) == pytest.approx(5.5 / 6)
    assert metrics.area_under_roc(-score, right) == pytest.approx(0.5 / 6)
    for one_kind in (right | True, right & False):
        assert metrics.area_under_roc(score, one_kind) is None


def test_missed_by_hand():
    clean = np.array([True, True, False, True, False, False])
    assert metrics.missed(np.array([5, 4, 1, 3, 2, 0]), clean) == 0.0
    assert metrics.missed(np.array([0, 1, 5, 2, 4, 3]), clean) == 1.0
    assert metrics.missed(np.array([0, 5, 1, 4, 2, 3]), clean) == pytest.approx(1 / 3)
    assert metrics.missed(np.zeros(6), clean) == pytest.approx(1 / 2), "three of six tied labels, half of them wrong"
    assert metrics.missed(np.array([9, 1, 1, 1, 1, 0]), clean) == pytest.approx(1 - (1 + 2 * 2 / 4) / 3)
    for one_kind in (np.ones(3, bool), np.zeros(3, bool)):
        assert metrics.missed(np.arange(3), one_kind) is None
    with pytest.raises(ValueError, match="not finite"):
        metrics.missed(np.array([0, np.nan]), np.array([True, False]))
