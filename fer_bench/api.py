"""The main job, from a notebook or from the command line: plan, train what is missing, write tables and plots."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_bench.core.errors import IncompleteSweep, SpecError, require
from fer_bench.core.text import counted
from fer_bench.launch.devices import check_compiled, devices_for
from fer_bench.launch.launcher import Launcher, choose_launcher
from fer_bench.launch.progress import OnEvent, Progress, ProgressEvent, log_event
from fer_bench.launch.work import Work
from fer_bench.plugins.registry import discover, plugin_folders
from fer_bench.report.outputs import write_outputs
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.arguments import to_bool, to_float, to_int, to_path, to_text, to_tuple
from fer_bench.sweep.estimate import estimate
from fer_bench.sweep.keeper import RecordKeeper
from fer_bench.sweep.plan import Plan, PlannedRun, make_plan
from fer_bench.sweep.record import Sweep, check_sweep_name, make_sweep
from fer_bench.sweep.request import Request, make_request

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def run(
    methods: str | Sequence[str],
    noise: float | Sequence[float] | None = None,
    *,
    dataset: str | PathLike[str] = "synthetic",
    data_root: str | PathLike[str] | None = None,
    columns: Mapping[str, str] | Sequence[str] = (),
    group_by: str = "",
    ties: Literal["drop", "first", "distribution"] = "drop",
    val: float | str | None = None,
    dedup: bool | Literal["exact", "near"] = False,
    noise_types: str | Sequence[str] = "symmetric",
    noise_mode: Literal["exact", "bernoulli"] = "exact",
    noise_file: str | PathLike[str] | None = None,
    imbalance: float | Sequence[float] = 1.0,
    imbalance_type: Literal["exp", "step"] = "exp",
    separate: bool = False,
    seeds: int | Sequence[int] = 0,
    data_seed: int | Sequence[int] = 0,
    train_size: int | None = None,
    preset: str | PathLike[str] = "quick",
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    backbone: str | None = None,
    image_size: int | None = None,
    precision: Literal["float32", "bf16"] | None = None,
    compile: bool | None = None,
    pretrained: str | PathLike[str] = "",
    settings: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
    settings_file: str | PathLike[str] | None = None,
    vary: Mapping[str, Mapping[str, Sequence[Any]]] | Sequence[str] = (),
    plugins: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    unlabelled: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "results",
    name: str | None = None,
    replace: bool = False,
    force: bool = False,
    keep_model: bool = False,
    device: str | Sequence[str] = "auto",
    jobs: int | None = None,
    jobs_per_device: int | None = None,
    time_limit: float | None = None,
    launcher: Literal["local", "ray", "slurm"] = "local",
    launcher_options: Mapping[str, Any] | Sequence[str] = (),
    on_event: OnEvent = log_event,
) -> pd.DataFrame:
    """Trains methods under label noise and imbalance, and writes tables and plots. Finished runs are not trained again.

    A single value is read as a list of one. Numbers may be of NumPy, paths may be strings, ``~`` is the home folder.
    The arguments are the options of ``fer-bench run``; ``settings`` is its ``--set`` and ``settings_file`` its
    ``--settings``.

    Args:
        methods: Keys of methods, globs, or "all".
        noise: Rates of label noise, 0 to 1.
        dataset: A name (``fer-bench datasets`` lists them), a folder of images, or a table such as a CSV file.
        data_root: Folder that holds the named data sets; by default ``FER_BENCH_DATA`` or ``./data``.
        columns: Columns of a table, where their names do not say it: ``{"path": "image", "label": "emotion"}``, or
            strings ``"path=image"``. Roles are path, label, split, group, reference, id and landmarks.
        group_by: Who or what an image shows, so that a derived split keeps it apart: a column of a table, or a regular
            expression on the names of images. By default, well-known columns, names and sub-folders are used; "none"
            uses none.
        ties: What becomes of an image whose votes tie: it is left out, gets the first of these classes, or one of them.
        val: Validation split: a share or a number of training images, or "none". By default the data set's own; if it
            has none, a tenth of the training images.
        dedup: Leave out training images that are copies of held-out images: exact ones, or near ones, too.
        noise_types: Kinds of label noise: symmetric, pair, class-dependent, instance, human, …
        noise_mode: An exact number of wrong labels, or an independent draw for each label.
        noise_file: File for the kinds confusion, instance-hard and file.
        imbalance: Imbalance factors, largest class over smallest; 1 leaves the data as they are.
        imbalance_type: Class sizes that fall exponentially, or in one step.
        separate: Noise and imbalance as separate conditions, instead of every combination.
        seeds: Training seeds.
        data_seed: Seeds of draws of the training data: noise, imbalance, part of the training set, hold-out. Each draw
            is combined with each training seed.
        train_size: Train on a stratified part of this many images.
        preset: A recipe: quick (for CPUs), standard, paper (for GPUs), or the path of a TOML file.
        epochs: Replaces the recipe's number of epochs.
        batch_size: Replaces the recipe's batch size.
        lr: Replaces the recipe's learning rate.
        backbone: Replaces the recipe's network: ferres8, any timm model, or "FILE.py:FUNCTION" for one of your own.
        image_size: Replaces the recipe's side of the images, in pixels.
        precision: Replaces the recipe's precision of forward passes.
        compile: Compile the networks, which takes minutes at first.
        pretrained: A file of weights, "efficientnet-lite0", or "timm".
        settings: Hyper-parameters: ``{"mine": {"tau": 0.5}}``, or strings ``"mine.tau=0.5"``. A method can also have
            its own ``lr`` and ``weight_decay``.
        settings_file: A file of ``fer-bench tune``, or "default" for the papers' values; by default the file that comes
            with the preset, if there is one.
        vary: Values of hyper-parameters, each in a row of its own: ``{"mine": {"tau": [0, 0.5]}}``, or strings
            ``"mine.tau=0,0.5"``. Several make a grid.
        plugins: Folders and files with methods of your own.
        unlabelled: Folder of images for methods that learn from unlabelled ones.
        out: Folder of runs and sweeps.
        name: Name of the sweep's folder; by default the data set and a hash.
        replace: Replace a sweep of the same name that has other runs. No run is deleted.
        force: Train again what is done.
        keep_model: Store the trained networks of each run, for :func:`fer_bench.load_model`.
        device: auto, cpu, cuda (every GPU), cuda:N, or several of these.
        jobs: Runs at the same time; by default one for each core, or one for each GPU.
        jobs_per_device: In place of ``jobs``: runs at the same time on each device.
        time_limit: Minutes after which a run is ended. It has failed; a later call goes on from its last epoch.
        launcher: Who trains: processes on this machine, a Ray cluster, or Slurm.
        launcher_options: Options of the launcher: ``{"partition": "gpu"}``, or strings ``"partition=gpu"``.
        on_event: Called with each :class:`fer_bench.launch.progress.ProgressEvent`; by default, the end of each run is
            logged.

    Returns:
        One row for each finished run of the sweep, with the columns of :func:`fer_bench.load_runs`.

    Raises:
        SpecError: An argument is unknown, of the wrong type or out of range; nothing was trained.
        DataError: The data set cannot be used; nothing was trained.
        PluginError: A method cannot be used; nothing was trained.
        IncompleteSweep: A run failed. The others are finished and are in the tables.
    """
    arguments = dict(locals())
    del arguments["on_event"], arguments["name"]
    sweep_name = None if name is None else check_sweep_name(to_text(name, "name"))
    execution = make_execution(**{option: arguments.pop(option) for option in EXECUTION})
    request = make_request(**arguments)
    plan = make_plan(request, on_checked=execution.launcher.warm_up)
    for reason in plan.skipped:
        logger.warning("skipped %s", reason)
    outcome = execute_plan(plan, execution, sweep_name, _as_call(request, execution, sweep_name), on_event)
    if outcome.failed or outcome.missing:
        raise IncompleteSweep("\n".join(outcome.sweep.unfinished()))
    return outcome.sweep.finished()


@dataclass(frozen=True)
class Execution:
    """Who trains the runs of a plan, and where results go. Nothing of it changes a number of a run.

    Attributes:
        out: Folder of runs and sweeps.
        jobs: Runs at the same time; by default one for each core, or one for each GPU.
        jobs_per_device: Instead of ``jobs``: runs at the same time on each device.
        device: auto, cpu, cuda, cuda:N, or a list as "cuda:0,cuda:1".
        force: Whether runs that are done are trained again.
        keep_model: Whether the trained networks of each run are stored.
        replace: Whether a sweep may take the place of one of its name with other runs.
        launcher: Who trains.
    """

    out: Path = Path("results")
    jobs: int | None = None
    jobs_per_device: int | None = None
    device: str = "auto"
    force: bool = False
    keep_model: bool = False
    replace: bool = False
    launcher: Launcher = field(default_factory=choose_launcher)


EXECUTION = ("out", "jobs", "jobs_per_device", "device", "force", "keep_model", "replace", "time_limit", "launcher",
             "launcher_options")  # fmt: skip
"""Arguments of :func:`make_execution`."""


def make_execution(
    *,
    out: str | PathLike[str] = "results",
    jobs: int | None = None,
    jobs_per_device: int | None = None,
    device: str | Sequence[str] = "auto",
    force: bool = False,
    keep_model: bool = False,
    replace: bool = False,
    time_limit: float | None = None,
    launcher: str = "local",
    launcher_options: Mapping[str, Any] | Sequence[str] = (),
) -> Execution:
    """An execution from arguments of any usual type; they are described at :func:`run`.

    Raises:
        SpecError: An argument has the wrong type, or there is no such launcher; the message names it.
    """
    limit = None if time_limit is None else to_float(time_limit, "time_limit")
    require(limit is None or limit > 0, f"time_limit = {limit}: more than 0 minutes are needed")
    return Execution(
        out=to_path(out, "out"),
        jobs=None if jobs is None else to_int(jobs, "jobs"),
        jobs_per_device=None if jobs_per_device is None else to_int(jobs_per_device, "jobs_per_device"),
        device=",".join(to_tuple(device, "device", to_text)),
        force=to_bool(force, "force"),
        keep_model=to_bool(keep_model, "keep_model"),
        replace=to_bool(replace, "replace"),
        launcher=choose_launcher(to_text(launcher, "launcher"), launcher_options, limit),
    )


@dataclass(frozen=True)
class Prepared:
    """A plan that can be executed.

    Attributes:
        sweep: Its sweep.
        todo: The runs that are to be trained.
        devices: A device for each worker.
        absent: Keys of runs that are done, but have no folder on this machine: the compact file holds their records.
        again: Number of such runs that are to be trained again, because runs of ``todo`` start from their networks.
    """

    sweep: Sweep
    todo: list[PlannedRun]
    devices: list[str]
    absent: frozenset[str] = frozenset()
    again: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`execute_plan` left behind."""

    sweep: Sweep
    failed: int
    trained: int

    @property
    def missing(self) -> int:
        """Number of runs of the sweep that have no results that can be read."""
        return len(self.sweep.runs) - len(self.sweep.records())


