"""Small-loss selection: keep the part of a batch that is likely clean, and forget more of it as training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["paper", "official"]

Counting = Literal["at-least-one", "official"]


def keep_count(size: int, forget_rate: float, counting: Counting = "at-least-one") -> int:
    """How many of ``size`` samples are kept at a forget rate r.

    "official" is ``int((1 - r) * size)`` in double precision: it loses one sample where the product lands just below an
    integer ((1 - 0.8) * 10 -> 1) and can be 0, which makes a mean loss NaN. "at-least-one" is the exact floor, and at
    least 1. (Co-teaching ``loss.py``, JoCoR ``algorithm/loss.py``.)
    """
    if counting == "official":
        return int((1 - forget_rate) * size)
    return max(1, math.floor((1 - forget_rate) * size + 1e-9))


def small_loss(per_sample: Tensor, count: int) -> Tensor:
    """Positions of the ``count`` smallest entries of ``per_sample`` [B], in ascending order of loss: int64 [count].

    Ties go to the lower position (stable sort). No gradient flows through the choice.
    """
    return torch.sort(per_sample.detach(), stable=True).indices[:count]


def membership(positions: Tensor, size: int) -> Tensor:
    """bool [size]: true at ``positions`` int64 [n]."""
    mask = torch.zeros(size, dtype=torch.bool, device=positions.device)
    mask[positions] = True
    return mask


def clean_score_from_losses(last_loss: Tensor) -> Tensor:
    """Minus the last loss of every sample [N]; a sample that was never seen (NaN) gets the mean of the others."""
    score = -last_loss
    return torch.where(score.isnan(), score.nanmean(), score)


def default_num_gradual(epochs: int) -> int:
    """T_k for a budget: the papers' 10 epochs, or a quarter of a budget of fewer than 40 (2 at least)."""
    return 10 if epochs >= 40 else max(2, epochs // 4)


def forget_rate_at(
    epoch: int, tau: float, num_gradual: int, exponent: float = 1.0, schedule: Schedule = "paper"
) -> float:
    """The forget rate r_e of a 0-based epoch e; it grows to ``tau`` within T_k = ``num_gradual`` epochs.

    "paper":    r_e = tau * min((e / T_k)^c, 1), the exponent c acting on time.
    "official": r_e = tau^c * e / (T_k - 1) for e < T_k, then tau: the exponent acts on the rate, so for c != 1 the ramp
    ends at tau^c and jumps to tau. T_k = 1 gives 0, tau, tau, ... (``main.py`` of Co-teaching, ``jocor.py`` of JoCoR.)
    """
    if schedule == "paper":
        return tau * min((epoch / num_gradual) ** exponent, 1.0)
    if epoch >= num_gradual:
        return tau
    return tau**exponent * epoch / (num_gradual - 1) if num_gradual > 1 else 0.0


def official_learning_rate(epoch: int, epochs: int, lr: float, decay_start: int) -> float:
    """Constant up to ``decay_start``, then lr * (E - e) / (E - start) (official ``adjust_learning_rate``)."""
    return lr if epoch < decay_start else lr * (epochs - epoch) / (epochs - decay_start)


def official_beta1(epoch: int, decay_start: int) -> float:
    """Adam's beta1 of the official scripts: 0.9, and 0.1 from ``decay_start`` on."""
    return 0.9 if epoch < decay_start else 0.1


def set_official_schedule(
    optimizers: Iterable[torch.optim.Optimizer], epoch: int, epochs: int, lr: float, decay_start: int | None
) -> None:
    """Sets the official learning rate of an epoch and, for Adam, beta1; no ``decay_start`` = 40 % of the budget."""
    start = int(0.4 * epochs) if decay_start is None else decay_start
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = official_learning_rate(epoch, epochs, lr, start)
            if "betas" in group:
                group["betas"] = (official_beta1(epoch, start), group["betas"][1])


def disagreement(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """bool [B]: where the best classes of two predictions [B, C] differ; the first class wins a tie. No gradient."""
    return logits_a.detach().max(dim=1).indices != logits_b.detach().max(dim=1).indices


def small_loss_exchange(
    per_sample_a: Tensor, per_sample_b: Tensor, members: Tensor, count: int, divide_twice: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(L_a, L_b, S_a, S_b): each network's mean loss over what has a small loss for the OTHER, within ``members``.

    ``per_sample_a`` and ``per_sample_b`` are losses [B], ``members`` int64 [m] positions of the batch; S_k int64
    [count] are the members with the smallest ``per_sample_k``, as positions of the batch. ``divide_twice`` divides the
    means once more by ``count``. (``loss.py`` of Co-teaching and of Co-teaching+.)
    """
    kept_a = members[small_loss(per_sample_a[members], count)]
    kept_b = members[small_loss(per_sample_b[members], count)]
    loss_a, loss_b = per_sample_a[kept_b].mean(), per_sample_b[kept_a].mean()
    if divide_twice:
        loss_a, loss_b = loss_a / count, loss_b / count
    return loss_a, loss_b, kept_a, kept_b


def positions(mask: Tensor) -> Tensor:
    """int64 [n]: the positions of the true entries of ``mask`` bool [B], in order."""
    return torch.nonzero(mask).squeeze(1)


def clearly_better_class(probabilities: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """(changed bool [B], best class int64 [B]) of probabilities [B, K]; changed where max_k P - P[y] > margin (strict).

    The first class wins a tie. The rule of the Self-Cure Network (``src/train.py``).
    """
    p_max, best = probabilities.max(dim=1)
    p_given = probabilities.gather(1, labels[:, None]).squeeze(1)
    return p_max - p_given > margin, best
