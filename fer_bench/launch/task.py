"""Trains one run in this process, and reports how it ended."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.errors import DataError
from fer_bench.data.noise.kinds import file_digest
from fer_bench.launch.output import redirected
from fer_bench.launch.work import Event
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy, TakenOver
from fer_bench.sweep.plan import Plan, PlannedRun

if TYPE_CHECKING:
    from fer_bench.engine.job import ProgressEvent, Resources

CHANGED = "was changed since the sweep was planned; start the command again"


@dataclass(frozen=True)
class Task:
    """One run for this process.

    Attributes:
        plan: Plan of the run; its list of runs is not used.
        run: The run.
        out: Folder of the results.
        device: Device that trains.
        force: Whether the run is trained again if it is done.
        lease: Seconds without a sign of life after which another process's claim is taken over; None for the default.
    """

    plan: Plan
    run: PlannedRun
    out: Path
    device: str
    force: bool = False
    lease: float | None = None

    @property
    def folder(self) -> RunFolder:
        """Folder of the run."""
        return RunFolder.of(self.out, self.run.spec)


def train_run(
    task: Task,
    stopping: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Event], None] = lambda event: None,
) -> Event:
    """Trains a run, unless it is done or another process trains it.

    A failure is stored with its traceback. Damaged results are made again, with a note.

    Args:
        task: What to train.
        stopping: Asked before each step; the run ends when it answers True.
        on_progress: Called about twice a second with how far the run is.

    Returns:
        The last event of the run: "done", "failed", "stopped" or "busy".
    """
    folder = task.folder
    try:
        with folder.claim(task.lease) as claim:
            if task.force:
                folder.clear()
            elif damage := folder.damage:
                folder.clear_results()
                folder.note(f"{damage}: this run is repeated")
            elif final := folder.final:
                folder.tidy()
                return {"state": "done", "final": final}
            event = _train_claimed(task, folder, lambda: claim.lost or stopping(), on_progress)
            if claim.lost:
                claim.check()
            return {**event, "notes": folder.notes}
    except (Busy, TakenOver) as other:
        return {"state": "busy", "by": str(other), "taken_over": isinstance(other, TakenOver)}
    except OSError as error:
        return {"state": "failed", "error": f"cannot read or write results: {error}"}


def _train_claimed(
    task: Task, folder: RunFolder, stopping: Callable[[], bool], on_progress: Callable[[Event], None]
) -> Event:
    """Trains the run of a folder whose claim is held."""
    from fer_bench.engine.environment import describe
    from fer_bench.engine.job import Interrupted, TrainingJob
    from fer_bench.engine.trainer import train

    def report(event: ProgressEvent) -> None:
        on_progress({name: value for name, value in asdict(event).items() if value is not None})

    run = task.run
    folder.start(run.spec, describe(task.device))
    try:
        with folder.open_log() as log, redirected(log), _resources(task) as resources:
            method = run.plugin.load(run.spec.code)
            config = run.plugin.restore_config(run.spec.config)
            train(TrainingJob(run.spec, task.plan.dataset, method, config, folder, resources, report, stopping))
    except Interrupted:
        return {"state": "stopped"}
    except TakenOver:
        raise
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        try:
            folder.fail(message, traceback.format_exc())
        except OSError as unwritten:
            message += f" (and the reason cannot be stored: {unwritten})"
        return {"state": "failed", "error": message}
    return {"state": "done", "final": folder.final}


@contextmanager
def _resources(task: Task) -> Iterator[Resources]:
    """Where the run finds its inputs."""
    import torch

    from fer_bench.engine.job import Resources

    run, plan = task.run, task.plan
    with _same_file(plan.request.noise_file, run.spec.noise.file) as noise_file:
        yield Resources(
            device=torch.device(task.device),
            weights=plan.weights,
            own_backbone=run.backbone.load() if run.backbone else None,
            noise_file=noise_file,
            unlabelled=plan.unlabelled,
            first_stage_run=RunFolder.of(task.out, run.first_stage_of) if run.first_stage_of else None,
            keep_networks=run.keep_networks,
        )


@contextmanager
def _same_file(path: Path | None, digest: str) -> Iterator[Path | None]:
    """A copy of a file with the content that was hashed for the run. DataError where the file has another one."""
    if path is None or not digest:
        yield None
        return
    content = path.read_bytes()
    if file_digest(content) != digest:
        raise DataError(f"{path} {CHANGED}")
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        yield copy
