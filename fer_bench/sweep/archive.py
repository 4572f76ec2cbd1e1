"""One file that carries a sweep to another machine: ``pack`` writes it, ``unpack`` checks all of it and merges it.

A .tar.gz with ``manifest.json`` first (the sha256 and size of every other member), then ``sweep.json``, the tables, and
the records of each finished run. Images and checkpoints are never in it. The manifest tells damage and careless edits;
it is no signature, so compare the archive's own sha256 with what the sender says (``pack`` prints it).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.errors import StoreError, require
from fer_bench.core.files import file_checksum, named, write_atomically
from fer_bench.core.schema import schema_error
from fer_bench.core.text import printable
from fer_bench.store.diff import difference
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import to_row
from fer_bench.store.lease import Busy
from fer_bench.store.records import read_record
from fer_bench.sweep.record import TABLES, Sweep, check_sweep_name, find_sweep, sweep_folder

FORMAT = 1

MANIFEST = "manifest.json"

RECORDS = ("spec.json", "env.json", "epochs.jsonl", "final.json", "scores.npz")
"""What every packed run has."""

OPTIONAL = ("probe.npz", "sums.json", "log.txt")

NETWORKS = "networks.pt"

RUN = re.compile(r"runs/(?P<dataset>[\w.-]+)/(?P<method>[a-z][a-z0-9_]*)/(?P<key>[0-9a-f]{16})")

LARGEST = 4 << 30
"""Bytes of networks and logs, and LARGEST_READ of what is read whole: more is refused unread."""

LARGEST_READ = 256 << 20

STAGE = ".unpack-"
"""How the folder begins in which an archive is checked; ``fer-bench clean`` removes one that was left behind."""

COSTS = ("peak_memory_bytes",)
"""Results that depend on the machine: two runs that differ only here, or in seconds, measured the same."""


class ArchiveError(StoreError):
    """An archive is damaged, was tampered with, or contradicts what is stored; nothing of it was written."""


@dataclass(frozen=True)
class Packed:
    """``left_out`` runs of the sweep were not finished."""

    path: Path
    runs: int
    left_out: int
    sha256: str


@dataclass(frozen=True)
class Unpacked:
    """``known`` runs were there before, with the same numbers."""

    sweep: str
    added: int
    known: int
    missing: int


def pack(sweep: Sweep, target: Path, networks: bool = False) -> Packed:
    """Writes the finished runs of a sweep to ``target``; the same runs give the same bytes. With ``networks``, also
    trained networks that were kept. SpecError where no run is finished."""
    finished = [folder for folder in sweep.runs if (folder.path / "final.json").exists()]
    require(bool(finished), f"no run of {sweep.name} is finished; see `fer-bench status {sweep.name}`")
    files = {f"sweep/{name}": sweep.folder / name for name in ("sweep.json", *TABLES)}
    for folder, name in zip(sweep.runs, sweep.content["runs"], strict=True):
        if (folder.path / "final.json").exists():
            wanted = (*RECORDS, *OPTIONAL, *([NETWORKS] if networks else []))
            files |= {f"{name}/{file}": folder.path / file for file in wanted}
            absent = [file for file in RECORDS if not (folder.path / file).exists()]
            require(not absent, f"{folder.path} has no {', '.join(absent)}; remove the folder to train it again")
            damage = folder.damage
            require(not damage, f"{damage}; run the sweep's command again to repeat the run")
    files = {name: path for name, path in files.items() if path.exists()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "sweep": sweep.name,
        "files": {name: {"sha256": file_checksum(path), "bytes": path.stat().st_size} for name, path in files.items()},
    }
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            named(target),
            part.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            content = json.dumps(manifest, indent=1).encode()
            _add(archive, MANIFEST, io.BytesIO(content), len(content))
            for name, path in files.items():
                with path.open("rb") as handle:
                    _add(archive, name, handle, manifest["files"][name]["bytes"])
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Packed(target, len(finished), len(sweep.runs) - len(finished), file_checksum(target))


def unpack(source: Path, out: Path, sha256: str = "", name: str = "") -> Unpacked:
    """Merges an archive into ``out``, whole or not at all; ``name`` replaces the name of its sweep.

    Runs that are there with the same numbers are kept as they are. ArchiveError for an archive that is damaged (or not
    the one of ``sha256``), whose names lead elsewhere, whose runs are not what their keys say, or whose runs or sweep
    contradict those that are there: with their names, and before anything is written.
    """
    require(source.is_file(), f"{source}: no such file")
    if sha256 and file_checksum(source) != sha256.lower():
        raise ArchiveError(f"{source} is another file: its sha256 is {file_checksum(source)}, not {sha256}")
    with _stage(out) as stage:
        manifest = _extract(source, stage)
        content = _sweep(stage / "sweep" / "sweep.json", source, manifest)
        content["name"] = name or content["name"]
        check_sweep_name(content["name"])
        packed = sorted({match[0] for file in manifest["files"] if (match := RUN.match(file))})
        stray = sorted(set(packed) - set(content["runs"]))
        _refuse(source, [f"{run} is in no sweep of the archive" for run in stray])
        _refuse(source, [f"{run}: {wrong}" for run in packed if (wrong := examine(RunFolder(stage / run)))])
        new = [run for run in packed if RunFolder(out / run).state == "new"]
        known = sorted(set(packed) - set(new))
        _refuse(source, [f"{run}: {wrong}" for run in known if (wrong := _contradiction(stage / run, out / run))])
        _refuse(source, _other_sweep(content, out))
        _refuse(source, [wrong for run in new if (wrong := _make_room(out / run, stage / "begun" / run))])
        for run in new:
            (stage / run).rename(out / run)
        file = sweep_folder(out, content["name"]) / "sweep.json"
        if not file.exists():
            write_atomically(file, json.dumps(content, indent=1).encode())
    return Unpacked(content["name"], len(new), len(known), len(content["runs"]) - len(packed))


def examine(folder: RunFolder) -> str:
    """What is wrong with a finished run as it is stored, "" if it holds together: the key is the hash of its
    specification, and results, epochs and stored logits say the same accuracy."""
    try:
        spec, final, epochs = folder.spec, folder.final, folder.epochs()
        canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
        key = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        if key != folder.path.name:
            return f"its specification has the key {key}"
        if spec is None or spec["method"] != folder.path.parent.name:
            return "its specification is of another method"
        if damage := folder.damage:
            return damage
        if final is None:
            return "it has no results"
        for arrays in folder.path.glob("*.npz"):
            with zipfile.ZipFile(arrays) as stored:
                if sum(each.file_size for each in stored.infolist()) > LARGEST_READ:
                    return f"the arrays of {arrays.name} are of impossible size"
        to_row(read_record(folder))
        if final["test"] != epochs[-1]["test"]:
            return "its results are not those of its last epoch"
        with np.load(folder.path / "scores.npz", allow_pickle=False) as stored:
            right = stored["test_logits"].argmax(1) == stored["test_label"]
        if abs(right.mean() - final["test"]["overall"]) > 0.5 / len(right):
            return (
                f"its stored logits give an accuracy of {right.mean():.4f}, its results {final['test']['overall']:.4f}"
            )
    except Exception as error:  # what an archive holds may be anything
        return f"it cannot be read ({type(error).__name__}: {error})"
    return ""


# --- reading ------------------------------------------------------------------------------------------------------


@contextmanager
def _stage(out: Path) -> Iterator[Path]:
    """A folder on the disk of the results, so that what was checked is moved into place by renaming."""
    out.mkdir(parents=True, exist_ok=True)
    stage = out / f"{STAGE}{secrets.token_hex(4)}"
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _extract(source: Path, stage: Path) -> dict[str, Any]:
    """Writes the members that the manifest names below ``stage``, each with the hash that it says. Members are read
    one by one and written under names of ours; nothing is extracted by the tar library."""
    try:
        with _Plain(source) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or not first.isreg() or first.size > LARGEST_READ:
                raise ArchiveError(f"{source} does not begin with {MANIFEST}; `fer-bench pack` makes archives that do")
            manifest = _manifest(_content(archive, first).read(), source)
            need = sum(entry["bytes"] for entry in manifest["files"].values())
            if need > shutil.disk_usage(stage).free:
                raise ArchiveError(f"{source} needs {need >> 20} MiB, more than is free in {stage.parent}")
            left = dict(manifest["files"])
            while member := archive.next():
                entry = left.pop(member.name, None)
                if entry is None or not member.isreg():
                    raise ArchiveError(f"{source}: the member {member.name!r} is not in its manifest, or is no file")
                if member.size != entry["bytes"]:
                    raise ArchiveError(f"{source}: {member.name} has {member.size} bytes, not {entry['bytes']}")
                target = stage / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with named(target), target.open("xb") as handle:
                    shutil.copyfileobj(_content(archive, member), handle, 1 << 20)
                if file_checksum(target) != entry["sha256"]:
                    raise ArchiveError(f"{source}: {member.name} is not what was packed (its sha256 differs)")
            if left:
                raise ArchiveError(f"{source}: {min(left)} is missing")
            return manifest
    except Exception as error:  # tarfile, gzip and zlib have no common error for a damaged file
        if isinstance(error, ArchiveError) or getattr(error, "errno", None):  # the system's: a full disk
            raise
        raise ArchiveError(f"{source} is damaged or no archive of fer-bench: {error}") from None


class _Plain(gzip.GzipFile):
    """What is packed, never more of it in memory than a manifest needs, whatever a header of the archive asks for."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError("a header of impossible size")
        return super().read(size)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    handle = archive.extractfile(member)
    assert handle is not None  # a regular file
    return handle


