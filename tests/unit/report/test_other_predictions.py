"""Other predictions of a trained method in tables."""

from __future__ import annotations

from pathlib import Path

from fer_bench.report.arrange import arrange
from fer_bench.report.tables import comparison
from fer_bench.store.records import Record
from tests.helpers.runs import CLEAN, NOISY, arranged, finish, records, with_parts


def answered(record: Record) -> Record:
    """A run of beta with a second prediction: 50 % right for seed 0, 60 % for seed 1."""
    spec = record.spec
    if spec["method"] != "beta" or spec["noise"]["rate"]:
        return record
    return with_parts(
        record, final=record.final | {"other_predictions": {"first": {"overall": 0.5 + 0.1 * spec["seed"]}}}
    )


def test_they_stand_below_the_prediction_of_the_method(tmp_path: Path) -> None:
    for seed in (0, 1):
        finish(tmp_path, "beta", CLEAN, seed=seed)
        finish(tmp_path, "alpha", CLEAN, seed=seed)
    finish(tmp_path, "beta", NOISY)
    runs = arrange(answered(record) for record in records(tmp_path))
    (block,) = [each for each in comparison(runs).blocks if each.title.startswith("Other predictions")]
    assert block.columns == ("clean",) and not block.main
    (own, own_cells), (name, cells) = block.rows
    of_beta = runs.frame[runs.frame["row"].eq("beta") & runs.frame["condition"].eq("clean")]
    assert own == "beta" and own_cells[0].text.startswith(f"{100 * of_beta['test_overall'].mean():.2f} ± ")
    assert name == "beta, first" and cells[0].text == "55.00 ± 7.07"


def test_there_is_no_block_without_them(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    assert not [each for each in comparison(arranged(tmp_path)).blocks if each.title.startswith("Other")]
