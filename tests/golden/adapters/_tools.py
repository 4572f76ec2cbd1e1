"""What several adapters share: turning the numbers of a case into tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def dtype_of(case: dict[str, Any]) -> torch.dtype:
    """The floating type a case was computed in: its own field, or that of its parameters; else float64."""
    name = case.get("dtype") or case.get("params", {}).get("dtype") or "float64"
    return DTYPES[str(name).removeprefix("torch.")]


def numbers(value: Any) -> Any:
    """Nested lists with the strings "nan", "inf" and "-inf" turned into floats."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def floats(case: dict[str, Any], key: str, grad: bool = False) -> Tensor:
    """An input of the case as a floating tensor of its type, a leaf with a gradient if asked for."""
    return torch.tensor(numbers(case["inputs"][key]), dtype=dtype_of(case)).requires_grad_(grad)


def integers(case: dict[str, Any], key: str) -> Tensor:
    """An input of the case as int64."""
    return torch.tensor(case["inputs"][key], dtype=torch.int64)


def pick(case: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The outputs that the case names."""
    return {key: found[key] for key in case["outputs"]}


def expect(case: dict[str, Any], **fixed: Any) -> None:
    """Checks parameters that an adapter has a fixed value for; a case may leave them out.

    Raises:
        NotImplementedError: A case has another value.
    """
    for name, value in fixed.items():
        told = case["params"].get(name, value)
        if told != value:
            raise NotImplementedError(f"{case['name']}: {name} is {told!r}, and the adapter computes {value!r} only")


def remarks(case: dict[str, Any], *names: str) -> None:
    """Marks parameters as read that say nothing about the numbers, such as the seed of the inputs."""
    for name in names:
        case["params"].get(name)
