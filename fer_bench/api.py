"""The main job, from a notebook or from the command line: plan, train what is missing, write tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import IncompleteSweep
from fer_bench.launch import Launcher, choose
from fer_bench.launch.devices import check_compiled, choose_places
from fer_bench.launch.progress import OnEvent, Progress, ProgressEvent, log_event
from fer_bench.report.outputs import plots_are_current, write_outputs
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.estimate import estimate
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.record import Sweep, find_sweep, save_sweep
from fer_bench.sweep.request import make_request

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`execute_plan` left behind."""

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
    on_event: OnEvent = log_event,
    **options: Any,
) -> pd.DataFrame:
    """Trains a sweep and returns one row per finished run, as ``fer_bench.load_runs`` does.

    ``methods`` are keys or globs, ``noise`` are rates; ``options`` are the other fields of
    :class:`fer_bench.sweep.request.Request` (``dataset=``, ``seeds=``, ``preset=``, ...) and settings of the recipe
    (``epochs=``, ``lr=``, ``backbone=``, ...). What is already in ``out`` is not trained again; ``time_limit`` is in
    minutes for each run. Raises SpecError or DataError for bad input before anything is trained, IncompleteSweep if a
    run failed.

    ``on_event`` gets each :class:`fer_bench.launch.progress.ProgressEvent`; by default, the end of each run is logged.

    ``launcher`` is local, ray or slurm, ``launcher_options`` are its ``KEY=VALUE`` options: docs/cluster.md.
    """
    launch = choose(launcher, launcher_options, time_limit)
    request = make_request(methods=[methods] if isinstance(methods, str) else list(methods), noise=noise, **options)
    planned = make_plan(request, on_checked=launch.warm_up)
    command = f"fer_bench.run({request})"
    outcome = execute_plan(planned, Path(out), jobs, device, name, force, command, launch, jobs_per_device, on_event)
    if outcome.failed:
        raise IncompleteSweep("\n".join(outcome.sweep.unfinished()))
    return outcome.sweep.finished()


def execute_plan(
    planned: Plan,
    out: Path,
    jobs: int | None,
    device: str,
    name: str | None,
    force: bool,
    command: str,
    launcher: Launcher | None = None,
    jobs_per_device: int | None = None,
    on_event: OnEvent = log_event,
) -> Outcome:
    """Trains the runs of a plan that are not done, then writes the sweep's tables and plots."""
    launcher = launcher or choose()
    todo = missing(planned, out, force)
    devices = choose_places(launcher, device, jobs, len(todo), jobs_per_device)
    check_compiled(todo, devices)
    sweep_name = name or planned.name
    save_sweep(planned, out, sweep_name, command)
    progress = Progress(todo, estimate(todo, out, devices) if todo and launcher.local else None)

    def tell(worker: int, run: PlannedRun, event: Mapping[str, Any]) -> None:
        progress.update(worker, run, event)
        on_event(ProgressEvent(event["state"], progress, run, worker, event))

    if todo:
        on_event(ProgressEvent("training", progress))
        launcher.train(planned, todo, out, devices, force, tell)
    sweep = find_sweep(out, sweep_name)
    on_event(ProgressEvent("writing", progress))
    write_outputs(sweep, plots=bool(todo) or not plots_are_current(sweep))
    return Outcome(sweep, progress.failed, len(todo))


def missing(planned: Plan, out: Path, force: bool) -> list[PlannedRun]:
    """The runs of a plan that have no results yet, or damaged ones, or whose process was killed while it tidied up.
    One that may not be read is among them, so that it fails with the reason, and alone."""

    def done(folder: RunFolder) -> bool:
        try:
            return bool(folder.final) and not folder.damage and not folder.untidy
        except OSError:
            return False

    return [run for run in planned.runs if force or not done(RunFolder.of(out, run.spec))]
