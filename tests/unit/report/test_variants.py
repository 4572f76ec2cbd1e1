"""Tables of variants: settings of their own belong to rows, and rows with settings of a file are marked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fer_bench.core.spec import Recipe
from fer_bench.core.text import natural_key
from fer_bench.core.variant import Variant
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.tables import comparison
from fer_bench.store.frame import to_frame
from fer_bench.store.records import Record, read_record
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish

TUNED = Variant({}, {"lr": 0.02}, note="settings.toml, sha256 0123456789ab")


def record(out: Path, method: str, variant: Variant = Variant(), **changes: object) -> Record:  # noqa: B008
    """A finished run as its sweep tells of it."""
    lr = variant.recipe.get("lr", 0.001)
    config = {"weight": 1.0, **variant.settings}
    recipe = Recipe(epochs=6, lr=lr)
    folder = finish(out, method, changes.pop("noise", CLEAN), recipe=recipe, config=config, **changes)  # type: ignore[arg-type]
    return replace(read_record(folder), variant=variant)


def arranged(*records: Record) -> Runs:
    return arrange(records, {"faces": CLASSES})


def test_a_learning_rate_of_one_method_makes_no_condition(tmp_path: Path) -> None:
    both = [record(tmp_path, "alpha"), record(tmp_path, "beta", TUNED)]
    assert arranged(*both).conditions == ("clean",)
    assert arranged(*both).rows == ("alpha", "beta")
    for_all = [replace(each, variant=Variant()) for each in both]
    assert arranged(*for_all).conditions == ("clean, lr 0.001", "clean, lr 0.02"), "as two sweeps with --lr"


def test_the_notes_name_settings_of_the_recipe_by_row(tmp_path: Path) -> None:
    text = comparison(arranged(record(tmp_path, "alpha"), record(tmp_path, "beta", TUNED))).markdown()
    assert "learning rate 0.001 unless a row has its own" in text
    assert "Settings of the recipe by row: beta: lr 0.02." in text
    own = comparison(arranged(record(tmp_path, "beta", TUNED))).markdown()
    assert "learning rates by row" in own
    plain = comparison(arranged(record(tmp_path, "alpha"))).markdown()
    assert "by row" not in plain and "unless" not in plain


def test_a_tuned_row_is_marked_beside_one_that_is_not(tmp_path: Path) -> None:
    runs = arranged(
        record(tmp_path, "alpha"), record(tmp_path, "beta", TUNED), record(tmp_path, "beta", TUNED, noise=NOISY)
    )
    table = comparison(runs)
    assert [name for name, _ in table.blocks[0].rows] == ["alpha", "beta◊"]
    assert table.legend == ("◊ uses the settings of a file (settings.toml, sha256 0123456789ab).",)
    assert r"beta$^\diamond$" in table.latex()


def test_a_varied_learning_rate_makes_rows_in_the_order_of_its_values(tmp_path: Path) -> None:
    values = (0.1, 0.02, 0.003)
    runs = [record(tmp_path, "alpha", Variant({}, {"lr": lr})) for lr in values]
    assert arranged(*runs).rows == ("alpha (lr=0.003)", "alpha (lr=0.02)", "alpha (lr=0.1)")
    assert arranged(*runs).conditions == ("clean",)


def test_rows_are_sorted_by_the_value_of_numbers(tmp_path: Path) -> None:
    runs = [record(tmp_path, "alpha", Variant({"weight": weight})) for weight in (10.0, 2.0, 0.5)]
    assert arranged(*runs).rows == ("alpha (weight=0.5)", "alpha (weight=2.0)", "alpha (weight=10.0)")


@pytest.mark.parametrize(
    ("lower", "higher"), [("a2", "a10"), ("x=1e-05", "x=0.1"), ("a", "b"), ("a", "a1"), ("1.5", "1.25e1"), ("", "a")]
)
def test_natural_order(lower: str, higher: str) -> None:
    assert natural_key(lower) < natural_key(higher)


def test_columns_of_variants_are_there_where_a_run_is_one(tmp_path: Path) -> None:
    plain, tuned = record(tmp_path, "alpha"), record(tmp_path, "beta", replace(TUNED, trial=3))
    assert not {"own_recipe", "settings_from", "trial"} & set(to_frame([plain]))
    frame = to_frame([plain, tuned])
    assert [json.loads(text) for text in frame["own_recipe"]] == [{}, {"lr": 0.02}]
    assert frame["settings_from"].tolist() == ["", TUNED.note] and frame["trial"].tolist()[1] == 3
