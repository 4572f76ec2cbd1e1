"""All records of a finished sweep in one small file, so that its tables and plots can be made without its run folders.

``records.jsonl.gz`` lies beside ``sweep.json``. Each line is one run: the path of its folder, specification, results,
epochs, and where it was trained. It holds no arrays (logits, clean scores, probes) and no networks.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

from fer_bench.core.errors import StoreError
from fer_bench.core.files import parse_json, write_atomically
from fer_bench.core.schema import schema_error
from fer_bench.core.spec import canonical_json
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import Record, record_error

COMPACT = "records.jsonl.gz"

LONGEST = 64 << 20
"""Bytes of one line. A longer line is refused unread."""

LINE = {"path": str, "spec": {}, "final": {}, "epochs": [{}], "environment": {}}


def write_compact(file: Path, records: Iterable[Record], out: Path) -> None:
    """Writes the records, with the paths of their folders relative to ``out``. The same records give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, buffer, mtime=0) as packed:
        for record in records:
            line = {
                "path": record.folder.path.relative_to(out).as_posix(),
                "spec": record.spec,
                "final": record.final,
                "epochs": record.epochs,
                "environment": record.environment,
            }
            packed.write(f"{canonical_json(line)}\n".encode())
    write_atomically(file, buffer.getvalue())


def read_compact(file: Path, out: Path, paths: Collection[str]) -> dict[str, Record]:
    """Reads the records of the runs ``paths`` ("runs/<dataset>/<method>/<key>") that the file holds, by path.

    Returns an empty dict if there is no such file.

    Raises:
        StoreError: The file is damaged; the message names it and the line.
    """
    found: dict[str, Record] = {}
    number = 0
    try:
        with gzip.open(file, "rb") as packed:
            while line := packed.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise ValueError("the line is too long")
                values = parse_json(line)
                if wrong := schema_error(values, LINE, "the line"):
                    raise ValueError(wrong)
                if values["path"] in paths:
                    folder = RunFolder(out / values["path"])
                    record = Record(values["spec"], values["final"], values["epochs"], folder, values["environment"])
                    if not values["epochs"] or (wrong := record_error(record)):
                        raise ValueError(wrong or "it has no epochs")
                    found[values["path"]] = record
    except FileNotFoundError:
        return {}
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = f", line {number}" if number else ""
        raise StoreError(f"{file}{where} is damaged ({error}); remove it, or run the sweep's command again") from None
    return found
