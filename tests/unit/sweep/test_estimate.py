"""The time of a sweep is estimated from one measurement for each speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.spec import Recipe
from fer_bench.sweep.estimate import estimate
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import make_request


def test_runs_of_one_speed_are_measured_once(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Recipe] = []

    def measure(recipe: Recipe, _: str) -> float:
        measured.append(recipe)
        return 10.0

    monkeypatch.setattr("fer_bench.sweep.estimate.measure_speed", measure)
    request = make_request(methods="ce", dataset=faces_folder, epochs=2, image_size=32, vary=["ce.lr=0.1,0.2,0.3"])
    plan = make_plan(request)
    assert estimate(list(plan.runs), tmp_path, ["cpu", "cpu"]) == pytest.approx(3 * 2 * 120 / 10 / 2)
    assert len(measured) == 1
    assert estimate([], tmp_path, []) == 0
