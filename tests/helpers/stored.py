"""Folders of runs that were never trained, and claims of owners that are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_bench.core.spec import RunSpec
from fer_bench.store.folder import RunFolder
from fer_bench.store.torch_files import StoredModel

SPEC = RunSpec("synthetic", "f" * 64, "m", "c" * 12, {"a": 1})

LABELS = np.array([0, 1, 0, 1])


def record(epoch: int, test: float, val: float | None = None) -> dict[str, Any]:
    measured = {"overall": test, "mean": test, "macro_f1": test, "worst": test, "nll": 1.0, "ece": 0.1}
    return {"epoch": epoch, "test": measured, "val": None if val is None else {**measured, "overall": val}}


FINAL = {
    "test": record(2, 0.5)["test"],
    "detection": {"auroc": 0.9, "ap": 0.8},
    "realised_rate": 0.2,
    "noisy_imbalance": 1.0,
    "memorisation": {"fit_noisy": 0.9, "fit_clean": 0.8, "memorised": 0.1},
    "uses_noise_rate": False,
    "train_images": 9,
    "parameters": 5,
    "images_forward": 18,
    "images_backward": 18,
    "skipped_steps": 0,
    "seconds": 1.5,
}


def finished(out: Path, **changes: Any) -> RunFolder:
    spec = replace(SPEC, **changes)
    folder = RunFolder.of(out, spec)
    with folder.claim():
        folder.start(spec, {"device": "x"})
        folder.save_epochs([record(1, 0.6, 0.4), record(2, 0.5, 0.5)])
        folder.finish(FINAL, {"clean_score": np.zeros(9, np.float32)})
    return folder


def finish_run(out: Path, spec: RunSpec, test: float = 0.5) -> RunFolder:
    """The run of a specification, as if it had been trained: invented numbers, ``test`` is its accuracy."""
    folder = RunFolder.of(out, spec)
    epochs = [record(1, 0.6, 0.4), record(2, test, 0.5)]
    with folder.claim():
        folder.clear()
        folder.start(spec, {"device": "x"})
        folder.save_epochs(epochs)
        folder.finish({**FINAL, "test": epochs[-1]["test"]}, {"clean_score": np.zeros(9, np.float32)})
    return folder


def finished_with_logits(out: Path, accuracy: float = 0.5, seconds: float = 1.5, **changes: Any) -> RunFolder:
    """A finished run whose stored logits have this accuracy, a multiple of a quarter."""
    spec = replace(SPEC, **changes)
    folder = RunFolder.of(out, spec)
    right = np.arange(4) < round(4 * accuracy)
    logits = np.eye(2, dtype=np.float32)[np.where(right, LABELS, 1 - LABELS)]
    last = record(2, accuracy)
    with folder.claim():
        folder.start(spec, {"device": "x"})
        folder.save_epochs([record(1, 0.25), last])
        folder.finish(
            {**FINAL, "test": last["test"], "seconds": seconds, "peak_memory_bytes": int(100 * seconds)},
            {"test_logits": logits, "test_label": LABELS},
            {"rows": np.arange(4), "logits": np.zeros((2, 4, 2), np.float16)},
            StoredModel({"weight": torch.zeros(1)}),
        )
    (folder.path / "log.txt").write_text("a warning\n")
    return folder


def pretend(folder: Path, **facts: Any) -> Path:
    """A claim of an owner on another machine, unless ``facts`` say otherwise; its file."""
    path = folder / "claim" / f"token-{folder.name}" / "owner.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "far", "machine": "another", "pid": 1, "started": "1", **facts}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
