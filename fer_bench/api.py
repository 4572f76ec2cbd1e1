"""The main job, from a notebook or from the command line: plan, train what is missing, write tables and plots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fer_bench.display import Display
from fer_bench.files import write_atomically
from fer_bench.launch import Launcher, choose
from fer_bench.spec import Recipe, require
from fer_bench.store import RunFolder
from fer_bench.sweep import Plan, Planned, Request, Sweep, find_sweep, images_per_second, plan, save_sweep

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.report.measures import View


DRAWN = "plots/drawn.txt"
"""Keys of the runs that the plots of a sweep show, written after the last plot."""


class IncompleteSweep(RuntimeError):
    """Some runs failed; the message says which and why. The others are finished and tabled."""


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`carry_out` left behind."""

    sweep: Sweep
    failed: int
    trained: int


def run(
    methods: Sequence[str] | str,
    noise: Sequence[float] | None = None,
    *,
    out: str | Path = "results",
    jobs: int | None = None,
    jobs_per_device: int | None = None,
    device: str = "auto",
    name: str | None = None,
    force: bool = False,
    time_limit: float | None = None,
    launcher: str = "local",
    launcher_options: Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Trains a sweep and returns one row per finished run, as ``fer_bench.load_runs`` does.

    ``methods`` are keys or globs, ``noise`` are rates; ``options`` are the other fields of
    :class:`fer_bench.sweep.Request` (``dataset=``, ``seeds=``, ``preset=``, ...) and settings of the recipe
    (``epochs=``, ``lr=``, ``backbone=``, ...). What is already in ``out`` is not trained again; ``time_limit`` is in
    minutes for each run. Raises SpecError or DataError for bad input before anything is trained, IncompleteSweep if a
    run failed.

    ``launcher`` is local, ray or slurm, ``launcher_options`` are its ``KEY=VALUE`` options: docs/cluster.md.
    """
    launch = choose(launcher, launcher_options, time_limit)
    request = make_request(methods=[methods] if isinstance(methods, str) else list(methods), noise=noise, **options)
    console = Console(stderr=True)
    planned = plan(request, looks_right=launch.warm_up)
    command = f"fer_bench.run({request})"
    outcome = carry_out(planned, Path(out), jobs, device, name, force, console, command, launch, jobs_per_device)
    if outcome.failed:
        raise IncompleteSweep("\n".join(outcome.sweep.unfinished()))
    return outcome.sweep.finished()


def make_request(**options: Any) -> Request:
    """A Request from its fields and from settings of the recipe, by name. TypeError for a name that is neither."""
    recipe = ("epochs", "batch_size", "lr", "backbone", "image_size", "precision", "compile")
    overrides = {key: options.pop(key) for key in recipe if options.get(key) is not None}
    return Request(**{key: value for key, value in options.items() if key not in recipe}, overrides=overrides)


def carry_out(
    planned: Plan,
    out: Path,
    jobs: int | None,
    device: str,
    name: str | None,
    force: bool,
    console: Console,
    command: str,
    launcher: Launcher | None = None,
    jobs_per_device: int | None = None,
) -> Outcome:
    """Trains the runs of a plan that are not done, then writes the sweep's tables and plots."""
    launcher = launcher or choose()
    todo = missing(planned, out, force)
    devices = choose_places(launcher, device, jobs, len(todo), jobs_per_device)
    check_compiled(todo, devices)
    sweep_name = name or planned.name
    save_sweep(planned, out, sweep_name, command)
    failed = 0
    if todo:
        with Display(console, todo, estimate(todo, out, devices) if launcher.local else None) as display:
            launcher.train(planned, todo, out, devices, force, display.tell)
        failed = display.failed
    sweep = find_sweep(out, sweep_name)
    with console.status("writing tables and plots …"):
        write_outputs(sweep, plots=bool(todo) or not plots_are_current(sweep))
    return Outcome(sweep, failed, len(todo))


def check_compiled(todo: list[Planned], devices: list[str]) -> None:
    """SpecError where networks are to be compiled on one of the devices and nothing can be compiled there."""
    if any(run.spec.recipe.compile for run in todo):
        from fer_bench.engine.arithmetic import check_compiler

        for kind in sorted({device.partition(":")[0] for device in devices}):
            check_compiler(kind)


def missing(planned: Plan, out: Path, force: bool) -> list[Planned]:
    """The runs of a plan that have no results yet, or damaged ones, or whose process was killed while it tidied up.
    One that may not be read is among them, so that it fails with the reason, and alone."""

    def done(folder: RunFolder) -> bool:
        try:
            return bool(folder.final) and not folder.damage and not folder.untidy
        except OSError:
            return False

    return [run for run in planned.runs if force or not done(RunFolder.of(out, run.spec))]


def estimate(todo: list[Planned], out: Path, devices: list[str]) -> float:
    """Seconds that ``todo`` will take, from earlier runs of the same recipe or a short measurement."""
    from fer_bench.engine.environment import measure_speed

    if not todo:
        return 0.0
    costs: dict[Recipe, float] = {}
    for run in todo:
        costs[run.spec.recipe] = costs.get(run.spec.recipe, 0) + run.cost
    seconds = sum(cost / images_per_second(recipe, out, devices[0], measure_speed) for recipe, cost in costs.items())
    return seconds / len(devices)


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


def write_outputs(sweep: Sweep, plots: bool = True, view: View | None = None) -> list[Path]:
    """Tables (as ``view`` says), ``runs.csv`` and plots of what is finished; nothing where no run is."""
    from fer_bench.report import tables

    runs = sweep.finished()
    if runs.empty:
        return []
    written = tables.write(
        runs, sweep.folder, notes=sweep.unfinished(), classes=sweep.classes, view=view or tables.DEFAULT_VIEW
    )
    if plots:
        from fer_bench.report import plots as figures

        written += figures.write(runs, sweep.folder, classes=sweep.classes)
        write_atomically(sweep.folder / DRAWN, _drawn(sweep))
    return written


def plots_are_current(sweep: Sweep) -> bool:
    """Whether the plots were drawn, to the last one, from the runs that are finished now."""
    try:
        return (sweep.folder / DRAWN).read_bytes() == _drawn(sweep)
    except OSError:
        return False


def _drawn(sweep: Sweep) -> bytes:
    return "".join(
        sorted(f"{folder.path.name}\n" for folder in sweep.runs if (folder.path / "final.json").exists())
    ).encode()
