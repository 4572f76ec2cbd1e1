"""Finished runs as rows of a table, and which of their epochs a number is of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.files import read_each
from fer_bench.core.spec import LATER
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import MEASURES, PROTOCOLS, head_tail, select
from fer_bench.store.records import UnreadableRun, read_record

if TYPE_CHECKING:
    import pandas as pd


def load_runs(out: str | Path = "results") -> pd.DataFrame:
    """All finished runs under ``out``, one row each: settings, realised noise, last and selected epochs, cost.

    Accuracies are fractions in [0, 1], all on the test split. ``test_*`` is the last epoch, ``mean_last_5_*`` the mean
    of the last five, ``best_val_*`` the epoch with the best overall accuracy on the validation split, ``best_test_*``
    the one with the best on the test split (an oracle). ``*_head`` and ``*_tail`` are explained at :func:`head_tail`.
    A run that cannot be read (damaged, or of another version of fer-bench) is left out with a warning that names it.
    """
    import pandas as pd

    paths = sorted(Path(out).glob("runs/*/*/*/final.json"))
    found, left_out = rows(RunFolder(path.parent) for path in paths)
    for reason in left_out:
        warnings.warn(f"left out: {reason}", stacklevel=2)
    return pd.DataFrame(found)


def rows(folders: Iterable[RunFolder]) -> tuple[list[dict[str, Any]], list[str]]:
    """The finished runs that can be read, flat, and for each of the others a line that says why it cannot."""

    def read(folder: RunFolder) -> dict[str, Any] | str:
        try:
            return row(folder)
        except UnreadableRun as error:
            return str(error)

    answers = read_each(read, folders)
    return [a for a in answers if isinstance(a, dict)], [a for a in answers if isinstance(a, str)]


def row(folder: RunFolder) -> dict[str, Any]:
    """One finished run, flat. UnreadableRun where it is damaged or of another version."""
    spec, final, epochs = read_record(folder)
    recipe, noise, imbalance = spec["recipe"], spec["noise"], spec["imbalance"]
    values: dict[str, Any] = {
        "key": folder.path.name,
        **{name: spec[name] for name in ("dataset", "method", "seed", "data_seed", "train_size", "protocol")},
        **{f"noise_{name}": noise[name] for name in ("kind", "rate", "mode")},
        **{f"imbalance_{name}": value for name, value in imbalance.items()},
        **{name: value for name, value in {**LATER, **recipe}.items() if name not in ("augmentation", "mean", "std")},
        "config": json.dumps(spec["config"], sort_keys=True),
        **{name: final[name] for name in ("train_images", "realised_rate", "noisy_imbalance", "uses_noise_rate")},
        **{
            name: final[name]
            for name in ("parameters", "images_forward", "images_backward", "seconds", "skipped_steps")
        },
        "peak_memory_bytes": final.get("peak_memory_bytes"),
        # what a reader must know of a row: absent from older results, where nothing of the kind was possible
        "clean_labels_used": final.get("clean_labels_used", 0),
        **{name: final.get(name, "") for name in ("extra_images", "ensemble")},
        "remarks": json.dumps(final.get("remarks", [])),
        **{f"detection_{name}": value for name, value in final["detection"].items()},
        **{name: final["memorisation"][name] for name in ("fit_noisy", "fit_clean", "memorised")},
    }
    counts = final.get("noise", {}).get("clean_counts")
    for protocol in PROTOCOLS:
        record = select(epochs, protocol)
        test = record["test"] if record else {}
        prefix = "test" if protocol == "last" else protocol
        for name in MEASURES:
            values[f"{prefix}_{name}"] = test.get(name)
        values[f"{prefix}_head"], values[f"{prefix}_tail"] = head_tail(test.get("recall"), counts)
        values[f"{prefix}_epoch"] = record["epoch"] if record else None
    environment = _environment(folder)
    values["commit"] = environment.get("commit") or ""
    values["version"] = (environment.get("packages") or {}).get("fer-bench", "")
    values["path"] = str(folder.path)
    return values


def _environment(folder: RunFolder) -> dict[str, Any]:
    """Where a run was trained; empty where that cannot be read, for no number hangs on it."""
    try:
        found = folder.environment
    except (RuntimeError, OSError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("packages", {}), dict) else {}
