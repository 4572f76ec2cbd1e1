"""fer-bench: methods for facial expression recognition under noisy labels and class imbalance, behind one harness."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_bench.api import run
    from fer_bench.launch.inference import load_model, predict
    from fer_bench.store.frame import load_runs

try:
    __version__ = version("fer-bench")
except PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = ["__version__", "load_model", "load_runs", "predict", "run"]

_PLACES = {
    "load_model": "fer_bench.launch.inference",
    "load_runs": "fer_bench.store.frame",
    "predict": "fer_bench.launch.inference",
    "run": "fer_bench.api",
}


def __getattr__(name: str) -> object:
    """Functions are imported when first used, so that the command line answers at once."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'fer_bench' has no attribute {name!r}")
