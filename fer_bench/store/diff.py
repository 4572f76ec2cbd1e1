"""What differs between two runs: settings, environment, epochs and results."""

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

MACHINE = re.compile(r"(^|\.)(seconds|peak_memory_bytes)(\.|$)")
"""Fields that differ between any two runs and tell nothing of their numbers: time and memory."""

Field = tuple[str, str, str]
"""A field that differs: its name, its value in the first run, its value in the second; a missing value is ABSENT."""


@dataclass(frozen=True)
class Difference:
    """What differs between two runs.

    Attributes:
        names: Paths of their folders.
        spec: Settings.
        environment: Where they were trained.
        epochs: The common epochs with a difference, each with its number and fields.
        final: Results.
        compared: Number of stored epochs of each run.
        states: States of the runs.
    """

    names: tuple[str, str]
    spec: tuple[Field, ...]
    environment: tuple[Field, ...]
    epochs: tuple[tuple[int, tuple[Field, ...]], ...]
    final: tuple[Field, ...]
    compared: tuple[int, int]
    states: tuple[str, str]

    @property
    def identical(self) -> bool:
        """Whether both runs measured the same. Times, memory and environments are not compared."""
        return not (self.spec or self.epochs or self.final) and self.compared[0] == self.compared[1] > 0


def difference(first: RunFolder, second: RunFolder) -> Difference:
    """Compares two run folders, finished or not. Values are equal only if they are the same to the last bit.

    Raises:
        StoreError: A file of a run is damaged.
    """
    a, b = _read_epochs(first), _read_epochs(second)
    epochs = [(int(one["epoch"]), _fields(one, two)) for one, two in zip(a, b, strict=False)]
    return Difference(
        names=(str(first.path), str(second.path)),
        spec=_fields(first.spec, second.spec),
        environment=_fields(first.environment, second.environment),
        epochs=tuple((number, fields) for number, fields in epochs if fields),
        final=_fields(*_both_kept(first.final, second.final)),
        compared=(len(a), len(b)),
        states=(first.state, second.state),
    )


def _both_kept(*finals: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Results without the scores of labels that one of two runs did not keep, as runs of earlier versions did not."""
    found = [(final or {}).get("label_scores") for final in finals]
    scores: list[dict[str, Any]] = [each if isinstance(each, dict) else {} for each in found]
    common = scores[0].keys() & scores[1].keys()
    kept = [{name: each[name] for name in sorted(common)} for each in scores]
    return [{**(final or {}), "label_scores": each} for final, each in zip(finals, kept, strict=True)]


def _read_epochs(folder: RunFolder) -> list[dict[str, Any]]:
    records = folder.epochs()
    if wrong := schema_error(records, [{"epoch": float}], "epochs.jsonl"):
        raise StoreError(f"{folder.path / 'epochs.jsonl'} is damaged ({wrong})")
    return records


def find_run(out: Path, name: str) -> RunFolder:
    """A run by the path of its folder, or by its key or the beginning of its key.

    Args:
        out: Folder of the results, for keys.
        name: A path or a key.

    Raises:
        SpecError: There is no such run (with the nearest keys), or several keys begin so.
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


def _fields(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> tuple[Field, ...]:
    a, b = dict(_flat(first or {})), dict(_flat(second or {}))
    found = []
    for name in sorted(a.keys() | b.keys()):
        if not MACHINE.search(name) and (name not in a or name not in b or a[name] != b[name]):
            found.append(_field(name, a.get(name, ABSENT), b.get(name, ABSENT)))
    return tuple(found)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by name ("test.overall"); lists are leaves."""
    for key, each in value.items():
        if isinstance(each, Mapping) and each:
            yield from _flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def _field(name: str, a: Any, b: Any) -> Field:
    """A field as text, strings in quotes, so that "1" is not 1.

    Of two lists or matrices of one shape: the first entry that differs, and how many do.
    """
    one, two = dict(_entries(a)), dict(_entries(b))
    if isinstance(a, list) and isinstance(b, list) and one.keys() == two.keys():
        differ = [index for index, value in one.items() if value != two[index]]
        where = f"{name}{differ[0]}" + (f" and {len(differ) - 1} more of {len(one)}" if len(differ) > 1 else "")
        return where, repr(one[differ[0]]), repr(two[differ[0]])
    return name, *(ABSENT if value is ABSENT else repr(value) for value in (a, b))  # type: ignore[return-value]


def _entries(value: Any, index: str = "") -> Iterator[tuple[str, Any]]:
    """Entries of a nested list by index: ("[0][3]", 7)."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _entries(each, f"{index}[{number}]")
    else:
        yield index, value
