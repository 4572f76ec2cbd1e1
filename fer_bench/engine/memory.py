"""Memory: how the allocator is set, and the peak of a run."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

import torch

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` (malloc.h of the GNU C library)."""


def keep_freed_memory() -> None:
    """Lets this process keep freed memory for its next step; nothing where there is no GNU C library.

    By default every step gives megabytes back to the kernel and takes them again page by page; blocks of more than 32
    MiB, batches of large images, whatever its limits are. So no block is a mapping of its own.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, 1 << 30)


def forget_peak_memory(device: torch.device) -> None:
    """Begins the measurement of :func:`peak_memory` anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak becomes the present size


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that were allocated on a GPU, or resident in this process, libraries included.

    None where neither is known.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
