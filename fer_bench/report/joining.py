"""Several sweeps as one: their finished runs, each counted once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.errors import require
from fer_bench.core.text import counted

if TYPE_CHECKING:
    from fer_bench.store.records import Record
    from fer_bench.sweep.record import Sweep

LONGEST = 200
"""Bytes of the name of a folder."""


@dataclass(frozen=True)
class Joined:
    """The finished runs of some sweeps.

    Attributes:
        records: One for each run, in the order of the sweeps.
        classes: Class names by data set.
        unfinished: A line for each run that is missing; they name the sweep if there are several.
        notes: What a reader must know of the sweeps together; empty for one sweep.
        folder: Where their tables go: the folder of the sweep, or ``<out>/tables/A+B``.
    """

    records: list[Record]
    classes: Mapping[str, Sequence[str]]
    unfinished: list[str]
    notes: tuple[str, ...]
    folder: Path


def join(sweeps: Sequence[Sweep]) -> Joined:
    """Joins sweeps; one alone stays as it is. A sweep that is named twice counts once.

    Raises:
        SpecError: One of several sweeps is a tuning, or two disagree about the classes of a data set.
    """
    sweeps = list({sweep.folder.resolve(): sweep for sweep in sweeps}.values())
    several = len(sweeps) > 1
    records: dict[str, Record] = {}
    shared, differing, classes = set(), set(), dict[str, Sequence[str]]()
    for sweep in sweeps:
        require(not (several and sweep.tuning), f"{sweep.name} is a tuning, whose table stands alone")
        for name, names in sweep.classes.items():
            known = classes.setdefault(name, names)
            require(known == names, f"{sweep.name}: {name} has the classes {', '.join(names)}; {sweeps[0].name} has "
                    f"{', '.join(known)}")  # fmt: skip
        for record in sweep.records():
            first = records.setdefault(record.key, record)
            if first is not record:
                shared.add(record.key)
                differing |= {record.key} if first.epochs != record.epochs else set()
    return Joined(
        list(records.values()),
        classes,
        [line for sweep in sweeps for line in _unfinished(sweep, several)],
        tuple(_notes(sweeps, len(shared), len(differing))) if several else (),
        _folder(sweeps),
    )


def _unfinished(sweep: Sweep, named: bool) -> list[str]:
    return [f"{sweep.name}: {line}" if named else line for line in sweep.unfinished()]


def _notes(sweeps: Sequence[Sweep], shared: int, differing: int) -> Iterator[str]:
    names = ", ".join(f"{sweep.name} ({counted(len(sweep.records()), 'run')})" for sweep in sweeps)
    yield f"Sweeps: {names}." + (f" {counted(shared, 'run')} of several sweeps count once." if shared else "")
    if differing:
        yield (
            f"{counted(differing, 'run')} of several sweeps were trained more than once, with different numbers; those "
            "of the sweep that is named first are shown. `fer-bench diff` shows the differences."
        )


def _folder(sweeps: Sequence[Sweep]) -> Path:
    if len(sweeps) == 1:
        return sweeps[0].folder
    name = "+".join(sweep.name for sweep in sweeps)
    if len(name.encode()) > LONGEST:
        name = f"{len(sweeps)}-sweeps-{sha256(name.encode()).hexdigest()[:8]}"
    return sweeps[0].out / "tables" / name
