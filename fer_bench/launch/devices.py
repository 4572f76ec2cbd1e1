"""Which devices train, and how many runs at a time."""

from __future__ import annotations

import os

from fer_bench.core.errors import require
from fer_bench.launch import Launcher
from fer_bench.sweep.plan import PlannedRun


def check_compiled(todo: list[PlannedRun], devices: list[str]) -> None:
    """SpecError where networks are to be compiled on one of the devices and nothing can be compiled there."""
    if any(run.spec.recipe.compile for run in todo):
        from fer_bench.models.precision import check_compiler

        for kind in sorted({device.partition(":")[0] for device in devices}):
            check_compiler(kind)


def choose_places(
    launcher: Launcher, device: str, jobs: int | None, runs: int, jobs_per_device: int | None = None
) -> list[str]:
    """The devices of :func:`choose_devices`, or none where another machine trains. SpecError for options of the local
    pool that would be ignored there."""
    if launcher.local:
        return choose_devices(device, jobs, runs, jobs_per_device)
    require(
        device == "auto" and jobs is None and jobs_per_device is None,
        f"--jobs and --device are for --launcher local, as is --jobs-per-device; {launcher.name} has --launcher-option "
        "gpus=1, cpus=4, …",
    )
    return []


def choose_devices(device: str, jobs: int | None, runs: int, jobs_per_device: int | None = None) -> list[str]:
    """One device for each worker process, ``jobs`` of them in turns on the devices, or ``jobs_per_device`` on each; by
    default every GPU, or one worker for each core. Never more workers than runs, and at least one.

    ``device`` is auto, cpu, cuda (every GPU) or a list as "cuda:0,cuda:1". SpecError for a missing device, a number
    below 1, or both numbers.
    """
    import torch

    gpus = torch.cuda.device_count()
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cpu":
        places = ["cpu"]
        default = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    else:
        places = list(dict.fromkeys(place for part in device.split(",") for place in _gpus(part.strip(), device, gpus)))
        default = len(places)
    for option, number in (("--jobs", jobs), ("--jobs-per-device", jobs_per_device)):
        require(number is None or number >= 1, f"{option} {number}: at least 1 is needed")
    require(
        jobs is None or jobs_per_device is None,
        f"--jobs {jobs} and --jobs-per-device {jobs_per_device} contradict each other: give one of them",
    )
    wanted = len(places) * jobs_per_device if jobs_per_device else jobs or default
    return [places[i % len(places)] for i in range(max(1, min(wanted, runs or 1)))]


def _gpus(part: str, device: str, gpus: int) -> list[str]:
    """The devices of one part of the list ``device`` on a machine with ``gpus`` GPUs. SpecError where there is none."""
    kind, _, number = part.partition(":")
    require(
        kind == "cuda" and (not number or number.isdigit()),
        f"--device {device!r}; there are: auto, cpu, cuda, cuda:N, cuda:N,cuda:M",
    )
    require(gpus > int(number or 0), f"--device {part}: this machine has {gpus} CUDA devices")
    return [f"cuda:{int(number)}"] if number else [f"cuda:{i}" for i in range(gpus)]
