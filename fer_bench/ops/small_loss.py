"""Small-loss selection: keep the part of a batch that is likely clean, and forget more of it during the training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["paper", "official"]

Counting = Literal["at-least-one", "official"]


def keep_count(size: int, forget_rate: float, counting: Counting = "at-least-one") -> int:
    """How many samples are kept.

    Args:
        size: Samples to choose from.
        forget_rate: r in [0, 1].
        counting: "at-least-one" is the exact floor of (1 - r) size, and at least 1. "official" is
            ``int((1 - r) * size)`` in double precision: it loses one sample where the product lands just below an
            integer, and it can be 0, which makes a mean loss NaN. (Co-teaching ``loss.py``, JoCoR
            ``algorithm/loss.py``.)

    >>> keep_count(10, 0.8), keep_count(10, 0.8, "official"), keep_count(10, 1.0)
    (2, 1, 1)
    """
    if counting == "official":
        return int((1 - forget_rate) * size)
    return max(1, math.floor((1 - forget_rate) * size + 1e-9))


def small_loss(per_sample: Tensor, count: int) -> Tensor:
    """Positions of the smallest losses. Ties go to the lower position. No gradient flows through the choice.

    Args:
        per_sample: [B], losses.
        count: How many.

    Returns:
        int64 [count], in ascending order of loss.

    >>> small_loss(torch.tensor([3.0, 1.0, 2.0, 1.0]), 3)
    tensor([1, 3, 2])
    """
    return torch.sort(per_sample.detach(), stable=True).indices[:count]


def membership(positions: Tensor, size: int) -> Tensor:
    """Mask bool [size] that is true at ``positions`` int64 [n].

    >>> membership(torch.tensor([2, 0]), 4)
    tensor([ True, False,  True, False])
    """
    mask = torch.zeros(size, dtype=torch.bool, device=positions.device)
    mask[positions] = True
    return mask


def clean_score_from_losses(last_loss: Tensor) -> Tensor:
    """Minus the last loss of every sample [N]; a sample that was never seen (NaN) gets the mean of the others.

    >>> clean_score_from_losses(torch.tensor([1.0, float("nan"), 3.0]))
    tensor([-1., -2., -3.])
    """
    score = -last_loss
    return torch.where(score.isnan(), score.nanmean(), score)


def default_num_gradual(epochs: int) -> int:
    """T_k for a budget of epochs: the papers' 10, or a quarter of a budget of fewer than 40, and at least 2.

    >>> [default_num_gradual(epochs) for epochs in (4, 20, 200)]
    [2, 5, 10]
    """
    return 10 if epochs >= 40 else max(2, epochs // 4)


def forget_rate_at(
    epoch: int, tau: float, num_gradual: int, exponent: float = 1.0, schedule: Schedule = "paper"
) -> float:
    """The forget rate r_e of an epoch.

    (``main.py`` of Co-teaching, ``jocor.py`` of JoCoR.)

    Args:
        epoch: e, 0-based.
        tau: The final rate, in [0, 1].
        num_gradual: T_k, epochs within which the rate grows to ``tau``.
        exponent: c, above 0.
        schedule: "paper" is tau min((e / T_k)^c, 1): the exponent acts on time. "official" is tau^c e / (T_k - 1) for
            e < T_k, then tau: the exponent acts on the rate, so that for c != 1 the ramp ends at tau^c and jumps to
            tau. T_k = 1 gives 0, tau, tau, ...

    >>> [forget_rate_at(epoch, 0.4, 2) for epoch in range(4)]
    [0.0, 0.2, 0.4, 0.4]
    >>> [forget_rate_at(epoch, 0.4, 2, schedule="official") for epoch in range(3)]
    [0.0, 0.4, 0.4]
    """
    if schedule == "paper":
        return tau * min((epoch / num_gradual) ** exponent, 1.0)
    if epoch >= num_gradual:
        return tau
    return tau**exponent * epoch / (num_gradual - 1) if num_gradual > 1 else 0.0


def official_learning_rate(epoch: int, epochs: int, lr: float, decay_start: int) -> float:
    """Constant up to ``decay_start``, then lr * (E - e) / (E - start) (official ``adjust_learning_rate``).

    >>> [official_learning_rate(epoch, 4, 0.1, 2) for epoch in range(4)]
    [0.1, 0.1, 0.1, 0.05]
    """
    return lr if epoch < decay_start else lr * (epochs - epoch) / (epochs - decay_start)


def official_beta1(epoch: int, decay_start: int) -> float:
    """Adam's beta1 of the official scripts: 0.9, and 0.1 from ``decay_start`` on."""
    return 0.9 if epoch < decay_start else 0.1


