"""Named randomness: every random draw has a name, so that it does not depend on what ran before."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Derives a 63-bit seed for a purpose: the first 8 bytes of sha256 over ``seed`` and ``purpose``, halved.

    It is the same on every machine, in every process and after any resume. Two purposes never share a stream.

    >>> derive(0, "order", 3) == derive(0, "order", 3) != derive(0, "order", 4)
    True
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """Makes a NumPy generator for a purpose (Philox: the same stream on every platform)."""
    return np.random.Generator(np.random.Philox(derive(seed, *purpose)))


def torch_generator(seed: int, *purpose: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """Makes a torch generator on ``device`` for a purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))


def uniform_by_id(seed: int, purpose: str, ids: list[str] | np.ndarray, draws: int = 1) -> np.ndarray:
    """Draws uniform numbers in [0, 1) that belong to the ids of images and not to their order.

    Label noise and sub-sampling drawn from them do not depend on the order of files, and are nested across rates.

    Args:
        seed: The seed of the data.
        purpose: What the numbers are for.
        ids: [N] str.
        draws: Numbers for each image.

    Returns:
        float64 [N, draws].
    """
    digests = b"".join(
        hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=8 * draws).digest() for name in ids
    )
    return (np.frombuffer(digests, dtype=">u8").reshape(len(ids), draws) >> np.uint64(11)) * 2.0**-53


def pick(chances: np.ndarray, uniform: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Draws a class for each row by inversion.

    Args:
        chances: [N, C], weights of the classes on any scale.
        uniform: [N], a uniform number for each row.
        default: [N] int64, the class of rows whose weights are all 0.

    Returns:
        int64 [N].
    """
    cumulative = np.cumsum(chances, axis=1, dtype=np.float64)
    total = cumulative[:, -1:]
    # divided by its own last value the sum ends in exactly 1, so that no uniform number falls behind it
    cumulative = np.divide(cumulative, total, out=np.ones_like(cumulative), where=total > 0)
    return np.where(total[:, 0] > 0, (cumulative <= uniform[:, None]).sum(1), default)
