"""Finished trials of a tuning with invented accuracies, for tests of what is chosen and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.core.variant import Variant
from fer_bench.store.folder import RunFolder

CLASSES = ("anger", "happiness", "neutral")
TESTED = 1000
"""Test images, so that an accuracy has three exact decimals."""


def finish_trial(
    out: Path,
    variant: Variant,
    noise: Noise,
    imbalance: Imbalance,
    study: int,
    val: float,
    test: float,
    method: str = "alpha",
) -> RunFolder:
    """A finished run of a trial. Its mean accuracy is a tenth lower than its overall one."""
    spec = RunSpec(
        "faces", "f" * 64, method, "c" * 12, {"weight": 1.0, **variant.settings}, noise, imbalance,
        data_seed=study, seed=study, recipe=Recipe(epochs=2, **{"lr": 0.001, **variant.recipe}), validation="held-out",
    )  # fmt: skip
    epochs = [
        {
            "epoch": epoch,
            "test": _measures(test * epoch / 2),
            "val": _measures(val * epoch / 2),
            "train_fit": {"fit_noisy": 0.8, "fit_clean": 0.8, "memorised": None},
        }
        for epoch in (1, 2)
    ]
    label = np.zeros(TESTED, dtype=np.int64)
    answers = (np.arange(TESTED) >= round(test * TESTED)).astype(np.int64)
    folder = RunFolder.of(out, spec)
    folder.start(spec, {"commit": "abc", "packages": {"fer-bench": "0.1.0"}})
    folder.save_epochs(epochs)
    folder.finish(
        {
            "test": epochs[-1]["test"],
            "detection": {"auroc": None, "ap": None},
            "memorisation": {"fit_noisy": 0.8, "fit_clean": 0.8, "memorised": None},
            "noise": {"purity": [1.0, 1.0, None], "clean_counts": [40, 40, 40]},
            "realised_rate": noise.rate,
            "noisy_imbalance": imbalance.factor,
            "uses_noise_rate": False,
            "train_images": 120,
            "parameters": 1_000,
            "images_forward": 480,
            "images_backward": 240,
            "skipped_steps": 0,
            "seconds": 1.0,
        },
        {"test_logits": np.eye(len(CLASSES), dtype=np.float32)[answers], "test_label": label},
    )
    return folder


def _measures(overall: float) -> dict[str, Any]:
    return {"overall": overall, "mean": overall - 0.1, "macro_f1": overall, "worst": 0.1, "nll": 1.0, "ece": 0.1,
            "recall": [overall] * len(CLASSES), "confusion": np.eye(len(CLASSES)).tolist()}  # fmt: skip
