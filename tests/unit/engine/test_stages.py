"""Stages: one that comes on top of the recipe's epochs, and one that is taken from the run of another method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fer_bench
from fer_bench.engine.stages import stage_epochs
from fer_bench.method import Stage

pytestmark = pytest.mark.usefixtures("no_outputs")
SWEEP: dict[str, Any] = {"noise": [0.4], "epochs": 3, "image_size": 32, "train_size": 140, "jobs": 1}


def only(out: Path, method: str) -> Path:
    (path,) = (out / "runs").glob(f"*/{method}/*/final.json")
    return path.parent


def epochs(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    return records


def test_a_stage_taken_from_another_run_changes_no_number(tmp_path: Path) -> None:
    """cRT's first stage is the cross-entropy run of the same settings: taken or trained, the numbers are equal."""
    fer_bench.run(["crt", "ce"], out=tmp_path / "both", **SWEEP)
    fer_bench.run(["crt"], out=tmp_path / "alone", **SWEEP)
    shared, alone = only(tmp_path / "both", "crt"), only(tmp_path / "alone", "crt")
    first = only(tmp_path / "both", "ce")
    assert shared.name == alone.name and (first / "networks.pt").exists() and not (shared / "networks.pt").exists()
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


def test_a_sampler_of_its_own_shares_no_stage(tmp_path: Path) -> None:
    fer_bench.run(["crt", "ce"], out=tmp_path, settings=["crt.sampler=sqrt"], **SWEEP)
    assert not (only(tmp_path, "ce") / "networks.pt").exists()


def test_extra_stages_follow_the_others() -> None:
    a, b, more = Stage("a", 0.5), Stage("b", 0.5), Stage("more", 0.1, extra=True)
    assert [part[1:] for part in stage_epochs([a, b, more], 10)] == [(0, 5), (5, 10), (10, 11)]
    assert [part[1:] for part in stage_epochs([Stage("a"), more], 2)] == [(0, 2), (2, 3)]
    with pytest.raises(ValueError, match="extra stages come after the others"):
        stage_epochs([more, Stage("a")], 10)
    with pytest.raises(ValueError, match="do not sum to 1"):
        stage_epochs([more], 10)