def _manifest(text: bytes, source: Path) -> dict[str, Any]:
    """The manifest, with names that can only lie in a run's folder or in ``sweep``. ArchiveError otherwise."""
    try:
        manifest = json.loads(text)
        wrong = schema_error(manifest, {"format": float, "files": {}}, "it")
        entries = {} if wrong else manifest["files"]
        shape = {"sha256": str, "bytes": float}
        wrong = wrong or next(filter(None, (schema_error(entry, shape, name) for name, entry in entries.items())), "")
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    if wrong:
        raise ArchiveError(f"{source}: its manifest is damaged ({wrong})")
    if manifest["format"] != FORMAT:
        raise ArchiveError(f"{source} is of format {manifest['format']}; this fer-bench reads format {FORMAT}")
    for name in entries:
        folder, _, file = name.rpartition("/")
        allowed = ("sweep.json", *TABLES) if folder == "sweep" else (*RECORDS, *OPTIONAL, NETWORKS)
        if file not in allowed or not (folder == "sweep" or _is_run(folder)):
            raise ArchiveError(f"{source}: {name!r} is no file of a run or a sweep")
        if not 0 <= entries[name]["bytes"] <= (LARGEST if file in (NETWORKS, "log.txt") else LARGEST_READ):
            raise ArchiveError(f"{source}: {name} has an impossible size")
    return manifest


