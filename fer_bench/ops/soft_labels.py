"""Labels that are distributions over the classes."""

from __future__ import annotations

from torch import Tensor


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum_k p_k^(1/T): T < 1 raises the largest entries, T = 1 changes nothing.

    D. Berthelot et al. "MixMatch: A Holistic Approach to Semi-Supervised Learning". NeurIPS 2019.

    Args:
        probabilities: [..., C], distributions.
        temperature: T, above 0.

    Returns:
        [..., C], distributions.

    >>> sharpen(torch.tensor([0.25, 0.75]), 0.5)
    tensor([0.1000, 0.9000])
    """
    # Divided by the largest entry first: no power of a small temperature then underflows in all classes.
    powers = (probabilities / probabilities.amax(dim=-1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(dim=-1, keepdim=True)
