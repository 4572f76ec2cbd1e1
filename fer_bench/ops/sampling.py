"""Samplers of long-tailed recognition: which class is drawn how often, and the rows that an epoch then visits.

The drawing follows the official objects of "Decoupling Representation and Classifier" (Kang et al., ICLR 2020;
classifier-balancing @ f162ade).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

Shuffle = Callable[[list[int]], None]
"""Shuffles a list in place, as ``random.shuffle`` does."""


def class_probability(counts: Tensor, q: float) -> Tensor:
    """p_j = n_j^q / sum_k n_k^q over the present classes: float64 [C] of counts [C].

    q = 1 is the natural distribution, q = 0 the balanced one, q = 0.5 the square root of the natural one.
    """
    weight = torch.where(counts > 0, counts.double() ** q, 0.0)
    return weight / weight.sum()


def progressive_probability(
    counts: Tensor, epoch: int, epochs: int, formula: Literal["official", "paper"] = "official"
) -> Tensor:
    """(1 - a) natural + a balanced: float64 [C], in the 0-based ``epoch`` of ``epochs``.

    "official": a = t / (T - 1), balanced in the last epoch. "paper": a = t / T, which never gets there.
    """
    steps = epochs if formula == "paper" else max(1, epochs - 1)
    a = min(1.0, epoch / steps)
    return (1 - a) * class_probability(counts, 1.0) + a * class_probability(counts, 0.0)


def generator_shuffle(generator: torch.Generator) -> Shuffle:
    """A shuffle that draws from ``generator``."""

    def shuffle(items: list[int]) -> None:
        items[:] = [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]

    return shuffle


def shuffled_cycle(items: list[int], shuffle: Shuffle) -> Iterator[int]:
    """The items without end: each round in a new order, shuffled when the round begins, on top of the last order."""
    items = list(items)
    while True:
        shuffle(items)
        yield from items


def class_aware_rows(labels: Tensor, draws: int, per_class: int, shuffle: Shuffle) -> Tensor:
    """Rows int64 [draws] with every present class equally often (the official ClassAwareSampler).

    Classes come from a shuffled cycle, so each comes once in every C blocks; a block is ``per_class`` samples of the
    class in a row, from a shuffled cycle of its own, so no sample comes again before all others of its class did.
    """
    classes = shuffled_cycle(labels.unique().tolist(), shuffle)
    rows = {c: shuffled_cycle((labels == c).nonzero().squeeze(1).tolist(), shuffle) for c in labels.unique().tolist()}
    drawn: list[int] = []
    while len(drawn) < draws:
        block = rows[next(classes)]
        drawn.extend(next(block) for _ in range(per_class))
    return torch.tensor(drawn[:draws], dtype=torch.int64)


def independent_rows(labels: Tensor, probability: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Rows int64 [draws], independent and with replacement: a class by ``probability`` [C], any of its samples."""
    counts = torch.bincount(labels, minlength=len(probability))
    weight = (probability / counts.clamp(min=1))[labels]
    return torch.multinomial(weight, draws, replacement=True, generator=generator)


def class_cycle_rows(labels: Tensor, probability: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Rows int64 [draws]: classes are independent by ``probability`` [C], the samples of a class go round in a shuffled
    cycle (the official ClassPrioritySampler)."""
    classes = torch.multinomial(probability, draws, replacement=True, generator=generator)
    rows = torch.empty(draws, dtype=torch.int64)
    for c in classes.unique().tolist():
        mine, places = (labels == c).nonzero().squeeze(1), (classes == c).nonzero().squeeze(1)
        rounds = -(-len(places) // len(mine))
        order = torch.cat([torch.randperm(len(mine), generator=generator) for _ in range(rounds)])
        rows[places] = mine[order[: len(places)]]
    return rows
