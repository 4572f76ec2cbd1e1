"""One file that carries a sweep to another machine: ``pack`` writes it, ``unpack`` checks all of it and merges it.

An archive holds ``sweep.json``, the tables, and the records of each finished run. It never holds images or checkpoints.
Its manifest shows damage and careless edits. It is no signature: compare the archive's own sha256 with what the sender
says (``fer-bench pack`` prints it).
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.core.errors import ArchiveError, require
from fer_bench.core.files import file_checksum, write_atomically
from fer_bench.store.diff import difference
from fer_bench.store.folder import MODEL, REPEAT, RunFolder
from fer_bench.store.lease import Busy
from fer_bench.sweep.archive_format import (
    OPTIONAL,
    RECORDS,
    extract_archive,
    make_manifest,
    manifest_error,
    sweep_error,
    write_archive,
)
from fer_bench.sweep.examine import examine
from fer_bench.sweep.record import SWEEP, TABLES, Sweep, check_sweep_name, find_sweep, sweep_folder

STAGE = ".unpack-"
"""Beginning of the name of a folder in which an archive is checked; ``fer-bench clean`` removes what a kill left."""

COSTS = ("peak_memory_bytes",)
"""Results that depend on the machine. Two runs that differ only in these, or in seconds, measured the same."""

SHOWN = 5
"""Reasons for a refusal that are shown."""


@dataclass(frozen=True)
class Packed:
    """An archive that was written.

    Attributes:
        path: The archive.
        runs: Number of its runs.
        left_out: Number of runs of the sweep that are not finished on this machine.
        sha256: Checksum of the archive.
    """

    path: Path
    runs: int
    left_out: int
    sha256: str


@dataclass(frozen=True)
class Unpacked:
    """An archive that was merged.

    Attributes:
        sweep: Name of the sweep.
        added: Number of runs that are new here.
        known: Number of runs that were here before, with the same numbers.
        missing: Number of runs of the sweep that the archive does not hold.
    """

    sweep: str
    added: int
    known: int
    missing: int


def pack(sweep: Sweep, target: Path, networks: bool = False) -> Packed:
    """Writes the finished runs of a sweep to one file. The same runs give the same bytes.

    Args:
        sweep: The sweep.
        target: The file to write.
        networks: Whether trained networks that were kept are packed, too.

    Raises:
        SpecError: No run is finished.
        ArchiveError: A run is damaged, or the sweep holds something that :func:`unpack` would refuse.
    """
    finished = {
        name: folder
        for name, folder in zip(sweep.content["runs"], sweep.runs, strict=True)
        if (folder.path / "final.json").exists()
    }
    elsewhere = f"the runs of {sweep.name} are not on this machine, only their records" if sweep.absent() else ""
    require(bool(finished), elsewhere or f"no run of {sweep.name} is finished; see `fer-bench status {sweep.name}`")
    files = {f"sweep/{name}": sweep.folder / name for name in (SWEEP, *TABLES)}
    for name, folder in finished.items():
        wanted = (*RECORDS, *OPTIONAL, *([MODEL] if networks else []))
        files |= {f"{name}/{file}": folder.path / file for file in wanted}
        absent = [file for file in RECORDS if not (folder.path / file).exists()]
        _refuse(f"{folder.path} is not packed", [f"it has no {file}; {REPEAT}" for file in absent])
    files = {name: path for name, path in files.items() if path.exists()}
    manifest = make_manifest(sweep.name, files)
    wrong = [manifest_error(manifest) or sweep_error(sweep.content, sweep.name)]
    wrong += [f"{folder.path}: {why}; {REPEAT}" for folder in finished.values() if (why := examine(folder))]
    _refuse(f"the sweep {sweep.name} is not packed", list(filter(None, wrong)))
    write_archive(target, manifest, files)
    return Packed(target, len(finished), len(sweep.runs) - len(finished), file_checksum(target))


def unpack(source: Path, out: Path, sha256: str = "", name: str = "") -> Unpacked:
    """Merges an archive into the results, whole or not at all. Runs that are there with the same numbers are kept.

    Args:
        source: The archive.
        out: Folder of the results.
        sha256: Checksum that the archive must have; "" for any.
        name: Another name for its sweep; "" for its own.

    Raises:
        SpecError: There is no such file, or the name cannot be that of a sweep.
        ArchiveError: The archive is damaged or was tampered with, or contradicts what is stored. Nothing was written.
    """
    require(source.is_file(), f"{source}: no such file")
    if sha256 and file_checksum(source) != sha256.lower():
        raise ArchiveError(f"{source} is another file: its sha256 is {file_checksum(source)}, not {sha256}")
    with _stage(out) as stage:
        manifest = extract_archive(source, stage)
        content = _read_sweep(stage / "sweep" / SWEEP, source, manifest.sweep)
        content["name"] = check_sweep_name(name or content["name"])
        refused = f"{source} is refused, nothing was written"
        _refuse(refused, [f"{run} is in no sweep of it" for run in manifest.runs if run not in content["runs"]])
        _refuse(refused, [f"{run}: {why}" for run in manifest.runs if (why := examine(RunFolder(stage / run)))])
        new = [run for run in manifest.runs if RunFolder(out / run).state == "new"]
        known = sorted(set(manifest.runs) - set(new))
        _refuse(refused, [f"{run}: {why}" for run in known if (why := _contradiction(stage / run, out / run))])
        _refuse(refused, _other_sweep(content, out))
        _refuse(refused, [why for run in new if (why := _make_room(out / run, stage / "begun" / run))])
        for run in new:
            (stage / run).rename(out / run)
        file = sweep_folder(out, content["name"]) / SWEEP
        if not file.exists():
            write_atomically(file, json.dumps(content, indent=1).encode())
    return Unpacked(content["name"], len(new), len(known), len(content["runs"]) - len(manifest.runs))


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A folder on the disk of the results, so that checked runs are moved into place by renaming."""
    out.mkdir(parents=True, exist_ok=True)
    stage = out / f"{STAGE}{secrets.token_hex(4)}"
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _read_sweep(file: Path, source: Path, name: str) -> dict[str, Any]:
    """The ``sweep.json`` of an archive. ArchiveError where it is damaged or names anything but runs."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    if wrong := sweep_error(content, name):
        raise ArchiveError(f"{source}: {wrong}")
    return content


def _contradiction(packed: Path, stored: Path) -> str:
    """Why a run that is there differs from the packed one; "" if both measured the same."""
    here = RunFolder(stored)
    if here.state != "done":
        return f"it is {here.state} in {stored}; let it finish, or remove it with `fer-bench clean`"
    found = difference(here, RunFolder(packed))
    final = [name for name, _, _ in found.final if name not in COSTS]
    if found.spec or found.epochs or final or found.compared[0] != found.compared[1]:
        what = "settings" if found.spec else "epochs" if found.epochs else ", ".join(final[:3]) or "number of epochs"
        return f"{stored} has other {what}"
    return ""


def _other_sweep(content: dict[str, Any], out: Path) -> list[str]:
    """Why the sweep of an archive cannot have its name here; empty if it can."""
    name = content["name"]
    if not (sweep_folder(out, name) / SWEEP).exists():
        return []
    if set(find_sweep(out, name).content["runs"]) == set(content["runs"]):
        return []
    return [f"the sweep {name} has other runs in {out}; unpack it under another name: --name {name}-2"]


def _make_room(target: Path, aside: Path) -> str:
    """Moves away what is left of a run that never began.

    Returns:
        Why that cannot be done: another process holds the run, or has begun it by now. "" if it was done.
    """
    for folder in (target, aside):
        folder.parent.mkdir(parents=True, exist_ok=True)
    here = RunFolder(target)
    try:
        if target.exists():
            with here.claim():
                if here.final or here.epochs():
                    return f"{target} was started at this moment; unpack the archive again"
                target.rename(aside)
    except Busy as busy:
        return f"{busy}; if that has ended, remove the run with `fer-bench clean`"
    return ""


def _refuse(what: str, reasons: list[str]) -> None:
    if reasons:
        more = f" (and {len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
        raise ArchiveError(f"{what}: {'; '.join(reasons[:SHOWN])}{more}")
