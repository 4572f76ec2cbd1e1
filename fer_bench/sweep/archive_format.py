"""The file of an archive: a .tar.gz whose first member is a manifest with the sha256 and size of every other one.

One set of rules says which names and sizes an archive may hold. It is checked before an archive is written and before
one is read, so that no archive is written that would be refused.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import secrets
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from fer_bench.core.errors import ArchiveError
from fer_bench.core.files import BoundedGzip, file_checksum, named
from fer_bench.core.schema import schema_error
from fer_bench.core.text import printable
from fer_bench.store.folder import MODEL
from fer_bench.sweep.record import TABLES

FORMAT = 1

MANIFEST = "manifest.json"

RECORDS = ("spec.json", "env.json", "epochs.jsonl", "final.json", "sums.json", "scores.npz")
"""Files of every run in an archive."""

OPTIONAL = ("probe.npz", "log.txt")

RUN = re.compile(r"runs/(?P<dataset>[\w.-]+)/(?P<method>[a-z][a-z0-9_]*)/(?P<key>[0-9a-f]{16})")

LARGEST = 4 << 30
"""Bytes of networks and logs."""

LARGEST_READ = 256 << 20
"""Bytes of a file that is read whole, and of a header. Larger ones are refused unread."""


@dataclass(frozen=True)
class Entry:
    """A member of an archive: its sha256 and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What an archive holds: the name of its sweep, and its files by name."""

    sweep: str
    files: Mapping[str, Entry]

    @property
    def runs(self) -> list[str]:
        """Paths of the runs, sorted."""
        return sorted({match[0] for name in self.files if (match := RUN.match(name))})


def make_manifest(sweep: str, files: Mapping[str, Path]) -> Manifest:
    """The manifest of files, by their names in the archive."""
    entries = {name: Entry(file_checksum(path), path.stat().st_size) for name, path in files.items()}
    return Manifest(sweep, entries)


def manifest_error(manifest: Manifest) -> str:
    """What an archive of this manifest may not hold; "" if all is allowed."""
    for name, entry in manifest.files.items():
        folder, _, file = name.rpartition("/")
        allowed = ("sweep.json", *TABLES) if folder == "sweep" else (*RECORDS, *OPTIONAL, MODEL)
        if file not in allowed or not (folder == "sweep" or is_run(folder)):
            return f"{name!r} is no file of a run or a sweep"
        if not 0 <= entry.bytes <= (LARGEST if file in (MODEL, "log.txt") else LARGEST_READ):
            return f"{name} has an impossible size"
    return ""


def is_run(path: str) -> bool:
    """Whether a path is that of a run's folder, and can lead nowhere else."""
    match = RUN.fullmatch(path)
    return match is not None and not match["dataset"].startswith(".")


def sweep_error(content: Any, name: str) -> str:
    """Why the content of a ``sweep.json`` may not be in an archive of the sweep ``name``; "" if it may."""
    wrong = "its sweep.json is not one of a sweep"
    try:
        runs, names, skipped, classes = (content[field] for field in ("runs", "names", "skipped", "classes"))
        texts = [content["name"], content["command"], content["created"], *names.values(), *skipped]
        texts += [text for dataset, values in classes.items() for text in (dataset, *values)]
        texts += _strings(content.get("variants", {}))
        keys = {Path(run).name for run in runs if isinstance(run, str) and is_run(run)}
        whole = len(keys) == len(runs) and keys == set(names) and content["name"] == name
    except (KeyError, TypeError, AttributeError, RecursionError):
        return wrong
    needed = {"name", "command", "runs", "names", "skipped", "classes", "created"}
    if set(content) - {"variants", "tuning"} != needed or not whole:
        return wrong
    odd = next((text for text in texts if not isinstance(text, str) or not printable(text)), None)
    return "" if odd is None else f"{wrong}: it holds {odd!r}"


def _strings(value: Any) -> list[str]:
    """Every string in a value from JSON, names included."""
    if isinstance(value, dict):
        return [text for item in value.items() for text in _strings(list(item))]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []


def write_archive(target: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Writes an archive. The same files give the same bytes."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode()
    try:
        with (
            named(target),
            part.open("xb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, MANIFEST, io.BytesIO(content), len(content))
            for name, path in files.items():
                with path.open("rb") as handle:
                    _add(archive, name, handle, manifest.files[name].bytes)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, handle: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, handle)


def extract_archive(source: Path, folder: Path) -> Manifest:
    """Extracts an archive below ``folder``: only files that its manifest names, each with the checksum that it states.

    Raises:
        ArchiveError: The archive is damaged, or holds anything else.
        OSError: The disk is full.
    """
    try:
        with BoundedGzip(source, LARGEST_READ) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            manifest = _read_manifest(archive, source)
            need = sum(entry.bytes for entry in manifest.files.values())
            if need > shutil.disk_usage(folder).free:
                raise ArchiveError(f"{source} needs {need >> 20} MiB, more than is free in {folder.parent}")
            left = dict(manifest.files)
            while member := archive.next():
                entry = left.pop(member.name, None)
                if entry is None or not member.isreg():
                    raise ArchiveError(f"{source}: the member {member.name!r} is not in its manifest, or is no file")
                if member.size != entry.bytes:
                    raise ArchiveError(f"{source}: {member.name} has {member.size} bytes, not {entry.bytes}")
                with named(folder / member.name):
                    archive.extract(member, folder, filter=_as_new)
                if file_checksum(folder / member.name) != entry.sha256:
                    raise ArchiveError(f"{source}: {member.name} is not what was packed (its sha256 differs)")
    except Exception as error:  # tarfile, gzip and zlib have no common error for a damaged file
        if isinstance(error, ArchiveError) or getattr(error, "errno", None):  # the system's: a full disk
            raise
        raise ArchiveError(f"{source} is damaged or no archive of fer-bench: {error}") from None
    if left:
        raise ArchiveError(f"{source}: {min(left)} is missing")
    return manifest


def _as_new(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Python's filter for data, and files get the present time."""
    return tarfile.data_filter(member, folder).replace(mtime=None, deep=False)  # type: ignore[arg-type]


def _read_manifest(archive: tarfile.TarFile, source: Path) -> Manifest:
    """The manifest, which is the first member. ArchiveError where it is damaged or holds what is not allowed."""
    first = archive.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > LARGEST_READ:
        raise ArchiveError(f"{source} does not begin with {MANIFEST}; `fer-bench pack` makes archives that do")
    handle = archive.extractfile(first)
    assert handle is not None  # a regular file
    try:
        content = json.loads(handle.read())
        wrong = schema_error(content, {"format": float, "files": {}}, "it")
        entries = {} if wrong else content["files"]
        shape = {"sha256": str, "bytes": float}
        wrong = wrong or next(filter(None, (schema_error(entry, shape, name) for name, entry in entries.items())), "")
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    if wrong:
        raise ArchiveError(f"{source}: its manifest is damaged ({wrong})")
    if content["format"] != FORMAT:
        raise ArchiveError(f"{source} is of format {content['format']}; this fer-bench reads format {FORMAT}")
    files = {name: Entry(entry["sha256"], entry["bytes"]) for name, entry in entries.items()}
    manifest = Manifest(str(content.get("sweep", "")), files)
    if wrong := manifest_error(manifest):
        raise ArchiveError(f"{source}: {wrong}")
    return manifest
