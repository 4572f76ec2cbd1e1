"""Probes of the checks: records of a run, state of the process, calls that are watched."""

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

# --- helpers ------------------------------------------------------------------------------------------------------


def records(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's epochs without the seconds that they took: equal for equal training."""
    lines = (folder.path / "epochs.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def _same(a: Tensor, b: Tensor | None) -> bool:
    """Equal bit for bit, NaN included."""
    return (
        b is not None
        and a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    )


def _arrays(value: Any, path: str, visited: set[int], depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Every whole-number or boolean array that can be reached by attributes, items and closures, with the way to it."""
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
        inside = {f"{path}[{place}]": item for place, item in enumerate(value)}
        if value and all(isinstance(item, (bool, int)) for item in value):
            yield path, np.array(value)
    elif hasattr(value, "__wrapped__") or getattr(value, "__closure__", None):
        cells = getattr(getattr(value, "__wrapped__", value), "__closure__", None) or ()
        inside = {f"{path}.closure[{place}]": _content(cell) for place, cell in enumerate(cells)}
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)):
        inside = {f"{path}.{name}": item for name, item in vars(value).items()}
    if getattr(value, "__self__", None) is not None and callable(value):
        return  # a bound method: its object is the run's private half
    for name, item in inside.items():
        yield from _arrays(item, name, visited, depth + 1)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _process() -> dict[str, Any]:
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
def _watched() -> Iterator[list[str]]:
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
    place = Path(f"/proc/self/fd/{folder}")
    return place.readlink() / os.fsdecode(path) if folder >= 0 and place.exists() else path


def _counts(path: str) -> bool:
    return path != os.devnull and "__pycache__" not in path and not path.startswith(("/dev/", "/proc/"))
