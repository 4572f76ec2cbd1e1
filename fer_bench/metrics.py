"""What is measured: test performance, memorisation of wrong labels, and detection of wrong labels.

All values are fractions in [0, 1] except the negative log-likelihood (nats). Values that do not exist (the recall of a
class without test images, the share of wrong labels in a clean set) are None, never 0 or 1. Everything is computed in
float64 on the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

ECE_BINS = 15
"""Equal-width bins of confidence (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""


def classification(logits: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> dict[str, Any]:
    """Test metrics.

    Args:
        logits: Float [N, C], finite.
        labels: Integers [N] in [0, C).

    Returns:
        overall: Share of correct predictions.
        mean: Mean recall over the classes that have test images (balanced accuracy).
        worst: The smallest of those recalls.
        macro_f1: Mean F1 over the classes that occur among labels or predictions.
        nll: Mean negative log-likelihood, nats.
        ece: Expected calibration error: over 15 equal-width bins of confidence, the mean absolute difference between
            accuracy and confidence, weighted by the samples of a bin.
        recall: [C], None for a class without test images.
        confusion: [C, C] counts, rows true, columns predicted.

    Raises:
        ValueError: The logits are empty or not finite, or the labels do not fit them.

    >>> found = classification([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]], [0, 0, 0, 1])
    >>> found["overall"], found["recall"], found["mean"], found["confusion"]
    (0.75, [0.6666666666666666, 1.0], 0.8333333333333333, [[2, 1], [0, 1]])
    """
    scores, truth = _logits(logits), _integers(labels, "labels")
    count, classes = scores.shape
    _check_range(truth, count, classes, "labels")
    predicted = scores.argmax(1)
    confusion = torch.bincount(classes * truth + predicted, minlength=classes**2).view(classes, classes)
    counts, hits = confusion.sum(1), confusion.diagonal()
    recalls = [int(hits[c]) / int(counts[c]) if counts[c] else None for c in range(classes)]
    present = [r for r in recalls if r is not None]
    occurrences = counts + confusion.sum(0)
    f1 = 2 * hits.double() / occurrences
    return {
        "overall": int(hits.sum()) / count,
        "mean": sum(present) / len(present),
        "worst": min(present),
        "macro_f1": float(f1[occurrences > 0].mean()),
        "nll": float(torch.nn.functional.cross_entropy(scores, truth)),
        "ece": _calibration_error(scores.softmax(1).amax(1), predicted == truth),
        "recall": recalls,
        "confusion": confusion.tolist(),
    }


def memorisation(
    output: ArrayLike | Tensor, noisy_label: ArrayLike | Tensor, clean_label: ArrayLike | Tensor
) -> dict[str, float | None]:
    """How a network fits its training set.

    Args:
        output: Logits [N, C] or predicted classes [N].
        noisy_label: Integers [N], the labels that were trained on.
        clean_label: Integers [N], the reference labels.

    Returns:
        fit_noisy: Share of predictions equal to the noisy label.
        fit_clean: Share equal to the clean label.
        memorised: Among samples whose noisy label is wrong, share predicted as that wrong label; None if there are
            none.

    Raises:
        ValueError: The lengths differ, or there are no samples.

    >>> memorisation([0, 1, 1, 0], noisy_label=[0, 1, 1, 1], clean_label=[0, 0, 1, 0])
    {'fit_noisy': 0.75, 'fit_clean': 0.75, 'memorised': 0.5}
    """
    noisy, clean = _integers(noisy_label, "noisy labels"), _integers(clean_label, "clean labels")
    output = torch.as_tensor(output)
    predicted = _logits(output).argmax(1) if output.ndim == 2 else _integers(output, "predictions")
    if not predicted.shape == noisy.shape == clean.shape or not len(noisy):
        raise ValueError(
            f"predictions, noisy and clean labels differ in length or are empty: {len(predicted)}, {len(noisy)}, "
            f"{len(clean)}"
        )
    fits, wrong = predicted == noisy, noisy != clean
    return {
        "fit_noisy": float(fits.double().mean()),
        "fit_clean": float((predicted == clean).double().mean()),
        "memorised": float(fits[wrong].double().mean()) if wrong.any() else None,
    }


def detection(clean_score: ArrayLike | Tensor, is_clean: ArrayLike | Tensor) -> dict[str, float | None]:
    """How well a score finds wrong labels, which are the positives.

    Args:
        clean_score: Float [N], finite; higher = the label is more likely clean.
        is_clean: Bool [N].

    Returns:
        auroc: As :func:`area_under_roc`.
        ap: Average precision.
        Both are None unless there are clean and wrong labels.

    Raises:
        ValueError: The lengths differ, or a score is not finite.

    >>> detection([0.9, 0.1, 0.8, 0.4], [True, False, True, True])
    {'auroc': 1.0, 'ap': 1.0}
    """
    score, wrong = _scored_labels(clean_score, is_clean)
    auroc = area_under_roc(-score, wrong)
    if auroc is None:
        return {"auroc": None, "ap": None}
    from sklearn.metrics import average_precision_score  # slow to import, and needed at the end of a run only

    return {"auroc": auroc, "ap": float(average_precision_score(wrong.numpy(), -score.numpy()))}


def missed(clean_score: ArrayLike | Tensor, is_clean: ArrayLike | Tensor) -> float | None:
    """The share of wrong labels that stay hidden if as many labels are checked as are wrong, lowest scores first.

    This is the false-negative rate at a budget equal to the noise rate. Where scores tie at the end of the budget, it
    is the mean over all orders of the tied labels.

    Args:
        clean_score: Float [N], finite; higher = the label is more likely clean.
        is_clean: Bool [N].

    Returns:
        A value in [0, 1], or None unless there are clean and wrong labels.

    Raises:
        ValueError: The lengths differ, or a score is not finite.

    >>> missed([0.9, 0.1, 0.8, 0.4], [True, False, True, False])
    0.0
    >>> missed([0.9, 0.4, 0.1, 0.4], [True, False, True, False])
    0.5
    """
    score, wrong = _scored_labels(clean_score, is_clean)
    budget = int(wrong.sum())
    if budget in (0, len(wrong)):
        return None
    last = score.sort().values[budget - 1]
    below, tied = score < last, score == last
    found = wrong[below].sum() + wrong[tied].double().mean() * (budget - below.sum())
    return float(1 - found / budget)


def _scored_labels(clean_score: ArrayLike | Tensor, is_clean: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Scores float64 [N] and whether labels are wrong, bool [N]. ValueError unless they fit and scores are finite."""
    score = torch.as_tensor(clean_score).detach().cpu().double()
    wrong = ~torch.as_tensor(is_clean).detach().cpu().bool()
    if score.ndim != 1 or score.shape != wrong.shape:
        raise ValueError(f"clean_score {tuple(score.shape)} and is_clean {tuple(wrong.shape)} must both be [N]")
    if not score.isfinite().all():
        raise ValueError(f"clean_score: {int((~score.isfinite()).sum())} of {len(score)} values are not finite")
    return score, wrong


def area_under_roc(score: Tensor, positive: Tensor) -> float | None:
    """The chance that a positive sample scores above a negative one, plus half the chance of a tie.

    Args:
        score: Float [N], finite, on the CPU.
        positive: Bool [N].

    Returns:
        A value in [0, 1], or None unless there are positive and negative samples.

    >>> area_under_roc(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([True, True, False, False]))
    0.875
    """
    if not positive.any() or positive.all():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive.numpy(), score.numpy()))


def _calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """The expected calibration error of confidences float64 [N] in [0, 1] and ``correct`` bool [N]."""
    bins = (confidence * ECE_BINS).long().clamp(max=ECE_BINS - 1)
    gaps = torch.zeros(ECE_BINS, dtype=torch.float64).index_add_(0, bins, correct.double() - confidence)
    return float(gaps.abs().sum() / len(confidence))


def _logits(values: ArrayLike | Tensor) -> Tensor:
    """Finite float64 [N, C] on the CPU, N and C at least 1."""
    logits = torch.as_tensor(values).detach().cpu().double()
    if logits.ndim != 2 or not logits.numel():
        raise ValueError(f"logits must be [N, C] and not empty, not {tuple(logits.shape)}")
    bad = ~logits.isfinite().all(1)
    if bad.any():
        rows = bad.nonzero().squeeze(1).tolist()
        raise ValueError(
            f"logits of {len(rows)} of {len(logits)} samples are not finite (first: row {rows[0]}); training diverged"
        )
    return logits


def _integers(values: ArrayLike | Tensor, what: str) -> Tensor:
    """int64 [N] on the CPU."""
    integers = torch.as_tensor(np.asarray(values) if isinstance(values, (list, tuple)) else values).detach().cpu()
    if integers.ndim != 1 or (len(integers) and (integers.is_floating_point() or integers.is_complex())):
        raise ValueError(f"{what} must be integers [N], not {integers.dtype} {tuple(integers.shape)}")
    return integers.long()


def _check_range(labels: Tensor, count: int, classes: int, what: str) -> None:
    if len(labels) != count:
        raise ValueError(f"{len(labels)} {what} for {count} rows of logits")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{what} run from {int(labels.min())} to {int(labels.max())}; allowed: 0 to {classes - 1}")
