"""What may be removed from a folder of results: failed and abandoned runs, runs of outdated code, left-over files."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fer_bench.core.errors import StoreError
from fer_bench.core.schema import schema_error
from fer_bench.core.spec import PROTOCOL_VERSION
from fer_bench.plugins.registry import Plugin
from fer_bench.store import lease
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy
from fer_bench.sweep.archive import STAGE

TRASH = ".trash-"
"""Beginning of the name of the folder into which things are moved before they are deleted."""

YOUNG = 3600.0
"""Seconds for which a left-over file outside of a run may still be in use."""

SPEC = {"method": str, "code": str, "protocol": float}


@dataclass(frozen=True)
class Waste:
    """Something that may be removed.

    Attributes:
        path: Folder of a run, or a left-over file or folder.
        why: Why it may be removed.
        size: Bytes.
        run: The run that it is, or that it belongs to; None for what belongs to no run.
        state: State of that run.
    """

    path: Path
    why: str
    size: int
    run: RunFolder | None = None
    state: str = ""


def find(out: Path, plugins: Mapping[str, Plugin], outdated: bool = False) -> list[Waste]:
    """What may be removed, runs first. It never includes a run that is being trained.

    Args:
        out: Folder of the results.
        plugins: Known methods, by key. The code of a run of another method is never outdated.
        outdated: Whether finished runs are included if their method's code or the protocol has changed since.
    """
    current = {key: plugin.code for key, plugin in plugins.items() if not plugin.error}
    runs: list[Waste] = []
    files: list[Waste] = []
    for path in sorted((out / "runs").glob("*/*/*")):
        folder = RunFolder(path)
        state = folder.state
        if state == "running":
            continue
        if why := _why(folder, state, current, outdated):
            runs.append(Waste(path, why, size(path), folder, state))
            continue
        leftovers = [*path.glob(".*.part"), *([path / "checkpoint.pt"] if state == "done" else [])]
        files += [Waste(file, "left-over file", size(file), folder, state) for file in leftovers if file.exists()]
    for pattern in (f"{STAGE}*", f"{TRASH}*", ".*.part", "sweeps/*/.*.part", "sweeps/*/plots/.*.part"):
        files += [Waste(path, "left over", size(path)) for path in sorted(out.glob(pattern)) if _age(path) > YOUNG]
    return [*runs, *files]


def _why(folder: RunFolder, state: str, current: Mapping[str, str], outdated: bool) -> str:
    """Why a run may be removed; "" if it stays."""
    try:
        spec = folder.spec or {}
        error = folder.failure.get("error", "") if state == "failed" else ""
        if spec and (wrong := schema_error(spec, SPEC, "spec.json")):
            raise StoreError(wrong)
    except StoreError as damage:
        return "" if state == "done" else str(damage)
    changed = _changed(spec, current) if spec else []
    if state == "done":
        return " and ".join(changed) if outdated else ""
    reason = {"failed": f"failed: {error}", "interrupted": "interrupted", "new": "never begun"}[state]
    return "; ".join([reason, *changed])


def _changed(spec: Mapping[str, object], current: Mapping[str, str]) -> list[str]:
    """What has changed since a run was trained."""
    code = current.get(str(spec["method"]))
    return [
        *(["the code of its method has changed"] if code and spec["code"] != code else []),
        *(["the protocol has changed"] if spec["protocol"] != PROTOCOL_VERSION else []),
    ]


def remove(found: Sequence[Waste], out: Path) -> tuple[int, int]:
    """Removes what :func:`find` gave.

    A run is claimed first and moved away as a whole, so that no other process sees half of it. A run that a lost
    machine has left claimed is watched for a lease.

    Returns:
        How many were removed, and how many stay because their run has changed its state since.
    """
    trash, removed = out / f"{TRASH}{secrets.token_hex(4)}", 0
    trash.mkdir()
    left = list(enumerate(found))
    try:
        for pause in (lease.LEASE + 1, 0):
            busy = []
            for number, waste in left:
                try:
                    removed += _move(waste, trash / str(number))
                except Busy:
                    busy.append((number, waste))
            left = busy
            time.sleep(pause if left else 0)
    finally:
        shutil.rmtree(trash, ignore_errors=True)
    return removed, len(found) - removed


def _move(waste: Waste, target: Path) -> bool:
    """Moves it away; False if its run has changed its state. Busy if another process holds the run."""
    if waste.run is None:
        waste.path.rename(target)
        return True
    with suppress(FileNotFoundError):
        if waste.run.path.exists() and waste.run.state == waste.state:
            with waste.run.claim():
                if waste.state == "done" or not waste.run.final:  # else another process has just finished it
                    waste.path.rename(target)
                    return True
    return False


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
