"""The reference sweeps: which commands train them, and the validation table that is made of their records."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.reference import page, validation
from benchmarks.reference.columns import Column, always_ahead, of_values, rank_correlation, table
from benchmarks.reference.sweeps import Reference, references
from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.plugins.registry import discover


@pytest.mark.parametrize("name", ["tune-quick", "reference-grid", "reference-kinds", "reference-defaults"])
def test_every_method_is_in_it_once(name: str) -> None:
    methods = Counter(",".join(references()[name].methods).split(","))
    assert methods == Counter(key for key, plugin in discover().items() if plugin.origin == "built in")


def test_each_command_asks_for_more_methods() -> None:
    reference = Reference("mine", "A sweep", "run", ("a,b", "c"), ("--noise 0,0.4",), data_root=True)
    first, second = reference.commands(Path("out"), Path("faces"), 2)
    assert first[0] == sys.executable and first[3:6] == ["run", "--methods", "a,b"] and second[5] == "a,b,c"
    rest = ["--noise", "0,0.4", "--name", "mine", "--out", "out", "--data-root", "faces", "--jobs", "2"]
    assert first[6:] == second[6:] == rest


def test_a_sweep_goes_on_from_what_it_has(tmp_path: Path) -> None:
    reference = Reference("mine", "A sweep", "run", ("a,b", "c"), ("--noise 0,0.4 --separate", "--noise 0,0.2,0.4"))

    def asked() -> list[list[str]]:
        return [command[5:8] for command in reference.commands(tmp_path, None, None)]

    every = [["a,b", "--noise", "0,0.4"], ["a,b,c", "--noise", "0,0.4"], ["a,b,c", "--noise", "0,0.2,0.4"]]
    assert asked() == every
    folder = tmp_path / "sweeps" / "mine"
    folder.mkdir(parents=True)
    for number, command in enumerate(reference.commands(tmp_path, None, None)):
        words = " ".join(command[3:])
        stored = {
            "name": "mine",
            "command": f"fer-bench {words}",
            "runs": [],
            "skipped": [],
            "names": {},
            "classes": {},
        }
        (folder / "sweep.json").write_text(json.dumps({**stored, "created": ""}))
        assert asked() == every[number:]


def commands_of(reference: Reference, out: Path) -> list[list[str]]:
    """One command with all methods for each of the options."""
    return reference.commands(out, None, None)[-len(reference.options) :]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, each in references().items() if not each.data_root])
def test_the_commands_for_all_methods_make_a_plan(name: str, tmp_path: Path) -> None:
    for command in commands_of(references()[name], tmp_path):
        outcome = CliRunner().invoke(main, [*command[3:], "--dry-run"])
        assert outcome.exit_code == 0, outcome.output
        assert "0 methods skipped" in " ".join(outcome.output.split())


def record(method: str, rate: float, factor: float, seed: int, overall: float, mean: float = 0.5) -> Any:
    spec = {"method": method, "noise": {"rate": rate}, "imbalance": {"factor": factor}, "seed": seed}
    cost = 200 if method == "nla" else 100
    epochs = [{"val": {"overall": 0.1, "mean": 0.1}}, {"val": {"overall": overall, "mean": mean}}]
    return SimpleNamespace(spec=spec, epochs=epochs, final={"images_forward": cost, "images_backward": cost})


def test_the_table_shows_the_last_epoch_and_marks_what_misses() -> None:
    records = [record("ce", 0.0, 1.0, seed, overall) for seed, overall in enumerate((0.8, 0.9))]
    records += [record("nla", 0.0, 1.0, 0, 0.5), record("nla", 0.4, 1.0, 0, 0.7), record("ce", 0.4, 1.0, 0, 0.6)]
    records += [
        record("nla", 0.0, 50.0, 0, 0.9, 0.4),
        record("ce", 0.0, 50.0, 0, 0.1, 0.4),
        record("ce", 0.2, 1.0, 0, 0.9),
    ]
    head, _, *rows = validation.table(records).splitlines()
    assert head == "| method | clean | symmetric 0.4 | imbalance 50 | images forward / backward |"
    assert rows == [
        "| `ce` | 85.0 ± 7.1 | 60.0 | 40.0 | 1.0 / 1.0 |",
        "| `nla` | 50.0 | 70.0 | 40.0 ▽ | 2.0 / 2.0 |",
    ]


def test_the_table_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "methods.md"
    page.write_text(f"before\n{validation.BEGIN}old\n{validation.END}after\n")
    sweep: Any = SimpleNamespace(records=lambda: [record("ce", 0.0, 1.0, 0, 0.8)])
    for _ in range(2):
        validation.write(sweep, page)
        text = page.read_text()
        assert text.startswith(f"before\n{validation.BEGIN}\n| method |") and text.endswith(
            f"|\n\n{validation.END}after\n"
        )
        assert "old" not in text and text.count("| `ce` | 80.0 | – | – | 1.0 / 1.0 |") == 1


# --- docs/results.md ----------------------------------------------------------------------------------------------


def column(better: int = 1, **values: float) -> Column:
    return of_values(values, {"ce": "Cross-entropy (baseline)", "nla": "NLA◊ᵃ", "eac": "EAC", "cb": "CB loss"}, better)


def test_methods_are_sorted_by_the_first_column() -> None:
    accuracy, memorised = column(ce=70.0, nla=80.123, eac=60.0), column(better=-1, ce=50.0, nla=8.0, cb=40.0)
    rows = table([("clean", accuracy), ("memorised", memorised), ("nothing", column())]).splitlines()
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if "---" not in row] == [
        ["Method", "clean", "memorised"],
        ["NLA◊", "80.12", "8.00"],
        ["Cross-entropy (baseline)", "70.00", "50.00"],
        ["EAC", "60.00", "–"],
        ["CB loss", "–", "40.00"],
    ]
    assert [row.split()[1] for row in table([("", memorised)]).splitlines()[2:]] == ["NLA◊", "CB", "Cross-entropy"]


def test_a_long_table_shows_its_ends_and_the_baseline() -> None:
    text = table([("clean", column(ce=2.0, nla=4.0, eac=3.0, cb=1.0))], ends=1)
    assert [row.split()[1] for row in text.splitlines()[2:5]] == ["NLA◊", "Cross-entropy", "CB"]
    assert text.startswith("| First and last 1 of 4 methods ")


def test_orders_follow_the_better_direction() -> None:
    high, low = column(ce=2.0, nla=4.0, eac=1.0), column(better=-1, ce=2.0, nla=4.0, eac=1.0)
    assert high.best() == ["nla", "ce", "eac"] and low.best(1) == low.worst(3)[-1:] == ["eac"]
    assert high.ahead() == ["nla"] and low.ahead() == ["eac"] and always_ahead([high, low]) == []
    assert rank_correlation(high, low) == pytest.approx(1) and rank_correlation(high, column(ce=2, nla=1, eac=3)) < 0
    assert (high - low).values == {"ce": 0, "nla": 0, "eac": 0} and high.over().cells["nla"].text == "+2.00"


def test_a_sentence_that_does_not_hold_is_an_error() -> None:
    assert page.claim(True, lambda: "\nIt holds.\n") == "It holds.\n"
    with pytest.raises(SpecError, match=r"results.md.jinja: .*write it again: It holds."):
        page.claim(False, lambda: "It holds.")


def test_sentences_are_filled_and_tables_are_not() -> None:
    long = "word " * 40
    lines = page.wrapped(f"\n# Title\n\n\n- {long}\n- short\n\n| {long}|\n").splitlines()
    assert lines[0] == "# Title" and lines[2].startswith("- word") and lines[3].startswith("  word")
    assert lines[4:6] == ["- short", ""] and len(lines[6]) > 200 and max(map(len, lines[:6])) <= 120
