"""Seeds for libraries that take no torch generator."""

from __future__ import annotations

import torch


def integer_seed(generator: torch.Generator) -> int:
    """The seed of a generator, in [0, 2**32): for numpy and scikit-learn.

    It is what the generator was seeded with, not a draw: a second call gives the same number, and on a GPU nothing
    waits. Ask for one stream (``run.generator(name)``) for each use.

    >>> integer_seed(torch.Generator().manual_seed(7))
    7
    """
    return generator.initial_seed() % 2**32
