"""Labels that a method changes in its own memory; the data set's labels stay as they are."""

from __future__ import annotations

from torch import Tensor


def clearly_better_class(probabilities: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """(changed bool [B], best class int64 [B]) of probabilities [B, K]; changed where max_k P - P[y] > margin (strict).

    The first class wins a tie. The rule of the Self-Cure Network (``src/train.py``).
    """
    p_max, best = probabilities.max(dim=1)
    p_given = probabilities.gather(1, labels[:, None]).squeeze(1)
    return p_max - p_given > margin, best
