"""What torch stores of a run: checkpoints that end in their own checksum, and networks. Read without running code."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

DIGEST = 32
"""Bytes of a sha256."""


def write_checkpoint(file: BinaryIO, state: dict[str, Any]) -> None:
    """Writes a state, and the sha256 of what was written behind it. OSError where the disk is full."""
    import torch

    summed = _Summed(file)
    try:
        torch.save(state, summed)  # type: ignore[arg-type]  # all it asks of a file is to be written to
    except RuntimeError as error:  # a full disk is an OSError only in the context of PyTorch's error
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    file.write(summed.sum.digest())


def read_checkpoint(content: bytes) -> dict[str, Any]:
    """The state of :func:`write_checkpoint`. ValueError where bytes are missing or changed."""
    content, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its end is missing or its bytes were changed")
    return load_state(content)


def save_state(state: dict[str, Any]) -> bytes:
    """A state dict as bytes."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_state(content: bytes) -> dict[str, Any]:
    """What torch stored, without running code from it."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


class _Summed(io.RawIOBase):
    """Passes on what is written, and knows its sha256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum = file, hashlib.sha256()

    def write(self, part: Any) -> int:
        self.sum.update(part)
        return self.file.write(part)
