"""Which rows are shown, in which order, and that leaving out rows changes no test of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Noise
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.report.arrange import Runs
from fer_bench.report.measures import View
from fer_bench.report.shown import Shown
from fer_bench.report.tables import comparison
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish, records

PLUGINS = discover()
SKILLS = {"ce": 0.7, "coteaching": 0.9, "nla": 0.5, "mine": 0.8}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods, one of them unknown. Under noise the order is another one, and one method has no run."""
    folder = tmp_path_factory.mktemp("out")
    for seed in range(2):
        for method, skill in SKILLS.items():
            finish(folder, method, CLEAN, seed=seed, skill=skill)
            if method != "mine":
                finish(folder, method, NOISY, seed=seed, skill=1.4 - skill)
    return folder


def shown(
    out: Path, only: tuple[str, ...] | None = None, sort: str = "", top: int | None = None, view: View | None = None
) -> Runs:
    return Shown(only, sort, top).arrange(records(out), {"faces": CLASSES}, PLUGINS, view or View())


def test_rows_come_best_first_by_the_first_column(out: Path) -> None:
    runs = shown(out)
    assert runs.rows == ("coteaching", "mine", "ce", "nla")
    assert [runs.name(row) for row in runs.rows] == ["Co-teaching", "mine", "Cross-entropy", "NLA"]
    assert runs.order == "Sorted by overall accuracy (clean), best first."
    table = comparison(runs)
    assert [name for name, _ in table.blocks[0].rows] == ["Co-teaching", "mine", "Cross-entropy (baseline)", "NLA"]
    assert runs.order in table.notes
    assert set(table.numbers["row"].dropna()) == {"coteaching", "mine", "ce", "nla"}, "a CSV has keys"


@pytest.mark.parametrize(
    ("sort", "rows", "order"),
    [
        (
            "symmetric 0.2",
            ("nla", "ce", "coteaching", "mine"),
            "Sorted by overall accuracy (symmetric 0.2), best first.",
        ),
        ("memorised", ("nla", "ce", "coteaching", "mine"), "memorised wrong labels (symmetric 0.2), best first."),
        ("fit_noisy", ("ce", "coteaching", "mine", "nla"), "on the noisy labels (clean), highest first."),
        ("seconds", ("ce", "coteaching", "mine", "nla"), "Sorted by time, best first."),
        ("name", ("coteaching", "ce", "mine", "nla"), "Sorted by name."),
    ],
)
def test_rows_are_sorted_by_a_column_or_a_metric(out: Path, sort: str, rows: tuple[str, ...], order: str) -> None:
    """Rows without a value come last; equal ones stay in the order of their keys."""
    runs = shown(out, sort=sort)
    assert runs.rows == rows and order in runs.order
    assert list(dict.fromkeys(runs.frame["row"])) != [] and set(runs.frame["row"]) == set(rows)


def test_the_first_metric_of_the_view_sorts(out: Path) -> None:
    assert shown(out, view=View(metrics=("memorised",))).rows[0] == "nla"


def test_only_takes_keys_globs_and_families(out: Path) -> None:
    assert set(shown(out, only=("co*",)).rows) == {"coteaching"}
    assert set(shown(out, only=("family:faces", "mine")).rows) == {"nla", "mine"}
    assert set(shown(out, only=("all",)).rows) == set(SKILLS)
    runs = shown(out, only=("mine",))
    assert runs.conditions == ("clean",), "a condition without a run of these methods has no column"
    assert set(runs.tested["row"]) == {"mine"}, "what was not asked for is in no test"


def test_a_broken_method_can_be_shown(out: Path) -> None:
    broken = {**PLUGINS, "mine": Plugin("mine", out / "mine.py", "", "two plugins claim the key")}
    assert Shown(("mi*",)).arrange(records(out), {}, broken, View()).rows == ("mine",)


def test_top_keeps_the_baseline_and_the_tests(out: Path) -> None:
    runs = shown(out, top=1)
    assert runs.rows == ("coteaching", "ce")
    assert set(runs.frame["row"]) == {"coteaching", "ce"} and set(runs.tested["row"]) == set(SKILLS)
    assert runs.order.endswith("2 rows of 4 are shown; bold cells and tests take all of them into account.")
    last = shown(out, top=1, view=View(baseline="nla"))
    assert last.rows == ("coteaching", "ce", "nla")


def test_what_is_left_out_changes_no_test_and_no_bold_cell(tmp_path: Path) -> None:
    for seed in range(7):
        for place, method in enumerate(("ce", "nla", "scn", "rul")):
            for noise in (CLEAN, Noise("symmetric", 0.4)):
                finish(tmp_path, method, noise, seed=seed, skill=0.6 + 0.05 * place)
    whole = {block.title: dict(block.rows) for block in comparison(shown(tmp_path)).blocks}
    for block in comparison(shown(tmp_path, top=2)).blocks:
        for name, cells in block.rows:
            assert cells == whole[block.title][name], (block.title, name)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"only": ()}, "--only: no method was named"),
        ({"only": ("nal",)}, "--only: unknown method 'nal'; did you mean 'nla'"),
        ({"only": ("family:face",)}, "--only: unknown family 'face'; did you mean 'faces'"),
        ({"only": ("family:imbalance",)}, "--only: no method of the family 'imbalance'; there are: ce, coteaching"),
        (
            {"sort": "symetric 0.2"},
            "--sort 'symetric 0.2': neither a column nor a metric; did you mean 'symmetric 0.2'",
        ),
        ({"sort": "peak_memory_bytes"}, "--sort peak_memory_bytes: no run has a value"),
        ({"top": 0}, "--top 0: at least 1 is needed"),
    ],
)
def test_a_wrong_value_is_named_with_the_nearest(out: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as error:
        shown(out, **wrong)  # type: ignore[arg-type]
    assert said in str(error.value)
