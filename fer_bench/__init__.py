"""fer-bench: methods for facial expression recognition under noisy labels and class imbalance, behind one harness."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_bench.api import run
    from fer_bench.store.frame import load_runs

try:
    __version__ = version("fer-bench")
except PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = ["__version__", "load_runs", "run"]


def __getattr__(name: str) -> object:
    """``run`` and ``load_runs`` are imported when first used, so that the command line answers at once."""
    if name == "run":
        from fer_bench.api import run

        return run
    if name == "load_runs":
        from fer_bench.store.frame import load_runs

        return load_runs
    raise AttributeError(f"module 'fer_bench' has no attribute {name!r}")
