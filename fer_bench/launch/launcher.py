"""Who trains the runs of a sweep: a pool of processes on this machine, a Ray cluster, or Slurm.

The store decides what is done and who holds a run. A launcher only starts workers, so several launchers may work on one
folder of results.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fer_bench.core.assignments import parse_assignment
from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.schema import build
from fer_bench.launch.work import Work
from fer_bench.sweep.arguments import plain, to_text, to_tuple

LAUNCHERS = {"local": "", "ray": "ray", "slurm": "submitit"}
"""The package that each launcher needs. The extra with the launcher's name installs it."""


@dataclass(frozen=True)
class Launcher:
    """A launcher with its options.

    Attributes:
        name: Its name.
        train: Trains runs. KeyboardInterrupt if it was stopped.
    """

    name: str
    train: Callable[[Work], None]

    @property
    def local(self) -> bool:
        """Whether this machine trains. Other launchers are given no devices."""
        return self.name == "local"

    def warm_up(self) -> None:
        """Pre-imports heavy modules while the sweep is being planned."""
        if self.local:
            from fer_bench.launch.processes import warm_up

            warm_up()


def choose_launcher(
    name: str = "local", options: Mapping[str, Any] | Sequence[str] = (), time_limit: float | None = None
) -> Launcher:
    """A launcher by name.

    Args:
        name: local, ray or slurm.
        options: Its options: a mapping, or ``KEY=VALUE`` strings.
        time_limit: Minutes after which a run is ended; for ``local`` only.

    Raises:
        SpecError: The name, an option or a value is unknown, or the package of the launcher is not installed.
    """
    require(name in LAUNCHERS, f"--launcher {name!r}{nearest(name, LAUNCHERS)}")
    values = parse_options(options)
    if name == "local":
        require(not values, f"--launcher-option {next(iter(values), '')}: --launcher local has no options; "
                "use --jobs, --jobs-per-device and --device")  # fmt: skip
        from fer_bench.launch.local import train_all

        return Launcher(name, partial(train_all, limit=time_limit and 60 * time_limit))
    require(
        time_limit is None, f"--time-limit works with --launcher local only; see docs/cluster.md for limits of {name}"
    )
    package = LAUNCHERS[name]
    if importlib.util.find_spec(package) is None:
        raise SpecError(f"--launcher {name} needs the package {package}: pip install 'fer-bench[{name}]'")
    module = importlib.import_module(f"fer_bench.launch.{name}")
    return Launcher(name, partial(module.train_all, options=build(module.Options, values, f"--launcher {name}")))


def parse_options(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Options of a launcher by name, from a mapping or from ``KEY=VALUE`` strings.

    Values of strings are TOML, and a bare word is a string. SpecError names the option at fault.
    """
    if isinstance(options, Mapping):
        return {key: plain(value) for key, value in options.items()}
    texts = to_tuple(options, "launcher_options", to_text)
    return dict(parse_assignment(text, "--launcher-option") for text in texts)
