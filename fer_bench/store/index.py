"""An index of finished runs, so that thousands of them are not read and checked again for each command.

``<out>/.records-<user>.index`` holds of each run its records and its row, and what the file system says of the files
that they were read from: size, times of content and of status, inode. An entry counts only while all of that is as it
was. The index itself counts only if this user owns it, the same code of fer-bench wrote it, and its checksums fit.
Otherwise the folders are read, as they are without an index. It may be deleted at any time.

The file is a line of JSON (:class:`_Header`), then the sections: names and stamps of the runs, and one section for each
part of a record, with a line for each run. A section is read, and its checksum compared, when it is needed.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from fer_bench.core.errors import UnreadableRun
from fer_bench.core.files import checksum, read_each, write_atomically
from fer_bench.store.folder import RunFolder
from fer_bench.store.packed import PARTS, Packed, pack
from fer_bench.store.records import Record, read_record

log = logging.getLogger(__name__)

FILES = ("final.json", "spec.json", "epochs.jsonl", "sums.json", "env.json")
"""Files of a run that a record is read from."""

YOUNG = 60.0
"""Seconds after its last change in which a run is not indexed: a file may change twice at one time of a file system."""

WORTH = 100
"""Runs that are read and are not in the index until it is written again."""

LONGEST_HEADER = 1 << 16

Stamp = list[int]
"""Size, times and inode of each of FILES, one after the other; -1 for a file that cannot be looked at."""

_Entry = tuple[str, Stamp, Sequence[bytes]]
"""Name and stamp of a run, and the text of each of PARTS."""


def read_runs(out: Path, names: Sequence[str]) -> tuple[list[Record], list[str]]:
    """Reads finished runs, from the index where it knows them. Others are left out.

    Args:
        out: Folder of the results.
        names: Folders of the runs below it: "runs/<dataset>/<method>/<key>".

    Returns:
        The records that can be read, in the order of the names, and a line for each of the others that says why not.
    """
    index, made = Index(out), {}
    stamps = read_each(lambda name: stamp_of(f"{out}/{name}"), names)

    def read(item: tuple[str, Stamp]) -> Record | str:
        name, stamp = item
        folder = RunFolder(out / name)
        if index.knows(name, stamp):
            return Record(folder, Packed(functools.partial(index.text, name, folder)))
        try:
            record = read_record(folder)
            texts = pack(record)
        except UnreadableRun as error:
            return str(error)
        except (ValueError, TypeError, RecursionError):
            return record
        made[name] = (stamp, texts)
        return Record(folder, Packed(texts.__getitem__))

    answers = read_each(read, [(name, found) for name, found in zip(names, stamps, strict=True) if found is not None])
    _update(index, {name: stamp for name, stamp in zip(names, stamps, strict=True) if stamp is not None}, made)
    return [a for a in answers if isinstance(a, Record)], [a for a in answers if isinstance(a, str)]


def stamp_of(folder: str) -> Stamp | None:
    """What the file system says of the files of a run; None if the run is not finished."""
    stamp = []
    for name in FILES:
        try:
            found = os.stat(f"{folder}/{name}")  # noqa: PTH116 - a path object takes twice as long
            stamp += [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        except (FileNotFoundError, NotADirectoryError):
            if name == "final.json":
                return None
            stamp += [-1, -1, -1, -1]
        except OSError:
            stamp += [-1, -1, -1, -1]
    return stamp


class Index:
    """The index of a folder of results as it is stored, empty where it cannot be used.

    Attributes:
        file: The file.
        stamps: Stamp of each run, by name.
    """

    def __init__(self, out: Path) -> None:
        self.file = out / f".records-{os.getuid()}.index"
        self.stamps: dict[str, Stamp] = {}
        self._sections: dict[str, tuple[int, int, str]] = {}
        self._read: dict[str, list[bytes] | None] = {}
        self._places: dict[str, int] = {}
        with suppress(FileNotFoundError):
            try:
                self._open()
            except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
                self._forget(error)

    def knows(self, name: str, stamp: Stamp) -> bool:
        """Whether the entry of a run is of the files that are there now."""
        return self.stamps.get(name) == stamp

    def text(self, name: str, folder: RunFolder, part: str) -> bytes:
        """A part of the record of a run, from its folder if the index is damaged."""
        lines = self._lines(part)
        if lines is not None:
            return lines[self._places[name]]
        return pack(read_record(folder))[part]

    def entries(self) -> list[_Entry]:
        """All runs of the index; empty if a part of it is damaged."""
        columns = [lines for part in PARTS if (lines := self._lines(part)) is not None]
        if len(columns) < len(PARTS):
            return []
        return [(*run, texts) for run, texts in zip(self.stamps.items(), zip(*columns, strict=True), strict=True)]

    def _lines(self, part: str) -> list[bytes] | None:
        """A part of all records, in the order of ``stamps``; None if it is damaged."""
        if part not in self._read:
            try:
                lines = self._section(part).split(b"\n")
                self._read[part] = lines if len(lines) == len(self.stamps) else None
            except (OSError, ValueError, LookupError) as error:
                log.debug("%s is not used: %s", self.file, error)
                self._read[part] = None
                with suppress(OSError):
                    self.file.unlink()  # the next command makes it again
        return self._read[part]

    def _open(self) -> None:
        self._descriptor = _Descriptor(self.file)
        head = os.pread(self._descriptor.number, LONGEST_HEADER, 0).partition(b"\n")[0]
        header = orjson.loads(head)
        if header["code"] != code_version():
            raise ValueError("another version of fer-bench wrote it")
        start = len(head) + 1
        for name, length, digest in header["sections"]:
            self._sections[name] = (start, length, digest)
            start += length
        if start != self._descriptor.size:
            raise ValueError(f"it has {self._descriptor.size} bytes instead of {start}")
        runs = orjson.loads(self._section("runs"))
        self.stamps = dict(zip(runs["names"], runs["stamps"], strict=True))
        self._places = {name: place for place, name in enumerate(self.stamps)}

    def _section(self, name: str) -> bytes:
        start, length, digest = self._sections[name]
        content = os.pread(self._descriptor.number, length, start)
        if checksum(content) != digest:
            raise ValueError(f"its section {name!r} is damaged")
        return content

    def _forget(self, why: object) -> None:
        log.debug("%s is not used: %s", self.file, why)
        self.stamps, self._places = {}, {}


class _Descriptor:
    """A file that is open for reading until nobody needs it. OSError, ValueError unless it is this user's own file."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(self.number)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            raise ValueError("it is no file of this user")
        self.size = found.st_size

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self.number)


