"""Samplers: which class is drawn how often, and the rows that an epoch then visits.

The drawing follows the official objects of "Decoupling Representation and Classifier" (Kang et al., ICLR 2020;
classifier-balancing @ f162ade).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

Shuffle = Callable[[list[int]], None]
"""Shuffles a list in place, as ``random.shuffle`` does."""

TRIES = 100
"""Draws of a batch before the classes that it lacks are put into it."""


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


def balanced_rows(labels: Tensor, batch_size: int, least: int, generator: torch.Generator) -> Tensor:
    """As many draws with replacement as there are labels, each class that is present as likely as any other.

    Args:
        labels: int64 [N].
        batch_size: Size of the batches that the rows are split into.
        least: Rows of each present class that every batch holds, if it is large enough for that: a batch that lacks
            some is drawn again, and a short last batch is left out. 0 asks for nothing.
        generator: On the CPU, as are the labels.

    Returns:
        int64 [N], or fewer where a short last batch is left out.

    >>> labels = torch.tensor([0] * 30 + [1] * 2)
    >>> rows = balanced_rows(labels, 8, 2, torch.Generator().manual_seed(0))
    >>> [int((labels[batch] == 1).sum() >= 2) for batch in rows.split(8)]
    [1, 1, 1, 1]
    """
    classes, counts = labels.unique(return_counts=True)
    order, start = torch.sort(labels, stable=True).indices, counts.cumsum(0) - counts
    size = min(batch_size, len(labels))
    if least:
        batches = [_complete_draw(len(classes), size, least, generator) for _ in range(len(labels) // size)]
        drawn = torch.cat(batches)
    else:
        drawn = torch.randint(len(classes), (len(labels),), generator=generator)
    chance = torch.rand(len(drawn), generator=generator, dtype=torch.float64)
    return order[start[drawn] + (chance * counts[drawn]).long()]


def _complete_draw(classes: int, size: int, least: int, generator: torch.Generator) -> Tensor:
    """int64 [size]: a draw that has each class ``least`` times, if ``size`` can hold that."""
    fits = size >= least * classes
    for _ in range(TRIES if fits else 1):
        drawn = torch.randint(classes, (size,), generator=generator)
        if bool((torch.bincount(drawn, minlength=classes) >= least).all()):
            return drawn
    if not fits:
        return drawn
    rest = torch.randint(classes, (size - least * classes,), generator=generator)
    drawn = torch.cat([torch.arange(classes).repeat(least), rest])
    return drawn[torch.randperm(size, generator=generator)]


def class_budget(counts: Sequence[int], epoch: int, epochs: int) -> list[int]:
    """Samples of each class in an epoch, which go from the natural counts to equal ones over the training.

    ceil(((1 - e / E) n_c / N + (e / E) / C) N), and the rest for the last class. After rounding up, the rest
    can be negative.

    Args:
        counts: n_c, training images of each class.
        epoch: e, 0-based.
        epochs: E.

    Returns:
        As many numbers as there are classes, which sum to N.

    >>> [class_budget([6, 2], epoch, 2) for epoch in range(3)]
    [[6, 2], [5, 3], [4, 4]]
    """
    total, classes, share = sum(counts), len(counts), epoch / epochs
    budget = [math.ceil(((1 - share) * (n / total) + share * (1 / classes)) * total) for n in counts[:-1]]
    return [*budget, total - sum(budget)]


def budget_rows(labels: Tensor, budget: Mapping[int, int], generator: torch.Generator) -> Tensor:
    """Shuffled rows that keep a budget. Rows of a class come equally often, or once more than others.

    Args:
        labels: int64 [N].
        budget: Samples of each class that has any; a negative number is none.
        generator: On the CPU, as are the labels.

    Returns:
        int64 rows.

    >>> labels = torch.tensor([0, 0, 1])
    >>> labels[budget_rows(labels, {0: 1, 1: 3}, torch.Generator().manual_seed(0))].bincount()
    tensor([1, 3])
    """
    rows = []
    for c, number in budget.items():
        wanted = max(0, number)
        mine = (labels == c).nonzero().squeeze(1)
        rest = mine[torch.randperm(len(mine), generator=generator)][: wanted % len(mine)]
        rows += [mine.repeat(wanted // len(mine)), rest]
    drawn = torch.cat(rows)
    return drawn[torch.randperm(len(drawn), generator=generator)]
