"""What is measured: test performance, memorisation of wrong labels, and detection of wrong labels.

All values are fractions in [0, 1] except the negative log-likelihood (nats). Values that do not exist (the recall of a
class without test images, the share of wrong labels in a clean set) are None, never 0 or 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

ECE_BINS = 15
"""Equal-width bins of confidence (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""


def classification(logits: ArrayLike | torch.Tensor, labels: ArrayLike | torch.Tensor) -> dict[str, Any]:
    """Test metrics of logits [N, C] against labels [N] int64.

    overall    share of correct predictions
    mean       mean recall over the classes that have test images (balanced accuracy)
    worst      the smallest of those recalls
    macro_f1   mean F1 over the classes that occur among labels or predictions
    nll        mean negative log-likelihood, nats
    ece        expected calibration error, L1, 15 equal-width bins
    recall     [C], None for a class without test images
    confusion  [C][C] counts, rows true, columns predicted
    """
    from torchmetrics.functional import classification as tm

    scores, truth = _logits(logits), _integers(labels, "labels")
    classes = scores.shape[1]
    _check_range(truth, len(scores), classes, "labels")
    # Given values outside [0, 1] torchmetrics applies a softmax of its own: rounding just above 1 would bring a second
    # one about.
    probabilities = scores.softmax(1).clamp(0, 1)
    confusion = tm.multiclass_confusion_matrix(scores.argmax(1), truth, num_classes=classes)
    counts, hits = confusion.sum(1), confusion.diagonal()
    recalls = [int(hits[c]) / int(counts[c]) if counts[c] else None for c in range(classes)]
    present = [r for r in recalls if r is not None]
    return {
        "overall": int(hits.sum()) / len(truth),
        "mean": sum(present) / len(present),
        "worst": min(present),
        "macro_f1": float(tm.multiclass_f1_score(scores.argmax(1), truth, num_classes=classes, average="macro")),
        "nll": float(torch.nn.functional.cross_entropy(scores, truth)),
        "ece": float(tm.multiclass_calibration_error(probabilities, truth, num_classes=classes, n_bins=ECE_BINS)),
        "recall": recalls,
        "confusion": confusion.tolist(),
    }


def memorisation(
    output: ArrayLike | torch.Tensor, given: ArrayLike | torch.Tensor, true: ArrayLike | torch.Tensor
) -> dict[str, float | None]:
    """How a network fits its training set. ``output``: logits [N, C] or predicted classes [N]; labels [N] int64.

    fit_noisy   share of predictions equal to the labels that were trained on
    fit_clean    share equal to the reference labels
    memorised   among samples whose given label is wrong, share predicted as that wrong label; None if there are none
    """
    given, true = _integers(given, "given labels"), _integers(true, "true labels")
    output = torch.as_tensor(output)
    predicted = _logits(output).argmax(1) if output.ndim == 2 else _integers(output, "predictions")
    if not predicted.shape == given.shape == true.shape or not len(given):
        raise ValueError(
            f"predictions, given and true labels differ in length or are empty: {len(predicted)}, {len(given)}, "
            f"{len(true)}"
        )
    fits, wrong = predicted == given, given != true
    return {
        "fit_noisy": float(fits.double().mean()),
        "fit_clean": float((predicted == true).double().mean()),
        "memorised": float(fits[wrong].double().mean()) if wrong.any() else None,
    }


def detection(clean_score: ArrayLike | torch.Tensor, is_clean: ArrayLike | torch.Tensor) -> dict[str, float | None]:
    """How well a score finds WRONG labels: area under the ROC curve and average precision, wrong = positive.

    ``clean_score`` [N], higher = label more likely clean; ``is_clean`` [N] bool. Both are None unless there are clean
    and wrong labels. With ties AUROC is the chance of a pair plus half the chance of a tie.
    """
    from torchmetrics.functional import classification as tm

    score = torch.as_tensor(clean_score).detach().cpu().double()
    wrong = ~torch.as_tensor(is_clean).detach().cpu().bool()
    if score.ndim != 1 or score.shape != wrong.shape:
        raise ValueError(f"clean_score {tuple(score.shape)} and is_clean {tuple(wrong.shape)} must both be [N]")
    if not score.isfinite().all():
        raise ValueError(f"clean_score: {int((~score.isfinite()).sum())} of {len(score)} values are not finite")
    if not wrong.any() or wrong.all():
        return {"auroc": None, "ap": None}
    # Outside [0, 1] torchmetrics applies a sigmoid, which saturates and ties large scores. Ranks in [0, 1] keep the
    # order and the ties, and both measures depend on nothing else.
    rank = torch.unique(-score, return_inverse=True)[1].double()
    rank /= max(float(rank.max()), 1.0)
    return {
        "auroc": float(tm.binary_auroc(rank, wrong.long())),
        "ap": float(tm.binary_average_precision(rank, wrong.long())),
    }


def _logits(values: ArrayLike | torch.Tensor) -> torch.Tensor:
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


def _integers(values: ArrayLike | torch.Tensor, what: str) -> torch.Tensor:
    """int64 [N] on the CPU."""
    integers = torch.as_tensor(np.asarray(values) if isinstance(values, (list, tuple)) else values).detach().cpu()
    if integers.ndim != 1 or (len(integers) and (integers.is_floating_point() or integers.is_complex())):
        raise ValueError(f"{what} must be integers [N], not {integers.dtype} {tuple(integers.shape)}")
    return integers.long()


def _check_range(labels: torch.Tensor, count: int, classes: int, what: str) -> None:
    if len(labels) != count:
        raise ValueError(f"{len(labels)} {what} for {count} rows of logits")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{what} run from {int(labels.min())} to {int(labels.max())}; allowed: 0 to {classes - 1}")
