"""Sweeps that are followed through the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.launch.remote import Follower
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request


@pytest.fixture
def request_for(faces_folder: Path) -> Any:
    def make(**changes: Any) -> Request:
        small = {"epochs": 2, "image_size": 32, "batch_size": 32}
        return Request(
            **{"methods": ["ce"], "dataset": str(faces_folder), "noise": [0.3], "overrides": small, **changes}
        )

    return make


def test_the_store_tells_of_finished_epochs(request_for: Any, tmp_path: Path) -> None:
    run = make_plan(request_for()).runs[0]
    folder, told = RunFolder.of(tmp_path, run.spec), []
    folder.start(run.spec, {})
    record = {"test": {"overall": 0.5}, "seconds": {"train": 2.0}}
    folder.save_epochs([{**record, "epoch": 1, "images_forward": 100}])
    follower = Follower({run.spec.key: run}, tmp_path, lambda worker, run, event: told.append(event))
    follower.look()
    assert not told, "an epoch of an earlier attempt is no progress"
    folder.save_epochs([{**record, "epoch": k, "images_forward": 100 * k} for k in (1, 2)])
    follower.look(), follower.look()
    assert [(e["state"], e["epoch"], e["overall"], e["images_per_second"]) for e in told] == [
        ("progress", 2, 0.5, 50.0)
    ]
    assert follower.stored(run) == {"state": "stopped"}
    folder.fail("ValueError: no", "…")
    assert follower.stored(run) == {"state": "failed", "error": "ValueError: no"}
    follower.end(run.spec.key, follower.stored(run))
    assert told[-1]["state"] == "failed" and not follower.todo
