"""What is stored of networks: checkpoints that end in their own checksum, and models. No code in them is run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

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


@dataclass(frozen=True)
class StoredModel:
    """A trained method as a safetensors file holds it.

    Attributes:
        state: The method's state dict.
        notes: What is needed to use it: texts by name.
    """

    state: Mapping[str, Tensor]
    notes: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The content of the file. A tensor that has two names is stored twice."""
        from safetensors.torch import save

        separate = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.state.items()}
        return save(separate, dict(self.notes))

    @classmethod
    def from_bytes(cls, content: bytes) -> StoredModel:
        """What :meth:`to_bytes` wrote. SafetensorError or ValueError where it is damaged."""
        from safetensors.torch import load

        state = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return cls(state, header.get("__metadata__", {}))


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
