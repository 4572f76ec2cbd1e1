"""Runs at chance: the limit, and where tables say so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.report import chance
from fer_bench.report.measures import View
from fer_bench.report.tables import comparison
from fer_bench.store.chance import chance_limit, limit
from fer_bench.store.frame import to_frame
from fer_bench.store.records import Record
from tests.helpers.runs import CLEAN, NOISY, arranged, finish, records, with_parts


def test_the_limit_is_two_standard_errors_of_guessing() -> None:
    counts = [100] * 4
    error = math.sqrt(0.25 * 0.75 * 4 / 100) / 4
    assert limit(4, counts) == pytest.approx(0.25 + 2 * error)
    assert limit(4, []) == 0.25


def test_a_run_that_guesses_exceeds_the_limit_once_in_about_forty_times() -> None:
    rng, counts = np.random.default_rng(0), np.array([20, 40, 60, 400, 80, 100, 300])
    means = (rng.binomial(counts, 1 / 7, (20_000, 7)) / counts).mean(1)
    assert 0.01 < (means > limit(7, counts.tolist())).mean() < 0.04


def changed(record: Record, **test: Any) -> Record:
    last = record.epochs[-1]
    return with_parts(record, epochs=[*record.epochs[:-1], {**last, "test": {**last["test"], **test}}])


def at_chance(record: Record, selection: str) -> bool:
    number, total = chance.count(to_frame([record]), selection)
    assert total == 1
    return number == 1


def test_constant_predictions_are_at_chance_and_worse_ones_too(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    (record,) = records(tmp_path)
    assert not at_chance(record, "last")
    just = chance_limit(record.epochs[-1]["test"])
    assert just == limit(7, [sum(row) for row in record.epochs[-1]["test"]["confusion"]])
    for mean, expected in ((1 / 7, True), (0.02, True), (just, True), (just + 0.001, False)):
        assert at_chance(changed(record, mean=mean), "last") is expected
    assert not at_chance(changed(record, mean=1 / 7), "best_test"), "the best epoch of it had learned"
    assert not at_chance(changed(record, mean=1 / 7), "best_val"), "it has no validation split"
    known = {name: value for name, value in record.epochs[-1]["test"].items() if name != "confusion"}
    for mean, expected in ((1 / 7, True), (1 / 7 + 0.001, False)):
        without = with_parts(record, epochs=[{**record.epochs[-1], "test": {**known, "mean": mean}}])
        assert at_chance(without, "last") is expected, "without the numbers of images the limit is 1/C itself"


def test_nothing_is_at_chance_where_the_classes_of_the_test_images_are_not_known() -> None:
    assert chance_limit({}) is None
    assert chance_limit({"recall": [1.0, None, None]}) is None, "one class has nothing to guess"
    assert chance_limit({"recall": [0.5, None, 0.5]}) == 0.5


def test_tables_mark_cells_and_name_the_rows(tmp_path: Path) -> None:
    for seed, skill in enumerate((0.9, 0.05)):
        finish(tmp_path, "alpha", CLEAN, seed=seed)
        finish(tmp_path, "beta", CLEAN, seed=seed, skill=skill)
        finish(tmp_path, "alpha", NOISY, seed=seed, skill=0.05)
    table = comparison(arranged(tmp_path), View(metrics=("overall", "memorised")))
    cells = {name: [cell.text for cell in line] for name, line in table.blocks[0].rows}
    assert cells["beta"][0].endswith(" ↓") and cells["alpha"][1].endswith(" ↓") and "↓" not in cells["alpha"][0]
    assert "↓" not in "".join(cell.text for _, line in table.blocks[1].rows for cell in line), "no accuracy"
    assert "At chance, not learning: alpha: symmetric 0.2; beta: clean (1 of 2 runs)." in table.notes
    assert chance.LEGEND in table.legend
    assert not any(cell.bold for _, line in table.blocks[0].rows[1:] for cell in line)
    learned = comparison(arranged(tmp_path), View(selections=("best_test",), metrics=("memorised",)))
    assert any("At chance" in note for note in learned.notes), "also where no accuracy is shown"
