"""The main job, from a notebook or from the command line: plan, train what is missing, write tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import IncompleteSweep
from fer_bench.launch import Launcher, choose
from fer_bench.launch.devices import check_compiled, choose_places
from fer_bench.launch.progress import OnEvent, Progress, ProgressEvent, log_event
from fer_bench.report.outputs import write_outputs
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.estimate import estimate
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.record import Sweep, find_sweep, save_sweep
from fer_bench.sweep.request import make_request

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Execution:
    """Who trains the runs of a plan, and where results go.

    Attributes:
        out: Folder of runs and sweeps.
        jobs: Runs at the same time; by default one per core, or one per GPU.
        jobs_per_device: Instead of ``jobs``: runs at the same time on each device.
        device: auto, cpu, cuda, cuda:N, or a list as "cuda:0,cuda:1".
        force: Whether runs that are done are repeated.
        launcher: Who trains.
    """

    out: Path = Path("results")
    jobs: int | None = None
    jobs_per_device: int | None = None
    device: str = "auto"
    force: bool = False
    launcher: Launcher = field(default_factory=choose)


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
    execution = Execution(Path(out), jobs, jobs_per_device, device, force, launch)
    outcome = execute_plan(planned, execution, name, command, on_event)
    if outcome.failed:
        raise IncompleteSweep("\n".join(outcome.sweep.unfinished()))
    return outcome.sweep.finished()


def execute_plan(
    planned: Plan,
    execution: Execution,
    name: str | None = None,
    command: str = "",
    on_event: OnEvent = log_event,
) -> Outcome:
    """Trains the runs of a plan that are not done, then writes the sweep's tables and plots.

    Args:
        planned: The sweep.
        execution: Who trains, and where results go.
        name: Name of the sweep's folder; by default :attr:`Plan.name`.
        command: What asked for the sweep; it is stored with it.
        on_event: Called with each event.

    Raises:
        SpecError: The devices do not exist, or networks cannot be compiled on them.
        KeyboardInterrupt: The sweep was interrupted; finished epochs are kept.
    """
    out, launcher = execution.out, execution.launcher
    todo = missing(planned, execution)
    devices = choose_devices(todo, execution)
    sweep_name = name or planned.name
    save_sweep(planned, out, sweep_name, command)
    progress = Progress(todo, estimate(todo, out, devices) if todo and launcher.local else None)

    def tell(worker: int, run: PlannedRun, event: Mapping[str, Any]) -> None:
        progress.update(worker, run, event)
        on_event(ProgressEvent(event["state"], progress, run, worker, event))

    if todo:
        on_event(ProgressEvent("training", progress))
        launcher.train(planned, todo, out, devices, execution.force, tell)
    sweep = find_sweep(out, sweep_name)
    on_event(ProgressEvent("writing", progress))
    write_outputs(sweep, redraw=bool(todo))
    return Outcome(sweep, progress.failed, len(todo))


def choose_devices(todo: list[PlannedRun], execution: Execution) -> list[str]:
    """A device for each worker; none if other machines train.

    Raises:
        SpecError: A device does not exist, or networks cannot be compiled on it.
    """
    devices = choose_places(execution.launcher, execution.device, execution.jobs, len(todo), execution.jobs_per_device)
    check_compiled(todo, devices)
    return devices


def missing(planned: Plan, execution: Execution) -> list[PlannedRun]:
    """The runs of a plan that are to be trained: those without results, with damaged ones, or left untidy by a kill.

    Unreadable runs are included so that each fails individually with its own error.
    """

    def done(folder: RunFolder) -> bool:
        try:
            return bool(folder.final) and not folder.damage and not folder.untidy
        except OSError:
            return False

    return [run for run in planned.runs if execution.force or not done(RunFolder.of(execution.out, run.spec))]
