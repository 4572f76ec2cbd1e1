"""Stored epochs for other programs: a CSV file with a row for each, or event files of TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import SpecError, require
from fer_bench.core.files import write_atomically
from fer_bench.report.arrange import arrange
from fer_bench.report.rendering import csv_text
from fer_bench.sweep.record import Sweep

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.store.records import Record

OF_THE_RUN = (
    *("key", "dataset", "method", "row", "condition"),
    *("noise_kind", "noise_rate", "noise_mode", "imbalance_kind", "imbalance_factor", "train_size"),
    *("seed", "data_seed"),
)
"""Columns that say which run an epoch is of: ``row`` and ``condition`` are those of the tables."""


def epoch_frame(sweep: Sweep) -> pd.DataFrame:
    """One row for each stored epoch of the finished runs of a sweep.

    It has the columns OF_THE_RUN, ``epoch``, ``stage``, and every number of the epoch under its path: ``lr_main``,
    ``train_loss``, ``test_overall``, ``val_overall``, ``train_fit_memorised``, ``seconds_train``, … Shares lie in
    [0, 1]. What an epoch does not have is missing. Lists and matrices are left out.

    Raises:
        ValueError: The sweep has no finished run.
    """
    import pandas as pd

    return pd.DataFrame(
        {**{name: run[name] for name in OF_THE_RUN}, "epoch": epoch["epoch"], "stage": epoch.get("stage", "")}
        | dict(_numbers(epoch, "_"))
        for run in _runs(sweep)
        for epoch in _epochs(run["record"])
    )


def write_csv(sweep: Sweep, path: Path) -> Path:
    """Writes :func:`epoch_frame` to a file."""
    require(not path.is_dir(), f"{path} is a folder; name a file, such as {path / 'epochs.csv'}")
    write_atomically(path, csv_text(epoch_frame(sweep)).encode())
    return path


def write_tensorboard(sweep: Sweep, folder: Path) -> Path:
    """Writes each finished run as a run of TensorBoard, ROW/CONDITION/SEED under ``folder``, with all its numbers.

    Raises:
        SpecError: TensorBoard is not installed, or the folder holds something: event files add up.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SpecError(f"TensorBoard is not installed ({error}): pip install 'fer-bench[tensorboard]'") from None
    require(not folder.is_file(), f"{folder} is a file; name a folder")
    used = folder.is_dir() and any(folder.iterdir())
    require(not used, f"{folder} is not empty, and TensorBoard would show what is in it, too; name a new folder")
    for run in _runs(sweep):
        with SummaryWriter(str(folder / _name(run))) as writer:
            for epoch in _epochs(run["record"]):
                for tag, value in _numbers(epoch, "/"):
                    writer.add_scalar(tag, value, epoch["epoch"])
    return folder


def _runs(sweep: Sweep) -> list[dict[str, Any]]:
    """The finished runs with the columns of a table's frame, ``record`` among them."""
    return arrange(sweep.records(), sweep.classes).frame.to_dict("records")


def _epochs(record: Record) -> list[dict[str, Any]]:
    """All that is stored of the epochs. A record may hold what tables show alone."""
    return record.folder.epochs() or record.epochs


def _numbers(value: Mapping[str, Any], joint: str, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of an epoch by their paths, without its own number."""
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from _numbers(each, joint, f"{prefix}{name}{joint}")
        elif isinstance(each, (int, float)) and f"{prefix}{name}" != "epoch":
            yield f"{prefix}{name}", each


def _name(run: Mapping[str, Any]) -> str:
    """A path for a run. It ends with the beginning of the key, so that no two runs share one."""
    seeds = f"seed {run['seed']}" + (f", data seed {run['data_seed']}" if run["data_seed"] else "")
    parts = (run["row"], run["condition"] or run["dataset"], f"{seeds}, {run['key'][:8]}")
    return "/".join(re.sub(r"[^\w.,=()+ -]", "_", str(part)).strip(". ") or "_" for part in parts)
