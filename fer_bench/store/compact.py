"""The records of a sweep in one small file: tables, plots, and a sweep that grows need no folders of these runs.

``records.jsonl.gz`` lies beside ``sweep.json``. Each line is one run: the path of its folder, specification, results,
epochs, and where it was trained. It holds no arrays (logits, clean scores, probes), no networks, and of the epochs what
tables, plots and pages show of them (:func:`fer_bench.store.model_selection.shown_epochs`).

The file may be the only copy of a record. So a line is replaced only by the record of the run's own folder, and dropped
only where that folder holds the record and the sweep does not have the run any more.
"""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fer_bench.core.errors import StoreError, UnreadableRun
from fer_bench.core.files import parse_json, write_atomically
from fer_bench.core.schema import schema_error
from fer_bench.core.spec import canonical_json
from fer_bench.store.folder import RunFolder
from fer_bench.store.packed import texts_of
from fer_bench.store.records import Record, Values, read_record, record_error

COMPACT = "records.jsonl.gz"

LONGEST = 64 << 20
"""Bytes of one line. A longer line is refused unread."""

LINE = {"path": str, "spec": {}, "final": {}, "epochs": [{}], "environment": {}}

log = logging.getLogger(__name__)


def write_compact(
    file: Path,
    out: Path,
    paths: Sequence[str],
    records: Iterable[Record],
    write: Callable[[Path, bytes], None] = write_atomically,
) -> None:
    """Writes what is known of the runs of a sweep. The same records give the same bytes, which are written once.

    Args:
        file: The file.
        out: Folder of the results.
        paths: Runs of the sweep ("runs/<dataset>/<method>/<key>"), in order.
        records: Records that were read from the folders of these runs. The other lines of the file stay.
        write: Writes the file.

    Raises:
        StoreError: The file is damaged, and a run of it may not be elsewhere. Nothing is written.
    """
    places = {"/".join(record.folder.path.parts[-4:]): record for record in records}
    read = {path: _line(path, record) for path, record in places.items()}
    if set(paths) <= set(read) and _holds(file, [read[path] for path in paths]):
        return
    lines, wanted = _known_lines(file, replaceable=set(paths) <= set(read)), set(paths)
    others = {path: line for path, line in lines.items() if path not in wanted}
    lines |= read
    kept = [lines[path] for path in paths if path in lines]
    kept += [line for path, line in others.items() if not _readable(RunFolder(out / path))]
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, buffer, mtime=0) as packed:
        packed.writelines(kept)
    content = buffer.getvalue()
    if kept and not (file.is_file() and file.read_bytes() == content):
        write(file, content)


def read_compact(file: Path, out: Path, paths: Collection[str]) -> dict[str, Record]:
    """Reads the records of the runs ``paths`` ("runs/<dataset>/<method>/<key>") that the file holds, by path.

    Returns an empty dict if there is no such file.

    Raises:
        StoreError: The file is damaged; the message names it and the line.
    """
    found: dict[str, Record] = {}
    for where, _, values in _lines(file):
        path = values["path"]
        if path not in paths:
            continue
        contents = Values(values["spec"], values["final"], values["epochs"], values["environment"])
        record = Record(RunFolder(out / path), contents, absent=True)
        if wrong := record_error(record) if record.epochs else "it has no epochs":
            raise _damaged(where, wrong)
        found[path] = record
    return found


def _holds(file: Path, lines: Sequence[bytes]) -> bool:
    """Whether the file has exactly these lines. It is quicker to see than what else is in it."""
    try:
        return file.is_file() and gzip.decompress(file.read_bytes()) == b"".join(lines)
    except (OSError, EOFError, zlib.error):
        return False


def _known_lines(file: Path, replaceable: bool) -> dict[str, bytes]:
    """The lines of the file by path. A damaged file counts as none where all it should hold is ``replaceable``."""
    try:
        return {values["path"]: line.rstrip(b"\n") + b"\n" for _, line, values in _lines(file)}
    except StoreError as damage:
        if not replaceable:
            raise
        log.warning("%s: it is made again from the folders of the runs", str(damage).partition(";")[0])
        return {}


def _line(path: str, record: Record) -> bytes:
    """One line, with its keys in order."""
    texts = texts_of(record)
    parts = (texts["environment"], texts["epochs"], texts["final"], canonical_json(path).encode(), texts["spec"])
    return b'{"environment":%b,"epochs":%b,"final":%b,"path":%b,"spec":%b}\n' % parts


def _readable(folder: RunFolder) -> bool:
    try:
        read_record(folder)
    except UnreadableRun:
        return False
    return True


def _lines(file: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Where each line is, the line, and its values, which have the shape of LINE. StoreError where one is damaged."""
    number = 0
    try:
        if file.exists() and not file.is_file():  # opening a pipe would wait
            raise ValueError("it is no file")
        with gzip.open(file, "rb") as packed:
            while line := packed.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise ValueError("the line is too long")
                values = parse_json(line)
                if wrong := schema_error(values, LINE, "the line"):
                    raise ValueError(wrong)
                yield f"{file}, line {number}", line, values
    except FileNotFoundError:
        return
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(f"{file}, line {number}" if number else str(file), error) from None


def _damaged(where: str, why: object) -> StoreError:
    hint = "restore the file, or remove it: runs without a folder on this machine are then trained again"
    return StoreError(f"{where} is damaged ({why}); {hint}")
