"""Settings that were chosen for a long training, in a shorter one."""

from __future__ import annotations

from fer_bench.method import Task


def total_steps(task: Task) -> int:
    """Steps of the recipe's epochs, a last short batch of an epoch included.

    >>> import torch
    >>> total_steps(Task(2, 100, torch.tensor([50, 50]), epochs=3, batch_size=64))
    6
    """
    return task.epochs * -(-task.num_samples // task.batch_size)


def warm_up_share(task: Task, share: float, steps: int, most: float) -> float:
    """The share of the training that a warm-up takes.

    A network from random weights needs steps, not a share of the training, before its predictions say anything.

    Args:
        task: Gives the length of the training.
        share: The official share.
        steps: The official number of steps. A short training has a longer warm-up, which holds as many.
        most: The share that a warm-up takes at most for the sake of ``steps``.

    Returns:
        max(share, min(most, steps / all steps)).

    >>> import torch
    >>> short, long = (Task(2, 640, torch.tensor([320, 320]), epochs=e, batch_size=64) for e in (14, 1400))
    >>> [warm_up_share(task, 0.1, 960, 0.3) for task in (short, long)]
    [0.3, 0.1]
    """
    return max(share, min(most, steps / total_steps(task)))


def scaled_momentum(momentum: float, official: int, actual: int) -> float:
    """The momentum of a moving average that reaches over the same share of a shorter training.

    m^(official / actual), so that after the whole training the first value has the weight that it has officially.

    Args:
        momentum: m, the official share that an update keeps.
        official: Updates of the official training.
        actual: Updates of this training. From ``official`` on, m stays as it is.

    >>> round(scaled_momentum(0.999, 7600, 76), 3), scaled_momentum(0.9, 200, 400)
    (0.905, 0.9)
    """
    return momentum ** max(1.0, official / actual)


def first_relabelling_epoch(task: Task) -> int:
    """The epoch, counted from 1, from which on SCN's rule relabels (Self-Cure-Network @ 9f4c3ad, src/train.py).

    Officially 10 of 70, after 9 epochs of 192 steps. In a short training networks have as many steps before, or two
    thirds of the epochs.

    >>> import torch
    >>> [first_relabelling_epoch(Task(2, 12271, torch.tensor([6135, 6136]), epochs, 64)) for epochs in (14, 70)]
    [10, 10]
    """
    return 1 + max(1, round(warm_up_share(task, 9 / 70, 9 * 192, 2 / 3) * task.epochs))
