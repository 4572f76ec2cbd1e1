"""Samplers: which class is drawn how often, and the rows that an epoch then visits.

The drawing follows the official objects of "Decoupling Representation and Classifier" (Kang et al., ICLR 2020;
classifier-balancing @ f162ade).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Shuffle = Callable[[list[int]], None]
"""Shuffles a list in place, as ``random.shuffle`` does."""


def class_probability(counts: Tensor, q: float) -> Tensor:
    """p_j = n_j^q / sum_k n_k^q over the present classes.

    Args:
        counts: [C], training images of each class.
        q: 1 is the natural distribution, 0 the balanced one, 0.5 the square root of the natural one.

    Returns:
        float64 [C], 0 for an absent class.

    >>> class_probability(torch.tensor([1, 9, 0]), 0.5)
    tensor([0.2500, 0.7500, 0.0000], dtype=torch.float64)
    """
    weight = torch.where(counts > 0, counts.double() ** q, 0.0)
    return weight / weight.sum()


def generator_shuffle(generator: torch.Generator) -> Shuffle:
    """A shuffle that draws from ``generator``.

    >>> items = [1, 2, 3]
    >>> generator_shuffle(torch.Generator().manual_seed(0))(items)
    >>> sorted(items)
    [1, 2, 3]
    """

    def shuffle(items: list[int]) -> None:
        items[:] = [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]

    return shuffle


def shuffled_cycle(items: list[int], shuffle: Shuffle) -> Iterator[int]:
    """The items without end. Each round has a new order, which is shuffled from the last one when the round begins.

    >>> from itertools import islice
    >>> list(islice(shuffled_cycle([1, 2, 3], list.reverse), 7))
    [3, 2, 1, 1, 2, 3, 3]
    """
    items = list(items)
    while True:
        shuffle(items)
        yield from items


def independent_rows(labels: Tensor, probability: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Independent draws with replacement: a class by its probability, then any of its samples.

    Args:
        labels: int64 [N].
        probability: [C]; a class without samples is never drawn.
        draws: How many.
        generator: On the CPU, as are the labels.

    Returns:
        int64 [draws], rows.

    >>> labels = torch.tensor([0, 0, 0, 1])
    >>> independent_rows(labels, torch.tensor([0.0, 1.0]), 3, torch.Generator().manual_seed(0))
    tensor([3, 3, 3])
    """
    counts = torch.bincount(labels, minlength=len(probability))
    weight = (probability / counts.clamp(min=1))[labels]
    return torch.multinomial(weight, draws, replacement=True, generator=generator)
