"""The reference sweeps of sweeps.toml."""

from __future__ import annotations

import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fer_bench.core.errors import SpecError, StoreError
from fer_bench.sweep.record import find_sweep

SWEEPS = Path(__file__).with_name("sweeps.toml")


@dataclass(frozen=True)
class Reference:
    """A reference sweep; sweeps.toml says what each field is."""

    name: str
    what: str
    command: str
    methods: tuple[str, ...]
    options: tuple[str, ...]
    data_root: bool = False

    @property
    def shown(self) -> str:
        """The command for a reader."""
        return f"python -m benchmarks.reference run {self.name}{' --data-root DATA_ROOT' * self.data_root}"

    def commands(self, out: Path, root: Path | None, jobs: int | None) -> list[list[str]]:
        """The commands that train it: each asks for what the one before asked for, and for more.

        First come more methods, then the conditions of further options. Commands that the stored sweep has grown beyond
        are left out: a sweep never asks for less than it has.
        """
        rest = ["--name", self.name, "--out", str(out)]
        rest += ["--data-root", str(root)] if self.data_root else []
        rest += ["--jobs", str(jobs)] if jobs else []
        first, *further = (shlex.split(each) for each in self.options)
        asked = [(self.methods[:count], first) for count in range(1, len(self.methods) + 1)]
        asked += [(self.methods, options) for options in further]
        words = [["--methods", ",".join(methods), *options] for methods, options in asked]
        stored = _stored_command(self.name, out)
        begun = [number for number, each in enumerate(words) if set(each) <= stored]
        start = [sys.executable, "-m", "fer_bench.cli", self.command]
        return [[*start, *each, *rest] for each in words[max(begun, default=0) :]]


def _stored_command(name: str, out: Path) -> set[str]:
    """The words of the command that last trained a sweep; none where there is no such sweep."""
    try:
        return set(shlex.split(find_sweep(out, name).content["command"]))
    except (SpecError, StoreError, FileNotFoundError):
        return set()


def references() -> dict[str, Reference]:
    """The reference sweeps by name, in the order in which they are trained."""
    content = tomllib.loads(SWEEPS.read_text(encoding="utf-8"))
    groups = content["groups"]
    found = {}
    for name, values in content["sweeps"].items():
        methods = tuple(groups.get(each, each) for each in values.pop("methods"))
        options = values.pop("options")
        options = (options,) if isinstance(options, str) else tuple(options)
        found[name] = Reference(name=name, methods=methods, options=options, **values)
    return found
