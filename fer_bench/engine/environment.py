"""Where a run ran: versions and hardware, for ``env.json`` and for estimates of time."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fer_bench.engine.arithmetic import Arithmetic
from fer_bench.engine.networks import make_network
from fer_bench.spec import Recipe

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` (malloc.h of the GNU C library)."""
PACKAGES = ("fer-bench", "torch", "torchvision", "timm", "numpy", "pillow")


def describe(device: str) -> dict[str, Any]:
    """Versions, platform and device, without names of hosts or users."""
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def measure_speed(recipe: Recipe, device: str) -> float:
    """Images per second of one job: a few forward and backward passes of the recipe's backbone on random images.

    Without an optimizer, which takes little of a step and whose first use imports torch's compiler for a second or two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        net = make_network(recipe.backbone, 7, seed=0, role="speed", pretrained="", weights=None).to(device).train()
        arithmetic = Arithmetic(replace(recipe, compile=False), torch.device(device))  # compiling takes longer
        arithmetic.adapt(net)
        arithmetic.active = True
        size = (recipe.batch_size, 3, recipe.image_size, recipe.image_size)
        images = torch.randn(size, device=device).contiguous(memory_format=torch.channels_last)
        spent: list[float] = []
        while len(spent) < 2 or (sum(spent) < 0.4 and len(spent) < 20):
            started = time.perf_counter()
            net(images).square().mean().backward()
            net.zero_grad()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            spent.append(time.perf_counter() - started)
        return recipe.batch_size * (len(spent) - 1) / sum(spent[1:])
    finally:
        torch.set_num_threads(before)


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
    """Bytes: allocated at most on a GPU, or resident at most in this process, libraries included; None where neither
    is known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the source tree that runs, "+" behind it if files differ; None for an installed package."""
    here = Path(__file__)

    def git(*words: str) -> str:
        call = ["git", "-C", str(here.parent), *words]
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", here.name
        )  # a repository that merely holds the virtual environment is not ours
        return git("describe", "--always", "--dirty=+", "--abbrev=12", "--match=") or None
    except (OSError, subprocess.SubprocessError):
        return None
