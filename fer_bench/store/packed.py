"""Records as JSON texts that are parsed when they are asked for.

Ten thousand parsed records are millions of objects: they take a gigabyte, and every pass of Python's garbage collector
takes seconds. Their texts are fifty thousand objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from fer_bench.core.files import parse_json
from fer_bench.core.spec import canonical_json
from fer_bench.store.model_selection import shown_epochs
from fer_bench.store.records import Record
from fer_bench.store.row import row_values

PARTS = ("environment", "epochs", "final", "spec", "row")
"""What a record consists of, as :class:`fer_bench.store.records.Contents` names it."""


class Packed:
    """:class:`fer_bench.store.records.Contents` from texts.

    Args:
        text: Returns the text of a part, of :data:`PARTS`.
    """

    def __init__(self, text: Callable[[str], bytes]) -> None:
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the texts themselves."""
        return Packed, ({part: self.text(part) for part in PARTS}.__getitem__,)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """As ``spec.json`` holds it."""
        return dict(parse_json(self.text("spec")))

    @cached_property
    def final(self) -> dict[str, Any]:
        """As ``final.json`` holds it, without the test measures: those of the last epoch."""
        return dict(parse_json(self.text("final")))

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """What :func:`fer_bench.store.model_selection.shown_epochs` keeps."""
        return list(parse_json(self.text("epochs")))

    @cached_property
    def environment(self) -> dict[str, Any]:
        """As ``env.json`` holds it; empty if it could not be read."""
        return dict(parse_json(self.text("environment")))

    @property
    def row(self) -> dict[str, Any]:
        """What :func:`fer_bench.store.row.row_values` makes of the others."""
        return dict(parse_json(self.text("row")))


def texts_of(record: Record) -> Mapping[str, bytes]:
    """The text of each part but the row: JSON with sorted keys and no spaces, on one line."""
    if isinstance(record.contents, Packed):
        return {part: record.contents.text(part) for part in PARTS if part != "row"}
    values = {
        "environment": record.environment,
        "epochs": shown_epochs(record.epochs),
        "final": {name: value for name, value in record.final.items() if name != "test"},  # that of the last epoch
        "spec": record.spec,
    }
    return {part: canonical_json(value).encode() for part, value in values.items()}


def pack(record: Record) -> Mapping[str, bytes]:
    """The texts of all parts. ValueError for a value that JSON does not have, or does not give back."""
    row = row_values(record)
    columns = json.dumps(row, separators=(",", ":"), allow_nan=False)  # in their order
    texts = {**texts_of(record), "row": columns.encode()}
    packed = Packed(texts.__getitem__)
    same = packed.row == row and packed.spec == record.spec and packed.environment == record.environment
    if not (same and packed.epochs == shown_epochs(record.epochs)):
        raise ValueError(f"{record.folder.path} holds a value that changes in JSON")
    return texts