def set_official_schedule(
    optimizers: Iterable[torch.optim.Optimizer], epoch: int, epochs: int, lr: float, decay_start: int | None
) -> None:
    """Sets the official learning rate of an epoch and, for Adam, beta1.

    Args:
        optimizers: All of the method.
        epoch: 0-based.
        epochs: The budget.
        lr: The rate before the decay.
        decay_start: First epoch of the decay; None = 40 % of the budget.
    """
    start = int(0.4 * epochs) if decay_start is None else decay_start
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = official_learning_rate(epoch, epochs, lr, start)
            if "betas" in group:
                group["betas"] = (official_beta1(epoch, start), group["betas"][1])


def disagreement(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Mask bool [B]: where the best classes of two predictions [B, C] differ. The first class wins a tie. No gradient.

    >>> disagreement(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor([ True, False])
    """
    return logits_a.detach().max(dim=1).indices != logits_b.detach().max(dim=1).indices


def small_loss_exchange(
    per_sample_a: Tensor, per_sample_b: Tensor, count: int, members: Tensor | None = None, divide_twice: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each network's mean loss over the samples that have a small loss for the OTHER network.

    (``loss.py`` of Co-teaching and of Co-teaching+.)

    Args:
        per_sample_a: [B], losses of network a.
        per_sample_b: [B], losses of network b.
        count: How many samples are kept.
        members: int64 [m], positions of the batch to choose from; None = all.
        divide_twice: True divides the means once more by ``count``, as officially.

    Returns:
        (L_a, L_b, S_a, S_b): two scalars, and the positions int64 [count] with the smallest loss for a and for b. L_a
        is a mean over S_b, and L_b over S_a.

    >>> a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([6.0, 5.0, 4.0])
    >>> small_loss_exchange(a, b, 1)
    (tensor(3.), tensor(6.), tensor([0]), tensor([2]))
    >>> small_loss_exchange(a, b, 1, members=torch.tensor([1, 2]))
    (tensor(3.), tensor(5.), tensor([1]), tensor([2]))
    """
    kept_a, kept_b = (
        small_loss(losses, count) if members is None else members[small_loss(losses[members], count)]
        for losses in (per_sample_a, per_sample_b)
    )
    loss_a, loss_b = per_sample_a[kept_b].mean(), per_sample_b[kept_a].mean()
    if divide_twice:
        loss_a, loss_b = loss_a / count, loss_b / count
    return loss_a, loss_b, kept_a, kept_b


def positions(mask: Tensor) -> Tensor:
    """int64 [n]: the positions of the true entries of ``mask`` bool [B], in order.

    >>> positions(torch.tensor([False, True, True]))
    tensor([1, 2])
    """
    return torch.nonzero(mask).squeeze(1)


def clearly_better_class(probabilities: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Which labels the Self-Cure Network would change, and to what.

    (``src/train.py``.)

    Args:
        probabilities: P [B, K].
        labels: y int64 [B].
        margin: A label is changed where max_k P - P[y] > margin.

    Returns:
        changed bool [B], and the best class int64 [B]. The first class wins a tie.

    >>> clearly_better_class(torch.tensor([[0.2, 0.8], [0.4, 0.6]]), torch.tensor([0, 0]), 0.25)
    (tensor([ True, False]), tensor([1, 1]))
    """
    p_max, best = probabilities.max(dim=1)
    p_label = probabilities.gather(1, labels[:, None]).squeeze(1)
    return p_max - p_label > margin, best
