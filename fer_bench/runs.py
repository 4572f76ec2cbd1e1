"""Finished runs as rows of a table, and which of their epochs a number is of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.files import read_each
from fer_bench.spec import LATER
from fer_bench.store import RunFolder
from fer_bench.stored import UnreadableRun, contents

if TYPE_CHECKING:
    import pandas as pd

PROTOCOLS = ("last", "mean_last_5", "best_val", "best_test")
"""Which epoch a table reports. All are queries over the stored epochs; ``best_test`` is an oracle."""
LAST = 5
MEASURES = ("overall", "mean", "macro_f1", "worst", "nll", "ece")


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
    spec, final, epochs = contents(folder)
    recipe, noise, imbalance = spec["recipe"], spec["noise"], spec["imbalance"]
    values: dict[str, Any] = {
        "key": folder.path.name,
        **{name: spec[name] for name in ("dataset", "method", "seed", "data_seed", "train_size", "protocol")},
        **{f"noise_{name}": noise[name] for name in ("kind", "rate", "mode")},
        **{f"imbalance_{name}": value for name, value in imbalance.items()},
        **{name: value for name, value in {**LATER, **recipe}.items() if name not in ("augmentation", "mean", "std")},
        "config": json.dumps(spec["config"], sort_keys=True),
        **{name: final[name] for name in ("train_images", "realised_rate", "observed_imbalance", "told_noise_rate")},
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
        **{name: final["memorisation"][name] for name in ("fit_given", "fit_true", "memorised")},
    }
    counts = final.get("noise", {}).get("true_counts")
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


def select(epochs: list[dict[str, Any]], protocol: str) -> dict[str, Any] | None:
    """The record that a protocol reports; the earliest among equals, None where a run cannot have it.

    ``mean_last_5`` gives the last epoch's number with the means of the test measures over the last five epochs; a run
    of fewer epochs has none.
    """
    if protocol == "last":
        return epochs[-1]
    if protocol == "mean_last_5":
        return _mean(epochs[-LAST:]) if len(epochs) >= LAST else None
    split = protocol.removeprefix("best_")
    if epochs[-1].get(split) is None:
        return None
    return max(epochs, key=lambda record: (record[split]["overall"], -record["epoch"]))


def head_tail(recall: list[float | None] | None, counts: list[int] | None) -> tuple[float | None, float | None]:
    """Mean recall over the head and over the tail classes, fractions.

    Classes are sorted by their number of training images, counted by reference label after imbalance was made and
    before noise, so that all noise rates of one data set have the same head and tail. The head are the classes above
    the median count, the tail those below it; a class at the median (the middle one of seven) is in neither. Both are
    None where counts are not known or the largest class is less than twice the smallest: then there is no tail.
    """
    from statistics import fmean, median

    if not recall or not counts or max(counts) < 2 * min(counts):
        return None, None
    middle, pairs = median(counts), list(zip(recall, counts, strict=True))
    head = [r for r, count in pairs if count > middle and r is not None]
    tail = [r for r, count in pairs if count < middle and r is not None]
    return fmean(head) if head else None, fmean(tail) if tail else None


def _mean(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Measures and recalls averaged over records; a class without test images stays without a recall."""
    from statistics import fmean

    tests = [record["test"] for record in records]
    test: dict[str, Any] = {name: fmean(t[name] for t in tests) for name in MEASURES}
    if all("recall" in t for t in tests):
        columns = zip(*(t["recall"] for t in tests), strict=True)
        test["recall"] = [None if None in column else fmean(column) for column in columns]
    return {"epoch": records[-1]["epoch"], "test": test}
