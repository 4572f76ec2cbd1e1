"""The reference sweeps of sweeps.toml."""

from __future__ import annotations

import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

SWEEPS = Path(__file__).with_name("sweeps.toml")


@dataclass(frozen=True)
class Reference:
    """A reference sweep; sweeps.toml says what each field is."""

    name: str
    what: str
    command: str
    methods: tuple[str, ...]
    options: str
    data_root: bool = False

    @property
    def shown(self) -> str:
        """The command for a reader."""
        return f"python -m benchmarks.reference run {self.name}{' --data-root DATA_ROOT' * self.data_root}"

    def commands(self, out: Path, root: Path | None, jobs: int | None) -> list[list[str]]:
        """The commands that train it: each asks for the methods of the one before and for more."""
        rest = [*shlex.split(self.options), "--name", self.name, "--out", str(out)]
        rest += ["--data-root", str(root)] if self.data_root else []
        rest += ["--jobs", str(jobs)] if jobs else []
        start = [sys.executable, "-m", "fer_bench.cli", self.command, "--methods"]
        return [[*start, ",".join(self.methods[:count]), *rest] for count in range(1, len(self.methods) + 1)]


def references() -> dict[str, Reference]:
    """The reference sweeps by name, in the order in which they are trained."""
    content = tomllib.loads(SWEEPS.read_text(encoding="utf-8"))
    groups = content["groups"]
    found = {}
    for name, values in content["sweeps"].items():
        methods = tuple(groups.get(each, each) for each in values.pop("methods"))
        found[name] = Reference(name=name, methods=methods, **values)
    return found