def prepare(plan: Plan, execution: Execution, name: str | None = None, command: str = "") -> Prepared:
    """Checks what an execution needs, and writes nothing. Arguments as for :func:`execute_plan`.

    Raises:
        SpecError: No method can run, a device is missing, networks cannot be compiled, another sweep has the name, or
            models are to be kept and a run is done without its model.
        StoreError: The compact file of the sweep is needed and damaged.
    """
    require(bool(plan.runs), f"no method can run: {'; '.join(plan.skipped)}")
    sweep = make_sweep(plan, execution.out, name or plan.name, command)
    sweep.check_name(execution.replace)
    stored = frozenset(sweep.absent())
    todo = missing(plan, execution, stored)
    if execution.keep_model:
        todo = [dataclasses.replace(run, keep_networks=True) for run in todo]
        _require_models(plan, {run.spec.key for run in todo}, execution.out)
    absent = stored - {run.spec.key for run in todo}
    devices = devices_for(execution.launcher, execution.device, execution.jobs, len(todo), execution.jobs_per_device)
    check_compiled(todo, devices)
    return Prepared(sweep, todo, devices, absent, 0 if execution.force else len(stored) - len(absent))


def execute_plan(
    plan: Plan,
    execution: Execution,
    name: str | None = None,
    command: str = "",
    on_event: OnEvent = log_event,
) -> Outcome:
    """Trains the runs of a plan that are not done, then writes the tables and plots of its sweep.

    Args:
        plan: The runs.
        execution: Who trains, and where results go.
        name: Name of the sweep; by default :attr:`Plan.name`.
        command: What asked for the sweep; it is stored with it.
        on_event: Called with each event.

    Raises:
        SpecError: As for :func:`prepare`.
        StoreError: As for :func:`prepare`.
        KeyboardInterrupt: Training was stopped. Finished epochs are kept.
    """
    prepared = prepare(plan, execution, name, command)
    sweep, todo, devices, launcher = prepared.sweep, prepared.todo, prepared.devices, execution.launcher
    sweep.save()
    expected = estimate(todo, execution.out, devices) if todo and launcher.local else None
    progress, keeper = Progress(todo, expected), RecordKeeper(sweep)

    def on_run_event(worker: int, run: PlannedRun, event: Mapping[str, Any]) -> None:
        progress.update(worker, run, event)
        on_event(ProgressEvent(event["state"], progress, run, worker, event))
        if event["state"] == "done":
            keeper.run_ended()

    if prepared.absent or prepared.again:
        counts = {"runs": len(prepared.absent), "again": prepared.again}
        on_event(ProgressEvent("absent", progress, details=counts))
    if todo:
        on_event(ProgressEvent("training", progress))
        try:
            launcher.train(Work(plan, todo, execution.out, devices, execution.force, on_run_event))
        except BaseException:
            keeper.save()
            raise
    on_event(ProgressEvent("writing", progress))
    write_outputs(sweep, discover(plugin_folders(plan.request.plugins)), redraw=bool(todo))
    return Outcome(sweep, progress.failed, len(todo))


