"""What the checks look at: records of a run, arrays that can be reached, the state of the process, and files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench.store.folder import RunFolder


def records(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's epochs without the seconds that they took: equal for equal training."""
    lines = (folder.path / "epochs.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def same_tensors(a: Tensor, b: Tensor | None) -> bool:
    """Equal bit for bit, NaN included."""
    return (
        b is not None
        and a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    )


def lost_attributes(trained: torch.nn.Module, restored: torch.nn.Module) -> list[str]:
    """Names of plain attributes, such as ``memory`` or ``net.count``, that a loaded state does not bring back.

    Numbers, text, tensors, arrays, and lists and dictionaries of these are compared; other objects are passed over.
    """
    others = dict(restored.named_modules())
    return [
        f"{path}.{name}" if path else name
        for path, module in trained.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training" and path in others
        if not _same(value, vars(others[path]).get(name))
    ]


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, as far as that can be told."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and same_tensors(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return not isinstance(a, (bool, int, float, str, type(None))) or bool(a == b)


def reachable_arrays(value: Any, path: str, visited: set[int], depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of whole numbers or truth values that can be reached by attributes, items and closures.

    Yields:
        The way to an array from ``path``, and the array.
    """
    if id(value) in visited or depth > 6:
        return
    visited.add(id(value))
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biu":
            yield path, value
        return
    inside: dict[str, Any] = {}
    if isinstance(value, dict):
        inside = {f"{path}[{name!r}]": item for name, item in value.items()}
    elif isinstance(value, (list, tuple)):
        inside = {f"{path}[{number}]": item for number, item in enumerate(value)}
        if value and all(isinstance(item, (bool, int)) for item in value):
            yield path, np.array(value)
    elif hasattr(value, "__wrapped__") or getattr(value, "__closure__", None):
        cells = getattr(getattr(value, "__wrapped__", value), "__closure__", None) or ()
        inside = {f"{path}.closure[{number}]": _content(cell) for number, cell in enumerate(cells)}
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)):
        inside = {f"{path}.{name}": item for name, item in vars(value).items()}
    if getattr(value, "__self__", None) is not None and callable(value):
        return  # a bound method: its object is the run's private half
    for name, item in inside.items():
        yield from reachable_arrays(item, name, visited, depth + 1)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def process_state() -> dict[str, Any]:
    """Settings of the process that a method must leave as they are."""
    return {
        "default dtype": torch.get_default_dtype(),
        "thread count": torch.get_num_threads(),
        "gradient mode": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "working directory": str(Path.cwd()),
        "environment": dict(os.environ),
    }


_written: list[str] | None = None
_hooked = False


@contextmanager
def watched_writes() -> Iterator[list[str]]:
    """Collects the paths that this process writes, makes, renames or removes."""
    global _written, _hooked
    if not _hooked:
        sys.addaudithook(_audit)  # a hook cannot be removed; outside of this context it does nothing
        _hooked = True
    _written = []
    try:
        yield _written
    finally:
        _written = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and any(c in mode for c in "wax+")) or bool(
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        paths = [path] if writes else []
    else:
        paths = list(arguments[:2]) if event in ("os.rename", "os.link", "os.symlink") else []
        paths += [arguments[0]] if event in ("os.mkdir", "os.truncate") else []
        paths += [_below(*arguments)] if event in ("os.remove", "os.rmdir") else []
    _written.extend(os.fsdecode(path) for path in paths if isinstance(path, (str, bytes, os.PathLike)))


def _below(path: Any, folder: int) -> Any:
    """A path that is relative to an open folder, as ``shutil.rmtree`` names what it removes, from the root."""
    link = Path(f"/proc/self/fd/{folder}")
    return link.readlink() / os.fsdecode(path) if folder >= 0 and link.exists() else path


def is_write(path: str) -> bool:
    """Whether a path is a file of the user: no device and no byte code."""
    return path != os.devnull and "__pycache__" not in path and not path.startswith(("/dev/", "/proc/"))
