"""Finished runs with invented numbers, for tests of tables, figures, pages and commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.report.arrange import Runs, arrange
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import Record, Values, read_records

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
RECIPE = Recipe(epochs=6)
CLEAN, NOISY, HUMAN = Noise("none"), Noise("symmetric", 0.2), Noise("human")


def finish(
    out: Path,
    method: str,
    noise: Noise,
    imbalance: Imbalance = Imbalance(),  # noqa: B008
    *,
    seed: int = 0,
    skill: float = 0.9,
    told: bool = False,
    recipe: Recipe = RECIPE,
    size: int = len(CLASSES),
    given: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    arrays: dict[str, Any] | None = None,
    **changes: Any,
) -> RunFolder:
    """A finished run with invented numbers: a learner of this skill that memorises what it is given."""
    spec = RunSpec("faces", "f" * 64, method, "c" * 64, {"weight": 1.0}, noise, imbalance, seed=seed, recipe=recipe)
    spec = replace(spec, **changes)
    rate = 0.28 if noise.kind == "human" else noise.rate
    rng = np.random.default_rng([seed, int(1000 * rate), int(imbalance.factor), *method.encode()])
    wrong = round(1000 * rate)
    hard = np.linspace(0, 0.04 * np.log2(1 + imbalance.factor), size)
    records = []
    for epoch in range(1, recipe.epochs + 1):
        learnt = 1 - np.exp(-1.2 * epoch)
        memorised = float(np.clip((1 - skill) * 3 * epoch / recipe.epochs + rng.normal(0, 0.02), 0, 1))
        level = skill * learnt - 0.6 * rate * memorised
        recall = np.clip(level - hard + rng.normal(0, 0.015, size), 0.02, 0.99)
        confusion = np.round(np.outer((1 - recall) / (size - 1), np.ones(size)) * 200).astype(int)
        np.fill_diagonal(confusion, np.round(recall * 200).astype(int))
        right = (confusion.diagonal() / confusion.sum(1)).tolist()
        test = {
            "overall": float(confusion.trace() / confusion.sum()),
            "mean": float(np.mean(right)),
            "macro_f1": float(np.mean(right)),
            "worst": min(right),
            "nll": float(1 - level),
            "ece": 0.05,
            "recall": right,
            "confusion": confusion.tolist(),
        }
        fit = {"fit_noisy": 0.8, "fit_clean": 0.8, "memorised": memorised if wrong else None}
        records.append({"epoch": epoch, "test": test, "val": None, "train_fit": fit, "selection": None})
    folder = RunFolder.of(out, spec)
    folder.start(spec, environment or {})
    folder.save_epochs(records)
    folder.finish(
        {
            "test": records[-1]["test"],
            "detection": {"auroc": 0.9 if wrong else None, "ap": 0.8 if wrong else None},
            "memorisation": records[-1]["train_fit"],
            "noise": {
                "realised_rate": rate,
                "purity": [1 - rate] * (size - 1) + [None],
                "clean_counts": [round(900 / imbalance.factor ** (c / (size - 1))) for c in range(size)],
            },
            "realised_rate": rate,
            "noisy_imbalance": imbalance.factor,
            "uses_noise_rate": told,
            "train_images": round(4000 / imbalance.factor**0.5),
            "parameters": 1_234_567,
            "images_forward": 24_000,
            "images_backward": 12_000,
            "skipped_steps": 0,
            "seconds": 61.0,
            **(given or {}),
        },
        arrays or {"test_logits": np.zeros((1, size))},
    )
    return folder


def records(out: Path) -> list[Record]:
    """All finished runs under ``out``."""
    return read_records(RunFolder(path.parent) for path in sorted(out.glob("runs/*/*/*/final.json")))[0]


def with_parts(record: Record, **parts: Any) -> Record:
    """A record with another ``spec``, ``final`` or ``epochs``."""
    own = {"spec": record.spec, "final": record.final, "epochs": record.epochs, "environment": record.environment}
    return replace(record, contents=Values(**{**own, **parts}))


def arranged(out: Path) -> Runs:
    """All finished runs under ``out``, arranged, with the names of their classes."""
    return arrange(records(out), {"faces": CLASSES})


def some_runs(out: Path, methods: tuple[str, ...] = ("alpha", "beta"), seeds: int = 3) -> Runs:
    """Clean, noisy and human labels for each method and seed."""
    for method in methods:
        for noise in (CLEAN, NOISY, HUMAN):
            for seed in range(seeds):
                finish(out, method, noise, seed=seed, skill=0.9 - 0.05 * methods.index(method), told=method == "beta")
    return arranged(out)