def missing(plan: Plan, execution: Execution, absent: Collection[str] = ()) -> list[PlannedRun]:
    """The runs of a plan that are to be trained: without results, with damaged ones, or with left-over files.

    Unreadable runs are included so that each fails individually with its own error.

    Args:
        plan: The plan.
        execution: Says where the runs are, and whether those that are done are trained again.
        absent: Keys of runs that are done, but have no folder here. Where a run that is to be trained takes its first
            stage from one of them, that one is trained again, because its networks are needed.
    """

    def done(run: PlannedRun) -> bool:
        folder = RunFolder.of(execution.out, run.spec)
        try:
            return run.spec.key in absent or (bool(folder.final) and not folder.damage and not folder.untidy)
        except OSError:
            return False

    keys = {run.spec.key for run in plan.runs if execution.force or not done(run)}
    while True:
        begun = {run.first_stage_of.key for run in plan.runs if run.spec.key in keys and run.first_stage_of}
        if not (again := (begun & set(absent)) - keys):
            return [run for run in plan.runs if run.spec.key in keys]
        keys |= again


def _require_models(plan: Plan, todo: Collection[str], out: Path) -> None:
    """SpecError that names the runs which are done and did not keep their models: only training makes them."""
    done = [run for run in plan.runs if run.spec.key not in todo and not RunFolder.of(out, run.spec).has_model]
    if done:
        names = "; ".join(run.name for run in done[:3]) + (f"; and {len(done) - 3} more" if len(done) > 3 else "")
        raise SpecError(
            f"--keep-model: {len(done)} of {counted(len(plan.runs), 'run')} did not keep their models when they were "
            f"trained: {names}. Train them again with --force, or into another folder with --out"
        )


def _as_call(request: Request, execution: Execution, name: str | None) -> str:
    """The call of :func:`run` that makes the same sweep, with the arguments that are not defaults."""
    given: dict[str, Any] = {}
    for each, default in ((request, Request(())), (execution, Execution())):
        names = [part.name for part in dataclasses.fields(each) if part.name not in ("overrides", "launcher")]
        given |= {name: getattr(each, name) for name in names if getattr(each, name) != getattr(default, name)}
    given |= dict(request.overrides)
    if not execution.launcher.local:
        given["launcher"] = execution.launcher.name
    if name is not None:
        given["name"] = name
    return f"fer_bench.run({', '.join(f'{name}={_as_argument(value)!r}' for name, value in given.items())})"


def _as_argument(value: Any) -> Any:
    """A value as a person writes it: paths are strings, tuples are lists."""
    if isinstance(value, tuple):
        return [_as_argument(each) for each in value]
    return str(value) if isinstance(value, Path) else value
