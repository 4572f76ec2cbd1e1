"""Finished runs as rows of a table, and which of their epochs a number is of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import UnreadableRun
from fer_bench.core.files import read_each
from fer_bench.core.text import visible
from fer_bench.core.variant import Variant
from fer_bench.store.folder import RunFolder
from fer_bench.store.head_tail import head_tail
from fer_bench.store.label_scores import detection_columns
from fer_bench.store.model_selection import MEASURES, SELECTIONS, select
from fer_bench.store.records import Record, read_record

if TYPE_CHECKING:
    import pandas as pd

JOINT = "; "
"""Stands between the values of a run that was resumed elsewhere."""


def load_runs(out: str | Path = "results") -> pd.DataFrame:
    """All finished runs under ``out``, one row each: settings, realised noise, last and selected epochs, cost.

    Accuracies are fractions in [0, 1], all on the test split. ``test_*`` is the last epoch, ``mean_last_5_*`` the mean
    of the last five, ``best_val_*`` the epoch with the best overall accuracy on the validation split, ``best_test_*``
    the one with the best on the test split (an oracle). ``*_head`` and ``*_tail`` are explained at
    :func:`fer_bench.store.head_tail.head_and_tail_classes`.
    ``device``, ``commit``, ``version`` (of fer-bench), ``torch`` and ``cpu_capability`` tell what trained the run; a
    run that was resumed elsewhere has several values, joined by "; ".
    A run that cannot be read (damaged, or of another version of fer-bench) is left out with a warning that names it.
    """
    import pandas as pd

    paths = sorted(Path(out).glob("runs/*/*/*/final.json"))
    found = []
    for answer in read_each(_row_or_reason, (RunFolder(path.parent) for path in paths)):
        if isinstance(answer, str):
            warnings.warn(f"left out: {answer}", stacklevel=2)
        else:
            found.append(answer)
    return pd.DataFrame(found)


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row for each record, in their order.

    It has the columns of :func:`load_runs` and, if any run is a variant, those of :func:`variant_columns`.
    """
    import pandas as pd

    records = list(records)
    frame = pd.DataFrame([to_row(record) for record in records])
    plain = all(record.variant == Variant() for record in records)
    return frame if plain else frame.assign(**variant_columns(records))


def variant_columns(records: Iterable[Record]) -> dict[str, list[Any]]:
    """What sweeps say of their runs.

    ``own_recipe`` holds settings of the recipe for the method alone, as JSON; ``settings_from`` the source of the
    settings, "" for the defaults; ``trial`` the number of the trial in a search, None outside of one.
    """
    variants = [record.variant for record in records]
    return {
        "own_recipe": [json.dumps(each.recipe, sort_keys=True) for each in variants],
        "settings_from": [each.note for each in variants],
        "trial": [each.trial for each in variants],
    }


def _row_or_reason(folder: RunFolder) -> dict[str, Any] | str:
    """Reads a run for its row alone, so that the epochs of thousands of runs need not be in memory together."""
    try:
        return to_row(read_record(folder))
    except UnreadableRun as error:
        return str(error)


def to_row(record: Record) -> dict[str, Any]:
    """One finished run, flat."""
    spec, final = record.spec, record.final
    recipe, noise, imbalance = spec["recipe"], spec["noise"], spec["imbalance"]
    values: dict[str, Any] = {
        "key": record.key,
        **{name: spec[name] for name in ("dataset", "method", "seed", "data_seed", "train_size", "protocol")},
        **{f"noise_{name}": noise[name] for name in ("kind", "rate", "mode")},
        **{f"imbalance_{name}": value for name, value in imbalance.items()},
        **{name: value for name, value in recipe.items() if name not in ("augmentation", "mean", "std")},
        "config": json.dumps(spec["config"], sort_keys=True),
        **{name: spec.get(name, "") for name in ("fingerprint", "code", "unlabelled", "landmarks")},
        # where clean labels come from: "reference", or "given" for the data set's own labels before noise was injected
        "labels": final.get("labels", spec.get("labels", "reference")),
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
        **detection_columns(final),
        **{name: final["memorisation"][name] for name in ("fit_noisy", "fit_clean", "memorised")},
    }
    counts = final.get("noise", {}).get("clean_counts")
    for selection in SELECTIONS.values():
        selected = select(record.epochs, selection.key)
        test = selected.test if selected else {}
        for name in MEASURES:
            values[selection.column(name)] = test.get(name)
        values[selection.column("head")], values[selection.column("tail")] = head_tail(test.get("recall"), counts)
        values[selection.column("epoch")] = selected.epochs[-1] if selected else None
    values |= _trained_on(record)
    values["path"] = visible(str(record.folder.path))  # pandas takes UTF-8 only
    return values


def trained_with(frame: pd.DataFrame, column: str) -> list[str]:
    """The known values of ``device``, ``commit``, ``version``, ``torch`` or ``cpu_capability`` of all runs, sorted."""
    return sorted({value for text in frame[column].unique() for value in text.split(JOINT) if value})


def _trained_on(record: Record) -> dict[str, str]:
    """What can change the last digits of a number: the different values of the run's attempts, in order."""
    found: dict[str, dict[str, None]] = {
        name: {} for name in ("device", "commit", "version", "torch", "cpu_capability")
    }
    for attempt in record.attempts:
        packages = attempt.get("packages")
        packages = packages if isinstance(packages, dict) else {}
        values = {**attempt, "version": packages.get("fer-bench"), "torch": packages.get("torch")}
        for name, known in found.items():
            if values.get(name):
                known[str(values[name])] = None
    return {name: JOINT.join(known) for name, known in found.items()}
