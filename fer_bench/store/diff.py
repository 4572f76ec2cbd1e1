"""What differs between two runs: settings, environment, and the first epoch at which they part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, StoreError, nearest, require
from fer_bench.core.schema import schema_error
from fer_bench.store.folder import RunFolder

ABSENT = "–"

TIMES = re.compile(r"(^|\.)seconds(\.|$)")
"""Fields that differ between any two runs and say nothing of their numbers."""


@dataclass(frozen=True)
class Difference:
    """Fields that differ, each as (name, value in the first run, value in the second); a missing one is ABSENT."""

    names: tuple[str, str]
    spec: tuple[tuple[str, str, str], ...]
    environment: tuple[tuple[str, str, str], ...]
    epochs: tuple[tuple[int, tuple[tuple[str, str, str], ...]], ...]
    """(epoch, fields), only those with a difference."""
    final: tuple[tuple[str, str, str], ...]
    compared: tuple[int, int]
    """Stored epochs of each run."""
    states: tuple[str, str]

    @property
    def identical(self) -> bool:
        """Whether both runs measured the same; the times they took and the machines are not looked at."""
        return not (self.spec or self.epochs or self.final) and self.compared[0] == self.compared[1] > 0


def difference(first: RunFolder, second: RunFolder) -> Difference:
    """Compares two run folders, finished or not. Values are equal only if they are the same to the last bit."""
    folders = (first, second)
    for folder in folders:
        _require_objects(folder)
    a, b = (folder.epochs() for folder in folders)
    epochs = []
    for one, two in zip(a, b, strict=False):
        fields = _fields(one, two)
        if fields:
            epochs.append((int(one["epoch"]), fields))
    return Difference(
        names=(str(first.path), str(second.path)),
        spec=_fields(first.spec, second.spec),
        environment=_fields(first.environment, second.environment),
        epochs=tuple(epochs),
        final=_fields(first.final, second.final),
        compared=(len(a), len(b)),
        states=(first.state, second.state),
    )


def _require_objects(folder: RunFolder) -> None:
    """StoreError, as for other damage, where a file of a run holds another kind of JSON."""
    objects = {"spec.json": folder.spec, "env.json": folder.environment, "final.json": folder.final}
    wrong = [name for name, value in objects.items() if not isinstance(value, (dict, type(None)))]
    wrong += ["epochs.jsonl"] * any(schema_error(record, {"epoch": float}, "") != "" for record in folder.epochs())
    if wrong:
        raise StoreError(f"{folder.path / wrong[0]} is damaged: it holds something else")


def find_run(out: Path, name: str) -> RunFolder:
    """A run by the path of its folder, or by its key or the beginning of its key under ``out``.

    SpecError where there is none (with the nearest keys) or where several begin so.
    """
    path = Path(name)
    if path.is_dir():
        require((path / "spec.json").exists(), f"{path} is no run: it has no spec.json")
        return RunFolder(path)
    found = {folder.parent.name: folder.parent for folder in sorted((out / "runs").glob("*/*/*/spec.json"))}
    require(bool(found), f"no run in {out / 'runs'}; name a folder, or say where runs are with --out")
    begun = [key for key in found if key.startswith(name)] if name else []
    if len(begun) == 1:
        return RunFolder(found[begun[0]])
    if begun:
        raise SpecError(f"{len(begun)} runs begin with {name!r}: {', '.join(sorted(begun))}")
    close = nearest(name, found)
    raise SpecError(f"no run {name!r} in {out / 'runs'}{close if 'did you mean' in close else f' ({len(found)} runs)'}")


def _fields(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> tuple[tuple[str, str, str], ...]:
    a, b = dict(_flat(first or {})), dict(_flat(second or {}))
    found = []
    for name in sorted(a.keys() | b.keys()):
        if not TIMES.search(name) and (name not in a or name not in b or a[name] != b[name]):
            found.append(_field(name, a.get(name, ABSENT), b.get(name, ABSENT)))
    return tuple(found)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by name ("test.overall"); lists are leaves."""
    for key, each in value.items():
        if isinstance(each, Mapping) and each:
            yield from _flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def _field(name: str, a: Any, b: Any) -> tuple[str, str, str]:
    """A field as text, strings in quotes, so that "1" is not 1. Of two lists or matrices of one shape the first entry
    that differs, and how many do."""
    entries = [dict(_entries(value)) for value in (a, b)]
    if isinstance(a, list) and isinstance(b, list) and entries[0].keys() == entries[1].keys():
        places = [place for place, value in entries[0].items() if value != entries[1][place]]
        where = f"{name}{places[0]}" + (f" and {len(places) - 1} more of {len(entries[0])}" if len(places) > 1 else "")
        return where, repr(entries[0][places[0]]), repr(entries[1][places[0]])
    return name, *(ABSENT if value is ABSENT else repr(value) for value in (a, b))  # type: ignore[return-value]


def _entries(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of a nested list by place: ("[0][3]", 7)."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _entries(each, f"{place}[{number}]")
    else:
        yield place, value
