"""The command line: parses, calls, prints. Heavy imports wait until a command needs them, so ``--help`` is quick."""

from __future__ import annotations

from fer_bench.cli import (  # noqa: F401  they add their commands
    data,
    doctor,
    follow,
    methods,
    predict,
    reproduce,
    results,
    run,
    storage,
    suspects,
    tune,
    weights,
)
from fer_bench.cli.group import main

__all__ = ["main"]
