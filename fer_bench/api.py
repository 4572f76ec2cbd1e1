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
    outcome = carry_out(planned, Path(out), jobs, device, name, force, console, f"fer_bench.run({request})", launch)
    if outcome.failed:
        raise IncompleteSweep("\n".join(outcome.sweep.unfinished()))
    return outcome.sweep.finished()


def make_request(**options: Any) -> Request:
    """A Request from its fields and from settings of the recipe, by name. TypeError for a name that is neither."""
    recipe = ("epochs", "batch_size", "lr", "backbone", "image_size")
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
) -> Outcome:
    """Trains the runs of a plan that are not done, then writes the sweep's tables and plots."""
    launcher = launcher or choose()
    todo = missing(planned, out, force)
    devices = choose_places(launcher, device, jobs, len(todo))
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


def choose_places(launcher: Launcher, device: str, jobs: int | None, runs: int) -> list[str]:
    """The devices of :func:`choose_devices`, or none where another machine trains. SpecError for options of the local
    pool that would be ignored there."""
    if launcher.local:
        return choose_devices(device, jobs, runs)
    require(
        device == "auto" and jobs is None,
        f"--jobs and --device are for --launcher local; {launcher.name} has --launcher-option gpus=1, cpus=4, …",
    )
    return []


def choose_devices(device: str, jobs: int | None, runs: int) -> list[str]:
    """One device for each worker process: every GPU, or one worker for each core. SpecError for a missing device."""
    import torch

    gpus = torch.cuda.device_count()
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cpu":
        places = ["cpu"]
        default = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    else:
        kind, _, number = device.partition(":")
        require(
            kind == "cuda" and (not number or number.isdigit()),
            f"--device {device!r}; there are: auto, cpu, cuda, cuda:N",
        )
        require(gpus > int(number or 0), f"--device {device}: this machine has {gpus} CUDA devices")
        places = [device] if number else [f"cuda:{i}" for i in range(gpus)]
        default = len(places)
    require(jobs is None or jobs >= 1, f"--jobs {jobs}: at least 1 is needed")
    count = max(1, min(jobs or default, runs or 1))
    return [places[i % len(places)] for i in range(count)]


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
