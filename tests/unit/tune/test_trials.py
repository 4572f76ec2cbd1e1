"""What is chosen from finished trials, and what the table, the plot and the settings file say of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import StoreError
from fer_bench.core.spec import Imbalance, Noise
from fer_bench.core.variant import Variant
from fer_bench.report.outputs import outputs_of, write_outputs
from fer_bench.report.plots.trials import sketches
from fer_bench.report.shown import Shown
from fer_bench.report.trials import trial_table
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.archive import pack, unpack
from fer_bench.sweep.record import Sweep, find_sweep
from fer_bench.sweep.settings import read_settings
from fer_bench.sweep.trials import best, conditions_of, cost, trials_of
from fer_bench.sweep.tuned import tuned_settings
from tests.helpers.trials import CLASSES, finish_trial

NOISY = Noise("symmetric", 0.4)
IMBALANCED = (Noise("none"), Imbalance("exp", 10.0))
VALUES = {
    0: Variant(label="default", trial=0),
    1: Variant({"weight": 2.0}, {"lr": 0.002}, "trial 1", trial=1),
    2: Variant({"weight": 3.0}, {"lr": 0.003}, "trial 2", trial=2),
}
Accuracy = tuple[float, float]
"""On noisy validation labels and on test, fractions."""


@pytest.fixture
def tuning(tmp_path: Path) -> Callable[..., Sweep]:
    """``tuning({trial: (validation, test)})``: a finished tuning of ``alpha``; studies differ by a hundredth.

    ``methods`` says by how much each method is ahead of these accuracies.
    """

    def make(
        accuracies: dict[int, Accuracy],
        methods: Mapping[str, float] = MappingProxyType({"alpha": 0.0}),
        conditions: tuple[tuple[Noise, Imbalance], ...] = ((NOISY, Imbalance()),),
        unfinished: tuple[int, ...] = (),
        failed: tuple[int, ...] = (),
        studies: int = 2,
        name: str = "tune",
    ) -> Sweep:
        runs: dict[str, Variant] = {}
        every = product(methods.items(), accuracies.items(), conditions, range(studies))
        for (method, ahead), (number, (val, test)), (noise, imbalance), study in every:
            variant, more = VALUES[number], ahead + study / 100
            folder = finish_trial(tmp_path, variant, noise, imbalance, 1000 + study, val + more, test + more, method)
            if study == studies - 1 and number in (*unfinished, *failed):
                spoil(folder, number in failed)
            runs[folder.path.relative_to(tmp_path).as_posix()] = variant
        content = {
            "name": name,
            "command": "fer-bench tune",
            "created": "2026-01-01T00:00:00Z",
            "runs": list(runs),
            "names": {Path(run).name: run for run in runs},
            "skipped": [],
            "classes": {"faces": list(CLASSES)},
            "variants": {Path(run).name: asdict(variant) for run, variant in runs.items()},
            "tuning": {"budget": 15.0, "studies": studies},
        }
        folder_of_sweep = tmp_path / "sweeps" / name
        folder_of_sweep.mkdir(parents=True, exist_ok=True)
        (folder_of_sweep / "sweep.json").write_text(json.dumps(content))
        return find_sweep(tmp_path, name)

    return make


def spoil(folder: RunFolder, failed: bool) -> None:
    """Takes the results of a run away; a failed one says why."""
    with folder.claim():
        folder.clear_results()
        if failed:
            folder.fail("NonFiniteLoss: the loss became NaN", "traceback")


THREE = {0: (0.40, 0.60), 1: (0.50, 0.65), 2: (0.45, 0.70)}


def block(text: str, heading: str) -> dict[str, dict[str, str]]:
    """The block of a Markdown table below a heading, by row and column."""
    lines = text.split(f"## {heading}\n\n")[1].split("\n\n")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def test_the_trial_with_the_best_validation_accuracy_is_chosen_and_not_the_best_on_test(tuning: Any) -> None:
    trials = trials_of(tuning(THREE))["alpha"]
    assert [trial.number for trial in trials] == [0, 1, 2] and all(len(trial.records) == 2 for trial in trials)
    chosen, oracle = best(trials, "val"), best(trials, "test")
    assert chosen and oracle and (chosen.number, oracle.number) == (1, 2)
    assert chosen.score("val") == pytest.approx(0.505) and chosen.score("test") == pytest.approx(0.655)


def test_the_default_stays_where_another_trial_is_as_good(tuning: Any) -> None:
    chosen = best(trials_of(tuning({0: (0.5, 0.6), 1: (0.5, 0.9)}))["alpha"], "val")
    assert chosen and chosen.number == 0


def test_one_trial_is_chosen_for_all_conditions_and_imbalance_counts_classes_alike(tuning: Any) -> None:
    sweep = tuning(THREE, conditions=((NOISY, Imbalance()), IMBALANCED))
    trials = trials_of(sweep)["alpha"]
    assert conditions_of(trials) == ["symmetric 0.4", "clean, exp imbalance 10"]
    plain, balanced = (trials[1].at(condition)[0] for condition in conditions_of(trials))
    overall, mean = plain.epochs[-1]["val"]["overall"], balanced.epochs[-1]["val"]["mean"]
    assert balanced.epochs[-1]["val"]["overall"] != mean
    assert (overall, mean) == (0.5, 0.4)
    assert trials[1].score("val") == pytest.approx((0.5 + 0.51 + 0.4 + 0.41) / 4)


@pytest.mark.parametrize("spoilt", ["failed", "unfinished"])
def test_a_trial_that_lacks_a_run_cannot_be_chosen(tuning: Any, spoilt: str) -> None:
    sweep = tuning(THREE, **{spoilt: (1,)})
    trials = trials_of(sweep)["alpha"]
    assert (trials[1].failed, trials[1].pending) == ((1, 0) if spoilt == "failed" else (0, 1))
    chosen = best(trials, "val")
    assert chosen and chosen.number == 2
    settings = tuned_settings(sweep, {"alpha": trials})
    table = outputs_of(sweep).table.markdown()
    if spoilt == "failed":
        assert settings and settings.methods["alpha"].failed == 1 and settings.methods["alpha"].trials == 2
        assert "alpha: 1 trial failed and cannot be chosen." in table
    else:
        assert settings is None and "Not finished: 1 trial. Other trials may be chosen" in table
    assert "2 of 3" in table


def test_the_cost_is_that_of_all_passes(tuning: Any) -> None:
    record = trials_of(tuning({0: (0.4, 0.6)}))["alpha"][0].records[0]
    assert cost(record) == pytest.approx((480 + 240) / (2 * 120 + 2 * 120)), "two epochs of 120 images, both ways"


def test_the_table_has_default_tuned_and_oracle(tuning: Any) -> None:
    sweep = tuning(THREE)
    text = outputs_of(sweep).table.markdown()
    found = block(text, "Overall accuracy on test, last epoch (%): symmetric 0.4")["alpha"]
    assert list(found) == ["default", "tuned (noisy validation)", "oracle (best on test)", "oracle - tuned"]
    assert [value.split(" ± ")[0] for value in found.values()] == ["60.50", "65.50", "70.50", "5.00"]
    assert all(" ± 0.71" in value for value in list(found.values())[:3])
    assert "upper bound" in text and "No test label" in text and "15 cross-entropy runs" in text
    values = block(text, "Search (cost in cross-entropy runs)")["alpha"]
    assert (values["tuned"], values["oracle"]) == ("lr=0.002, weight=2", "lr=0.003, weight=3")
    lines = list(csv.DictReader(io.StringIO(outputs_of(sweep).table.csv())))
    assert {(line["column"], line["trial"], line["study"]) for line in lines} == {
        (column, trial, study)
        for column, trial in (("default", "0"), ("tuned", "1"), ("oracle", "2"))
        for study in ("1000", "1001")
    }


def test_a_method_without_a_complete_trial_has_empty_cells(tuning: Any) -> None:
    sweep = tuning({0: (0.4, 0.6)}, failed=(0,))
    text = trial_table(trials_of(sweep), sweep.tuning).markdown()
    assert block(text, "Accuracy on noisy validation labels (%), mean over conditions")["alpha"]["default"] == "–"
    assert tuned_settings(sweep, trials_of(sweep)) is None


def test_a_tuning_without_a_complete_trial_has_no_page(tuning: Any, tmp_path: Path) -> None:
    tuning({0: (0.4, 0.6)}, failed=(0,))
    page = CliRunner().invoke(main, ["report", "tune", "--out", str(tmp_path)])
    assert page.exit_code == 2 and "tune: no trial is complete yet" in page.output + page.stderr


def test_the_table_and_the_plot_have_the_names_of_methods(tuning: Any) -> None:
    sweep, names = tuning(THREE), {"coteaching": "Co-teaching"}
    trials = {"coteaching": trials_of(sweep)["alpha"]}
    table = trial_table(trials, sweep.tuning, names=names)
    assert [[name for name, _ in each.rows] for each in table.blocks] == [["Co-teaching"]] * len(table.blocks)
    assert set(table.numbers["method"]) == {"coteaching"}
    (sketch,) = sketches(trials, names)
    assert [ax.get_title(loc="left") for ax in sketch.draw().axes] == ["Co-teaching"]


@pytest.mark.parametrize(
    ("options", "rows", "notes"),
    [
        ([], ["NLA", "Cross-entropy", "EAC"], ["Sorted by the tuned settings: overall accuracy (symmetric 0.4), best"]),
        (["--sort", "name"], ["Cross-entropy", "EAC", "NLA"], ["Sorted by name."]),
        (["--top", "1"], ["NLA", "Cross-entropy"], ["2 methods of 3 are shown."]),
        (["--only", "eac,nla"], ["NLA", "EAC"], ["2 methods of 3 are shown."]),
    ],
    ids=["default", "sort", "top keeps the baseline", "only"],
)
def test_the_table_and_the_plot_of_a_tuning_show_the_methods_that_are_asked_for(
    tuning: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], rows: list[str], notes: list[str]
) -> None:
    tuning(THREE, methods={"ce": 0.0, "eac": -0.2, "nla": 0.1})
    command = ["tune", "--out", str(tmp_path), "--to", str(tmp_path / "to"), *options]
    table = CliRunner().invoke(main, ["table", *command, "--format", "markdown"])
    assert list(block(table.stdout, "Overall accuracy on test, last epoch (%): symmetric 0.4")) == rows
    assert all(note in table.stdout for note in notes)
    drawn: list[list[str]] = []
    write = "fer_bench.report.plots.trials.write"
    monkeypatch.setattr(write, lambda trials, names, *_: drawn.append([names[key] for key in trials]) or [])
    assert CliRunner().invoke(main, ["plot", *command]).exit_code == 0
    assert drawn == [rows]


def test_a_method_without_a_complete_trial_comes_last(tuning: Any) -> None:
    sweep = tuning({0: (0.4, 0.6)}, methods={"zeta": 0.0})
    waiting = tuning({0: (0.5, 0.7)}, methods={"alpha": 0.0}, unfinished=(0,), name="waiting")
    trials = {**trials_of(waiting), **trials_of(sweep)}
    assert list(Shown().trials(trials, sweep.classes, {})[0]) == ["zeta", "alpha"]
    assert list(Shown(top=1).trials(trials, sweep.classes, {})[0]) == ["zeta"]
    assert list(Shown(("alpha", "zeta")).trials(trials, sweep.classes, {})[0]) == ["zeta", "alpha"]


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        (["table", "--metrics", "nll"], "tune is a tuning: its table has no other metrics, epochs or tests"),
        (["table", "--only", "eca"], "--only: unknown method 'eca'; did you mean 'eac'?"),
        (["plot", "--kinds", "joint"], "--kinds: tune is a tuning; its only plot is that of its trials"),
    ],
)
def test_what_a_tuning_cannot_show_is_an_error(tuning: Any, tmp_path: Path, command: list[str], seen: str) -> None:
    tuning(THREE, methods={"eac": 0.0})
    result = CliRunner().invoke(main, [*command, "tune", "--out", str(tmp_path)])
    assert result.exit_code == 2 and seen in " ".join(result.stderr.split())


def test_the_settings_file_holds_what_was_chosen_and_how(tuning: Any) -> None:
    sweep = tuning(THREE)
    written = write_outputs(sweep)
    names = {path.relative_to(sweep.folder).as_posix() for path in written}
    assert {"settings.toml", "table.md", "runs.csv", "plots/trials.png"} <= names
    found = read_settings(sweep.folder / "settings.toml").content
    alpha, how = found.methods["alpha"], found.tuning
    assert (alpha.settings, alpha.recipe, alpha.trial, alpha.trials) == ({"weight": 2.0}, {"lr": 0.002}, 1, 3)
    assert alpha.validation == pytest.approx(0.505) and alpha.default_validation == pytest.approx(0.405)
    assert (how.sweep, how.data, how.conditions, how.budget, how.studies) == (
        "tune",
        "faces",
        ("symmetric 0.4",),
        15,
        2,
    )
    rows = list(csv.DictReader((sweep.folder / "runs.csv").open()))
    assert [row["trial"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    assert json.loads(rows[2]["own_recipe"]) == {"lr": 0.002}


def test_table_and_plot_are_commands_and_the_page_is_of_complete_trials(tuning: Any, tmp_path: Path) -> None:
    sweep = tuning(THREE)
    shown = CliRunner().invoke(main, ["table", "tune", "--out", str(tmp_path), "--format", "markdown"])
    assert shown.exit_code == 0 and shown.output.strip() == outputs_of(sweep).table.markdown().strip()
    drawn = CliRunner().invoke(main, ["plot", "tune", "--out", str(tmp_path)])
    assert drawn.exit_code == 0 and "trials.png" in drawn.output
    page = CliRunner().invoke(main, ["report", "tune", "--out", str(tmp_path)])
    assert page.exit_code == 0 and "report.html" in page.output, page.output


def test_a_tuning_is_packed_and_unpacked_with_its_trials(tuning: Any, tmp_path: Path) -> None:
    sweep = tuning(THREE)
    table = outputs_of(sweep).table.markdown()
    pack(sweep, tmp_path / "tune.tar.gz")
    unpack(tmp_path / "tune.tar.gz", tmp_path / "there")
    assert outputs_of(find_sweep(tmp_path / "there", "tune")).table.markdown() == table


@pytest.mark.parametrize(
    "change",
    [
        {"variants": 3},
        {"variants": {"k": 3}},
        {"variants": {"k": {"trial": "x"}}},
        {"variants": {"k": {"tril": 1}}},
        {"tuning": {"budget": 15.0}},
    ],
)
def test_a_damaged_sweep_is_named(tuning: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    file = tuning({0: (0.4, 0.6)}).folder / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(StoreError, match=r"sweep\.json is damaged"):
        find_sweep(tmp_path, "tune")
