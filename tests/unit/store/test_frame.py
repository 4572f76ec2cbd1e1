"""Finished runs as rows of a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.store.records import read_record
from fer_bench.store.row import to_row
from tests.helpers.stored import FINAL, SPEC, finished


def test_load_runs(tmp_path: Path) -> None:
    finished(tmp_path), finished(tmp_path, seed=1), RunFolder.of(tmp_path, replace(SPEC, seed=2)).start(SPEC, {})
    runs = load_runs(tmp_path)
    assert sorted(runs["seed"]) == [0, 1], "a run that is not finished is not in the table"
    wanted = {
        "key",
        "dataset",
        "method",
        "seed",
        "data_seed",
        "train_size",
        "noise_kind",
        "noise_rate",
        "noise_mode",
        "imbalance_kind",
        "imbalance_factor",
        "backbone",
        "epochs",
        "lr",
        "config",
        "realised_rate",
        "noisy_imbalance",
        "uses_noise_rate",
        "parameters",
        "images_forward",
        "seconds",
        "detection_auroc",
        "memorised",
        "test_overall",
        "test_mean",
        "best_val_overall",
        "best_val_epoch",
        "best_test_overall",
        "best_test_epoch",
        "path",
    }
    assert wanted <= set(runs.columns), wanted - set(runs.columns)
    first = runs.iloc[0]
    assert (first["test_overall"], first["test_epoch"]) == (0.5, 2)
    assert (first["best_val_overall"], first["best_val_epoch"]) == (0.5, 2)
    assert (first["best_test_overall"], first["best_test_epoch"]) == (0.6, 1)
    assert first["key"] == Path(first["path"]).name and json.loads(first["config"]) == {"a": 1}


def test_load_runs_of_nothing(tmp_path: Path) -> None:
    assert load_runs(tmp_path / "absent").empty


def test_a_row_tells_what_a_method_was_given(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    old = to_row(read_record(folder))
    assert (old["clean_labels_used"], old["remarks"], old["ensemble"], old["extra_images"]) == (0, "[]", "", "")
    assert old["peak_memory_bytes"] is None and old["commit"] == ""
    given = {"clean_labels_used": 70, "remarks": ["a", "b"], "ensemble": "mean of two networks", "extra_images": "x"}
    folder.finish({**FINAL, **given, "peak_memory_bytes": 5}, {})
    found = to_row(read_record(folder))
    assert {name: found[name] for name in given} == {**given, "remarks": '["a", "b"]'}
    assert found["peak_memory_bytes"] == 5
