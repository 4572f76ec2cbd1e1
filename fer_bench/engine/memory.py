"""Memory: how the allocator is set, and the peak of a run."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` (malloc.h of the GNU C library)."""

FRESH_MARK = "5"
"""Written to ``/proc/self/clear_refs``, it makes ``VmHWM`` the present size of the process (man 5 proc)."""


def keep_freed_memory() -> None:
    """Lets this process keep freed memory for its next step; nothing where there is no GNU C library.

    By default every step gives megabytes back to the kernel and takes them again page by page; blocks of more than 32
    MiB, batches of large images, whatever its limits are. So no block is a mapping of its own.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, 1 << 30)


class PeakMemory:
    """The most memory that is held at once from now on: of one run, and not of those that the process trained before.

    On a GPU these are the bytes that PyTorch allocated. On the CPU they are the resident bytes of this process,
    libraries included; they are known on Linux alone, and where the process may reset its high-water mark.
    """

    def __init__(self, device: torch.device) -> None:
        gc.collect()  # networks of an earlier run may be in cycles
        self._device, self._earlier = device, 0
        self._known = _reset(device)

    @property
    def bytes(self) -> int | None:
        """The peak so far, with that of the earlier parts of the run; None where it is not known."""
        now = _read(self._device) if self._known else None
        return None if now is None else max(now, self._earlier)

    def state(self) -> dict[str, Any]:
        """The peak so far and what it is a peak of, for a checkpoint."""
        return {"device": self._device.type, "bytes": self.bytes}

    def add(self, earlier: Mapping[str, Any]) -> None:
        """Counts an earlier part of the run, as :meth:`state` gave it. After another device the peak is unknown."""
        peak = earlier.get("bytes")
        self._known = self._known and peak is not None and earlier.get("device") == self._device.type
        self._earlier = max(self._earlier, peak or 0)


def _reset(device: torch.device) -> bool:
    """Whether the peak that :func:`_read` gives is now the present size."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what keep_freed_memory kept of an earlier run
    try:
        Path("/proc/self/clear_refs").write_text(FRESH_MARK)
    except OSError:
        return False
    return True


def _read(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