def _update(index: Index, seen: Mapping[str, Stamp], made: Mapping[str, tuple[Stamp, Mapping[str, bytes]]]) -> None:
    """Writes the index again if many runs were not in it. It is written whole or not at all; a failure is no error."""
    ripe = time.time_ns() - int(YOUNG * 1e9)
    new = {name: entry for name, entry in made.items() if _newest(entry[0]) < ripe}
    if len(new) < WORTH:
        return
    known = [
        (name, stamp, texts)
        for name, stamp, texts in index.entries()
        if name not in new and stamp == (seen[name] if name in seen else stamp_of(f"{index.file.parent}/{name}"))
    ]
    known += [(name, stamp, [texts[part] for part in PARTS]) for name, (stamp, texts) in new.items()]
    with suppress(OSError):
        write_atomically(index.file, _content(known))


def _newest(stamp: Stamp) -> int:
    return max((*stamp[1::4], *stamp[2::4]))


def _content(entries: Sequence[_Entry]) -> bytes:
    runs = {"names": [name for name, _, _ in entries], "stamps": [stamp for _, stamp, _ in entries]}
    sections = {"runs": orjson.dumps(runs)}
    for place, part in enumerate(PARTS):
        sections[part] = b"\n".join([texts[place] for _, _, texts in entries])
    listed: list[Any] = [[name, len(content), checksum(content)] for name, content in sections.items()]
    header = orjson.dumps({"code": code_version(), "sections": listed})
    return header + b"\n" + b"".join(sections.values())


@functools.cache
def code_version() -> str:
    """Names the code that reads, checks and flattens records: what another version wrote may be of another kind."""
    package = Path(__file__).parent.parent
    sources = sorted([*package.glob("store/*.py"), *package.glob("core/*.py")])
    return checksum(b"\0".join(path.read_bytes() for path in sources))
