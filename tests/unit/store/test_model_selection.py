"""Which epoch a reported number comes from."""

from __future__ import annotations

import pytest

from fer_bench.store.model_selection import SELECTIONS, select
from tests.helpers.stored import record


def test_select() -> None:
    epochs = [record(1, 0.5, 0.7), record(2, 0.9, 0.7), record(3, 0.9, 0.1)]
    found = {key: select(epochs, key) for key in SELECTIONS}
    assert {key: chosen and chosen.epochs for key, chosen in found.items()} == {
        "last": (3,), "mean_last_5": None, "best_val": (1,), "best_test": (2,)
    }  # fmt: skip
    assert select([record(1, 0.5)], "best_val") is None


def test_mean_of_the_last_five() -> None:
    epochs = [record(k, value) for k, value in enumerate((0.0, 0.1, 0.2, 0.4, 0.6, 0.7), 1)]
    for k, entry in enumerate(epochs):
        entry["test"] = {**entry["test"], "recall": [k / 10, None, 1.0], "confusion": [[k + 1, 0], [0, 1]]}
    found = select(epochs, "mean_last_5")
    assert found is not None and found.epochs == (2, 3, 4, 5, 6)
    assert found.test["overall"] == pytest.approx((0.1 + 0.2 + 0.4 + 0.6 + 0.7) / 5)
    assert found.test["recall"] == [pytest.approx(0.3), None, 1.0]
    assert found.test["confusion"] == [[20, 0], [0, 5]], "counts are summed"