def _is_run(path: str) -> bool:
    match = RUN.fullmatch(path)
    return match is not None and not match["dataset"].startswith(".")


def _sweep(file: Path, source: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The packed ``sweep.json``, if it has the fields that a sweep has and they name runs and nothing else."""
    wrong = ArchiveError(f"{source}: its sweep.json is not one of a sweep")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        runs, names, skipped, classes = (content[name] for name in ("runs", "names", "skipped", "classes"))
        texts = [content["name"], content["command"], content["created"], *names.values(), *skipped]
        texts += [text for name, values in classes.items() for text in (name, *values)]
        keys = {Path(run).name for run in runs if isinstance(run, str) and _is_run(run)}
        whole = len(keys) == len(runs) and keys == set(names) and content["name"] == manifest.get("sweep")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise wrong from None
    known = {"name", "command", "runs", "names", "skipped", "classes", "created"}
    # what a terminal would obey is no text
    clear = all(isinstance(text, str) and printable(text) for text in texts)
    if set(content) != known or not (clear and whole):
        raise wrong
    return content


def _contradiction(packed: Path, stored: Path) -> str:
    """Why a run that is there cannot stand for the packed one, "" if both measured the same."""
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
    name = content["name"]
    if not (sweep_folder(out, name) / "sweep.json").exists():
        return []
    if set(find_sweep(out, name).content["runs"]) == set(content["runs"]):
        return []
    return [f"the sweep {name} has other runs in {out}; unpack it under another name: --name {name}-2"]


def _make_room(target: Path, aside: Path) -> str:
    """Moves away what is left of a run that never began. Why it cannot, if somebody is at it or has begun it by now."""
    for folder in (target, aside):
        folder.parent.mkdir(parents=True, exist_ok=True)
    here = RunFolder(target)
    try:
        if target.exists():
            with here.claim():
                if here.final or here.epochs():
                    return f"{target} was begun in this moment; unpack the archive again"
                target.rename(aside)
    except Busy as busy:
        return f"{busy}; if that has ended, remove the run with `fer-bench clean`"
    return ""


def _refuse(source: Path, wrong: list[str]) -> None:
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise ArchiveError(f"{source} is refused, nothing was written: {'; '.join(wrong[:5])}{more}")


def _add(archive: tarfile.TarFile, name: str, handle: Any, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, handle)
