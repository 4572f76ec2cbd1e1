"""Stages: one that comes on top of the recipe's epochs, and one that is taken from the run of another method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fer_bench
from fer_bench.engine.stages import stage_spans
from fer_bench.method import Stage

pytestmark = pytest.mark.usefixtures("no_outputs")
SWEEP: dict[str, Any] = {
    "noise": [0.4],
    "epochs": 3,
    "image_size": 32,
    "train_size": 140,
    "jobs": 1,
    "settings_file": "default",
}


def only(out: Path, method: str) -> Path:
    (path,) = (out / "runs").glob(f"*/{method}/*/final.json")
    return path.parent


def epochs(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    return records


@pytest.mark.slow
def test_a_stage_taken_from_another_run_changes_no_number(tmp_path: Path) -> None:
    """cRT's first stage is the cross-entropy run of the same settings: taken or trained, the numbers are equal."""
    fer_bench.run(["crt", "ce"], out=tmp_path / "both", **SWEEP)
    fer_bench.run(["crt"], out=tmp_path / "alone", **SWEEP)
    shared, alone = only(tmp_path / "both", "crt"), only(tmp_path / "alone", "crt")
    first = only(tmp_path / "both", "ce")
    assert shared.name == alone.name
    assert (first / "model.safetensors").exists() and not (shared / "model.safetensors").exists()
    assert epochs(shared) == epochs(alone)
    assert [record["stage"] for record in epochs(shared)] == ["representation"] * 3 + ["classifier"]
    finals = [json.loads((folder / "final.json").read_text()) for folder in (shared, alone)]
    for final in finals:
        del final["seconds"], final["peak_memory_bytes"]
    assert finals[0] == finals[1]
    for name in ("scores.npz", "probe.npz"):
        with np.load(shared / name) as a, np.load(alone / name) as b:
            assert a.files == b.files and all(np.array_equal(a[key], b[key]) for key in a.files)
    # it really was taken: the seconds of its first epochs are those of the other run
    taken, trained = ((folder / "epochs.jsonl").read_text().splitlines()[:3] for folder in (shared, first))
    assert [json.loads(x)["seconds"] for x in taken] == [json.loads(x)["seconds"] for x in trained]


@pytest.mark.slow
def test_a_sampler_of_its_own_shares_no_stage(tmp_path: Path) -> None:
    fer_bench.run(["crt", "ce"], out=tmp_path, settings=["crt.sampler=sqrt"], **SWEEP)
    assert not (only(tmp_path, "ce") / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("stages", "epochs", "borders"),
    [
        ([1.0], 5, [0, 5]),
        ([0.5, 0.5], 4, [0, 2, 4]),
        ([0.9, 0.1], 4, [0, 3, 4]),
        ([0.01, 0.99], 4, [0, 1, 4]),
        ([0.1, 0.1, 0.8], 3, [0, 1, 2, 3]),
        ([1 / 3] * 3, 10, [0, 3, 7, 10]),
        ([0.5, 0.5, Stage("more", 0.1, extra=True)], 10, [0, 5, 10, 11]),
        ([1.0, Stage("more", 0.1, extra=True)], 2, [0, 2, 3]),
    ],
)
def test_stages_share_the_epochs(stages: list[Any], epochs: int, borders: list[int]) -> None:
    spans = stage_spans([s if isinstance(s, Stage) else Stage("own", s) for s in stages], epochs)
    assert [span.first for span in spans] == borders[:-1] and [span.end for span in spans] == borders[1:]


A, B, EXTRA = Stage("a", 0.5), Stage("b", 0.5), Stage("x", 0.5, extra=True)


@pytest.mark.parametrize(
    ("stages", "epochs", "message"),
    [
        ((A, EXTRA, B), 10, "extra stages come after the others"),
        ((EXTRA, Stage("a")), 10, "extra stages come after the others"),
        ((EXTRA,), 10, r"shares of the stages \[\] do not sum to 1"),
        ((), 10, r"shares of the stages \[\] do not sum to 1"),
        ((A, EXTRA), 10, r"shares of the stages \[0.5\] do not sum to 1"),
        ((A, B), 1, "2 stages do not fit into 1 epochs"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages: tuple[Stage, ...], epochs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage_spans(stages, epochs)
