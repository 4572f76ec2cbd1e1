"""A finished run as one row of a table."""

from __future__ import annotations

import json
from typing import Any

from fer_bench.core.text import visible
from fer_bench.store.chance import chance_limit
from fer_bench.store.head_tail import head_tail
from fer_bench.store.label_scores import detection_columns
from fer_bench.store.model_selection import MEASURES, SELECTIONS, select
from fer_bench.store.records import Record

JOINT = "; "
"""Stands between the values of a run that was resumed elsewhere."""


def to_row(record: Record) -> dict[str, Any]:
    """One finished run, flat: the columns of ``fer_bench.load_runs``."""
    values = record.contents.row or row_values(record)
    return {**values, "path": visible(str(record.folder.path))}  # pandas takes UTF-8 only


def row_values(record: Record) -> dict[str, Any]:
    """The row of a run without its path, computed from its specification, results and epochs."""
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
    values["chance_limit"] = chance_limit(record.epochs[-1]["test"])
    return values | _trained_on(record)


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
