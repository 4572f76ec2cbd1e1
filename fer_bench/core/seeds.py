"""Randomness as a function: every random draw in fer-bench is named, so no draw depends on what ran before it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one named purpose: the first 8 bytes of sha256 over ``seed`` and ``purpose``.

    ``derive(0, "order", epoch)`` is the same on every machine, in every process and after any resume, and two
    purposes never share a stream.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator (Philox, the same stream on every platform) for one named purpose."""
    return np.random.Generator(np.random.Philox(derive(seed, *purpose)))


def torch_generator(seed: int, *purpose: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for one named purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))


def uniform_by_id(seed: int, purpose: str, ids: list[str] | np.ndarray, draws: int = 1) -> np.ndarray:
    """Uniform numbers in [0, 1) that belong to an image's id and not to its place in a file: float64 [N, draws].

    Label noise and sub-sampling drawn from these are independent of file order, and nested across rates.
    """
    digests = b"".join(
        hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=8 * draws).digest() for name in ids
    )
    return (np.frombuffer(digests, dtype=">u8").reshape(len(ids), draws) >> np.uint64(11)) * 2.0**-53


def pick(chances: np.ndarray, uniform: np.ndarray, default: np.ndarray) -> np.ndarray:
    """A class for each row of ``chances`` [N, C] (any scale) by inversion; ``default`` where all are 0: int64 [N]."""
    cumulative = np.cumsum(chances, axis=1, dtype=np.float64)
    total = cumulative[:, -1:]
    # divided by its own last value the sum ends in exactly 1, so that no uniform number falls behind it
    cumulative = np.divide(cumulative, total, out=np.ones_like(cumulative), where=total > 0)
    return np.where(total[:, 0] > 0, (cumulative <= uniform[:, None]).sum(1), default)
