"""Finished runs by what a person calls them: a sweep, the folder of a run, a key, or how a key begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, StoreError, nearest, require
from fer_bench.data import index
from fer_bench.store.diff import find_run
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import Record, read_record, run_state
from fer_bench.sweep.record import SWEEP, Sweep, find_sweep, read_sweep


def find_records(out: Path, names: Iterable[str] = ()) -> list[Record]:
    """The finished runs of sweeps, and runs; each once, in the order of their names.

    Args:
        out: Folder of the results.
        names: Sweeps (names or folders) and runs (folders, keys, or how a key begins). Without any, the newest sweep.

    Raises:
        SpecError: A name is unknown, or a run or every run of a sweep is not finished.
        StoreError: Files of a sweep or a run are damaged.
    """
    found: dict[Path, Record] = {}
    for name in tuple(names) or (None,):
        if name is None or _is_sweep(out, name):
            sweep = find_sweep(out, name)
            require(bool(sweep.records()), f"no run of {sweep.name} is finished yet, or its records are not here")
            chosen = sweep.records()
        else:
            chosen = [finished_run(out, name)]
        found |= {record.folder.path.resolve(): record for record in chosen}
    return list(found.values())


def finished_run(out: Path, name: str) -> Record:
    """One finished run by its folder, its key, or how its key begins; or the one run of a sweep.

    Raises:
        SpecError: There is no such run, it is not finished, or a sweep has several; the message lists their keys.
        StoreError: Its files are damaged.
    """
    if _is_sweep(out, name):
        sweep = find_sweep(out, name)
        if len(records := sweep.records()) == 1:
            return records[0]
        names = "".join(f"\n  {each.key}  {sweep.content['names'].get(each.key, '')}" for each in records)
        raise SpecError(f"sweep {sweep.name} has {len(records)} finished runs, and one is needed: name it{names}")
    try:
        folder = find_run(out, name)
    except SpecError as error:
        sweeps = [path.parent.name for path in (out / "sweeps").glob(f"*/{SWEEP}")]
        close = nearest(name, sweeps)
        raise SpecError(f"{error}{close}" if "did you mean" in close else str(error)) from None
    if folder.final is None:
        state, reason = run_state(folder)
        raise SpecError(f"run {folder.path.name} is not finished: {state}" + (f": {reason}" if reason else ""))
    return read_record(folder)


def sweeps_with(folder: RunFolder) -> list[Sweep]:
    """The sweeps in the folder of results of a run that it belongs to, the newest first."""
    path = folder.path.resolve()
    found = []
    for file in path.parents[3].glob(f"sweeps/*/{SWEEP}"):
        with suppress(StoreError, OSError):
            sweep = read_sweep(file.parent)
            if path.relative_to(path.parents[3]).as_posix() in sweep.content["runs"]:
                found.append((file.stat().st_mtime, sweep))
    return [sweep for _, sweep in sorted(found, key=lambda each: -each[0])]


def class_names(record: Record) -> tuple[str, ...]:
    """The names of the classes of a run: from its sweep, or else from the cache of data sets; else their numbers."""
    spec: Mapping[str, Any] = record.spec
    for sweep in sweeps_with(record.folder):
        if spec["dataset"] in sweep.classes:
            return sweep.classes[spec["dataset"]]
    with suppress(OSError, ValueError):  # its labels are not in this cache
        return index.load(spec["fingerprint"]).classes
    return tuple(str(number) for number in range(len(record.epochs[-1]["test"]["recall"])))


def _is_sweep(out: Path, name: str) -> bool:
    return (out / "sweeps" / name / SWEEP).is_file() or (Path(name) / SWEEP).is_file()
