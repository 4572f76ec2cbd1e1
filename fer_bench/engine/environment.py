"""Where a run ran: versions and hardware, for ``env.json`` and for estimates of time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from fer_bench.core.machine import processor

PACKAGES = ("fer-bench", "torch", "torchvision", "timm", "numpy", "pillow")

VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)
"""Environment variables that choose other arithmetic, which can change the last digits of a number."""


def describe(device: str) -> dict[str, Any]:
    """Versions, platform, device, and the choices of arithmetic. There are no names of hosts or users."""
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.startswith("cuda") else None,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def version(package: str) -> str:
    """The version of an installed package; "?" where it is not installed, or does not tell."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


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
