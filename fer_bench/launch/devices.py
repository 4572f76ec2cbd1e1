"""Which devices train, and how many runs at a time."""

from __future__ import annotations

import multiprocessing
import os

from fer_bench.core.errors import require
from fer_bench.launch.launcher import Launcher
from fer_bench.sweep.plan import PlannedRun


def check_compiled(todo: list[PlannedRun], devices: list[str]) -> None:
    """SpecError where networks are to be compiled on one of the devices and nothing can be compiled there."""
    if any(run.spec.recipe.compile for run in todo):
        from fer_bench.models.precision import check_compiler

        for kind in sorted({device.partition(":")[0] for device in devices}):
            check_compiler(kind)


def devices_for(
    launcher: Launcher, device: str, jobs: int | None, runs: int, jobs_per_device: int | None = None
) -> list[str]:
    """The devices of :func:`choose_devices` for the local launcher; none where other machines train.

    Raises:
        SpecError: A device is missing, a number is below 1, another launcher is given options of the local one, or
            this process may not start workers.
    """
    if launcher.local:
        require(
            not multiprocessing.current_process().daemon,
            "Python lets this daemonic process start no workers: call fer-bench from a thread, or from a process with "
            "daemon=False",
        )
        return choose_devices(device, jobs, runs, jobs_per_device)
    require(
        device == "auto" and jobs is None and jobs_per_device is None,
        f"--jobs, --jobs-per-device and --device are for --launcher local; {launcher.name} has --launcher-option "
        "gpus=1, cpus=4, …",
    )
    return []


def choose_devices(device: str, jobs: int | None, runs: int, jobs_per_device: int | None = None) -> list[str]:
    """One device for each worker process.

    Args:
        device: auto, cpu, cuda (every GPU), or a list as "cuda:0,cuda:1".
        jobs: Number of workers, which take turns on the devices. By default one for each GPU, or one for each core.
        runs: Number of runs. There are never more workers than runs, and at least one.
        jobs_per_device: Number of workers on each device, in place of ``jobs``.

    Raises:
        SpecError: A device is missing, a number is below 1, or both numbers are given.
    """
    import torch

    gpus = torch.cuda.device_count()
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cpu":
        names = ["cpu"]
        default = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    else:
        names = list(dict.fromkeys(name for part in device.split(",") for name in _gpus(part.strip(), device, gpus)))
        default = len(names)
    for option, number in (("--jobs", jobs), ("--jobs-per-device", jobs_per_device)):
        require(number is None or number >= 1, f"{option} {number}: at least 1 is needed")
    require(
        jobs is None or jobs_per_device is None,
        f"--jobs {jobs} and --jobs-per-device {jobs_per_device} contradict each other: give one of them",
    )
    wanted = len(names) * jobs_per_device if jobs_per_device else jobs or default
    return [names[i % len(names)] for i in range(max(1, min(wanted, runs or 1)))]


def _gpus(part: str, device: str, gpus: int) -> list[str]:
    """The GPUs that one part of the list ``device`` names, on a machine with ``gpus`` of them. SpecError for none."""
    kind, _, number = part.partition(":")
    require(
        kind == "cuda" and (not number or number.isdigit()),
        f"--device {device!r}; there are: auto, cpu, cuda, cuda:N, cuda:N,cuda:M",
    )
    require(gpus > int(number or 0), f"--device {part}: this machine has {gpus} CUDA devices")
    return [f"cuda:{int(number)}"] if number else [f"cuda:{i}" for i in range(gpus)]
