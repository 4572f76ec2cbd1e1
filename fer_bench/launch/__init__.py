"""Who trains the runs of a sweep: a pool of processes on this machine, a Ray cluster, or Slurm.

A launcher is a function ``train(plan, todo, out, devices, force, tell)``. The store decides what is done and who holds
a run, so a launcher only finds places for runs, and several of them may work on one folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.schema import build

if TYPE_CHECKING:
    from fer_bench.launch.worker import Tell
    from fer_bench.sweep.plan import Plan, PlannedRun

LAUNCHERS = {"local": "", "ray": "ray", "slurm": "submitit"}
"""The package that each launcher needs besides; it comes with the extra of the launcher's name."""


@dataclass(frozen=True)
class Launcher:
    """``train`` is called as ``fer_bench.launch.local.train_all`` is; one that is not ``local`` is given no devices."""

    name: str
    train: Callable[..., None]

    @property
    def local(self) -> bool:
        return self.name == "local"

    def warm_up(self) -> None:
        """Begins with what takes time before the first step of a run and needs no plan."""
        if self.local:
            from fer_bench.launch.local import warm_up

            warm_up()


def choose(name: str = "local", options: Iterable[str] = (), time_limit: float | None = None) -> Launcher:
    """The launcher of a name with its ``KEY=VALUE`` options; a run that takes more minutes than ``time_limit`` fails.

    SpecError for an unknown name, option or value (with the nearest name), or where its package is not installed.
    """
    require(name in LAUNCHERS, f"--launcher {name!r}{nearest(name, LAUNCHERS)}")
    values = parse(options)
    if name == "local":
        require(not values, f"--launcher-option {next(iter(values), '')}: --launcher local has no options; "
                "there are --jobs, --jobs-per-device and --device")  # fmt: skip
        from fer_bench.launch.local import train_all

        return Launcher(name, partial(train_all, limit=time_limit and 60 * time_limit))
    require(time_limit is None, f"--time-limit is of --launcher local; see docs/cluster.md for limits of {name}")
    package = LAUNCHERS[name]
    if importlib.util.find_spec(package) is None:
        raise SpecError(f"--launcher {name} needs the package {package}: pip install 'fer-bench[{name}]'")
    module = importlib.import_module(f"fer_bench.launch.{name}")
    settings = build(module.Options, values, f"--launcher {name}")

    def train(plan: Plan, todo: list[PlannedRun], out: Path, _devices: list[str], force: bool, tell: Tell) -> None:
        module.train_all(plan, todo, out, force, tell, settings)

    return Launcher(name, train)


def parse(options: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` strings as a dict; values are TOML, and a bare word is a string."""
    values: dict[str, Any] = {}
    for text in options:
        key, equals, value = text.partition("=")
        require(bool(key and equals), f"--launcher-option {text!r} is not of the form KEY=VALUE")
        try:
            values[key] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            values[key] = value
    return values
