"""Tables from finished runs: the numbers, what is escaped, and that nothing is cut or hidden."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fer_bench.cli.views.table import TableView
from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Imbalance, Noise, Recipe
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.groups import groups
from fer_bench.report.measures import BY_NAME, SHOWN, View
from fer_bench.report.outputs import write_table
from fer_bench.report.plots.critical_difference import critical_differences
from fer_bench.report.rendering import Block, Cell, Table, csv_text
from fer_bench.report.tables import comparison
from tests.helpers.runs import CLEAN, NOISY, arranged, finish, records, some_runs, with_parts


class _Page(html.parser.HTMLParser):
    """Tags and text of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def terminal(table: Table, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(TableView(table))
    return console.file.getvalue()  # type: ignore[attr-defined]


def cells(table: Table, block: str) -> dict[tuple[str, str], Cell]:
    found = next(b for b in table.blocks if b.title.startswith(block))
    return {(name, c): cell for name, row in found.rows for c, cell in zip(found.columns, row, strict=True)}


def rows_of(table: Table, block: str) -> list[str]:
    return [name for name, _ in next(b for b in table.blocks if b.title.startswith(block)).rows]


def words(table: Table) -> str:
    """Caption, legend and notes."""
    return " ".join((table.caption, *table.below))


# --- cells ---------------------------------------------------------------------------------------------------------


def test_cells_are_mean_and_sample_standard_deviation(tmp_path: Path) -> None:
    runs = some_runs(tmp_path)
    table = comparison(runs)
    frame = runs.raw
    mine = frame[(frame.method == "alpha") & (frame.noise_kind == "symmetric")]
    for block, column in (("Overall", "test_overall"), ("Mean", "test_mean"), ("Memorised", "memorised")):
        values = [100 * v for v in mine[column]]
        expected = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert cells(table, block)["alpha", "symmetric 0.2"].text == expected
    gap = [100 * (best - last) for best, last in zip(mine.best_test_overall, mine.test_overall, strict=True)]
    expected = f"{statistics.mean(gap):.2f} ± {statistics.stdev(gap):.2f}"
    assert cells(table, "Gap")["alpha", "symmetric 0.2"].text == expected
    line = next(
        row
        for row in csv.DictReader(io.StringIO(table.csv()))
        if (row["metric"], row["method"], row["condition"]) == ("test_overall", "alpha", "symmetric 0.2")
    )
    assert float(line["mean"]) == pytest.approx(100 * mine.test_overall.mean(), abs=1e-12)
    assert (line["n"], line["unit"]) == ("3", "%")
    assert float(line["sd"]) == pytest.approx(100 * mine.test_overall.std(ddof=1), abs=1e-12)


def test_nobody_is_best_where_nothing_is_won(tmp_path: Path) -> None:
    table = comparison(some_runs(tmp_path), View(metrics=("ece", "overall")))
    assert {cell.text for cell in cells(table, "Expected").values()} == {"5.00 ± 0.00"}
    assert not any(cell.bold for cell in cells(table, "Expected").values())
    assert any(cell.bold for cell in cells(table, "Overall").values())


def test_columns_rows_and_marks(tmp_path: Path) -> None:
    table = comparison(some_runs(tmp_path))
    overall = table.blocks[0]
    assert overall.columns == ("clean", "human", "symmetric 0.2")
    assert [name for name, _ in overall.rows] == ["alpha", "beta†"]
    assert "† is given the true noise rate." in table.legend
    memorised = next(b for b in table.blocks if b.title.startswith("Memorised"))
    assert memorised.columns == ("human", "symmetric 0.2"), "clean labels have nothing to memorise"
    assert sum(cell.bold for cell in cells(table, "Overall").values()) == 3
    assert not any(cell.bold for cell in cells(table, "Memorised").values())
    assert cells(table, "Cost")["alpha", "Parameters"].text == "1.23 M"
    assert cells(table, "Training data")["human", "Wrong labels (%)"].text == "28.00"
    purity = cells(table, "Correct labels among")
    assert purity["symmetric 0.2", "anger"].text == "80.0"
    assert purity["symmetric 0.2", "neutral"].text == "–"


def test_the_caption_is_two_sentences(tmp_path: Path) -> None:
    table = comparison(some_runs(tmp_path))
    assert table.caption == (
        "Test results of 2 methods on faces, trained for 6 epochs: mean ± standard deviation over 3 runs, last epoch. "
        "Bold: the best mean of a column and all methods not significantly worse, where there are enough runs to test "
        "it."
    )
    assert "Every run reports its last epoch, so no epoch is selected by its accuracy." in table.notes


def test_the_caption_has_the_sizes_of_the_splits(tmp_path: Path) -> None:
    sizes = {"train": 216, "val": 24, "test": 60, "held_out": 24, "source": "derived by group"}
    finish(tmp_path / "a", "alpha", NOISY, given={"splits": sizes}, recipe=Recipe(epochs=1))
    table = comparison(arranged(tmp_path / "a"))
    assert table.caption == (
        "Test results of 1 method on faces (216 training, 24 held-out validation and 60 derived test images), trained "
        "for 1 epoch: one run per cell, last epoch."
    )
    text = "216 training, 24 validation (held out of training) and 60 test images (derived by group)"
    assert f"Images of faces: {text}." in table.notes and "images, 1 epoch, batch size" in words(table)
    assert "By group: no person (or other group of similar images) is in both training and test images." in table.notes
    finish(tmp_path / "b", "alpha", NOISY, given={"splits": {**sizes, "held_out": 0, "source": "official"}})
    table = comparison(arranged(tmp_path / "b"))
    assert "on faces (216 training, 24 validation and 60 test images), trained for 6 epochs" in table.caption
    assert "Images of faces: 216 training, 24 validation and 60 test images." in table.notes
    finish(tmp_path / "c", "alpha", NOISY, dataset="rafdb", given={"splits": {**sizes, "source": "official"}})
    table = comparison(arranged(tmp_path / "c"))
    assert any("Published numbers come from training on the held-out images too" in note for note in table.notes)


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    table = comparison(some_runs(tmp_path, seeds=1))
    for text in (table.markdown(), table.latex(), table.html(), terminal(table)):
        assert "±" not in text and r"\pm" not in text
    assert "one run per cell" in table.caption and "deviation" not in words(table)


def test_missing_and_uneven_cells_say_so(tmp_path: Path) -> None:
    some_runs(tmp_path, ("alpha",))
    finish(tmp_path, "beta", NOISY)
    table = comparison(arranged(tmp_path), unfinished=["beta was skipped: it needs landmarks"])
    overall = cells(table, "Overall")
    assert overall["beta", "clean"].text == "–"
    assert overall["beta", "symmetric 0.2"].text.endswith("(n=1)")
    assert not overall["alpha", "clean"].bold, "the only value of a column is not its best"
    assert table.notes[:2] == ("beta was skipped: it needs landmarks", "–: there is no finished run.")
    for text in (table.markdown(), table.html(), table.latex(), terminal(table)):
        assert "beta was skipped: it needs landmarks" in " ".join(text.split())


NASTY = r"A <script>alert(1)</script> & 50% of_$x$ \cmd {#1} ~^ | *bold* [red]long[/red]"


def test_nothing_is_cut_or_interpreted(tmp_path: Path) -> None:
    for place, name in enumerate((NASTY, "very " * 12 + "long")):
        finish(tmp_path, "alpha", NOISY, config={"name": name}, skill=0.9 - 0.1 * place)
    finish(tmp_path, "beta", CLEAN)
    table = comparison(arranged(tmp_path), unfinished=["<b>note</b> 100% | x"])
    name = 'alpha (name="' + NASTY.replace("\\", "\\\\") + '")'
    page = _Page(table.html())
    assert "script" not in page.seen and "b" not in page.seen
    assert name in page.text
    assert "<script>" not in table.markdown() and "very long" in table.markdown()
    latex = table.latex()
    assert r"\& 50\% of\_\$x\$ \textbackslash{}\textbackslash{}cmd \{\#1\} \textasciitilde{}\textasciicircum{}" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == latex.count(r"\bottomrule")
    assert r"\toprule" in latex and "†" not in latex
    for width in (60, 110):
        shown = terminal(table, width)
        assert max(map(len, shown.splitlines())) <= width
        assert "…" not in shown
        first = shown[: shown.index("Mean accuracy")]
        found = set(re.sub(r"[\d.±– ]+(?=\n)", " ", first).split())
        assert {word for word in name.split() if len(word) < 20} <= found, first
        for cell in cells(table, "Overall").values():
            assert cell.text in shown
    for line in (lines := table.markdown().splitlines()):
        if line.startswith("|"):
            assert line.endswith("|")
    assert any("symmetric 0.2" in line for line in lines)


def test_wide_tables_continue_below(tmp_path: Path) -> None:
    for rate in range(1, 10):
        finish(tmp_path, "alpha", Noise("symmetric", rate / 10), Imbalance("exp", 50))
    table = comparison(arranged(tmp_path))
    shown = terminal(table, 80)
    assert "(continued)" in shown
    assert all(cell.text in shown for cell in cells(table, "Overall").values())
    assert table.blocks[0].columns[0] == "symmetric 0.1, exp 50"


def test_names_and_headers_stay_whole_where_a_block_just_fits() -> None:
    columns = ("Parameters", "Images forward", "Images backward", "Seconds", "Skipped steps", "Uses the noise rate")
    line = tuple(map(Cell, ("294 k", "42 k", "42 k", "45.8 to 59.1", "0", "no")))
    table = Table("t", (Block("b", "Method", columns, (("balanced_softmax", line),)),), "", (), None)
    for width in range(40, 120):
        shown = terminal(table, width)
        assert max(map(len, shown.splitlines())) <= width
        found = set(shown.split())
        assert {"balanced_softmax", "backward", "59.1", "Skipped", "noise", "rate"} <= found, width


# --- metrics and selected epochs -------------------------------------------------------------------------------------


def test_selections_are_queries_and_the_oracle_says_so(tmp_path: Path) -> None:
    runs = some_runs(tmp_path, seeds=2)
    table = comparison(runs, View(selections=("last", "best_test", "mean_last_5", "best_val")))
    titles = [block.title for block in table.blocks]
    assert titles[:3] == [
        "Overall accuracy (%), last epoch",
        "Overall accuracy (%), best epoch on the test set (oracle)",
        "Overall accuracy (%), mean of the last 5 epochs",
    ]
    frame = runs.raw
    mine = frame[(frame.method == "beta") & (frame.noise_kind == "symmetric")]
    for title, column in (
        ("Overall accuracy (%), last", "test_overall"),
        ("Overall accuracy (%), best", "best_test_overall"),
        ("Mean accuracy over classes (%), mean of", "mean_last_5_mean"),
    ):
        values = [100 * value for value in mine[column]]
        expected = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert cells(table, title)["beta†", "symmetric 0.2"].text == expected
    assert "This is an oracle" in words(table)
    assert any("best epoch on the validation set" in note and "No finished run has" in note for note in table.notes)
    assert not any(title.startswith("Gap") and "best epoch on the test" in title for title in titles)
    plain = comparison(runs)
    assert "oracle" not in plain.blocks[0].title
    assert plain.blocks[2].title == "Gap to the oracle epoch (points), last epoch"
    assert all("oracle" in b.title for b in table.blocks if "best epoch on the test" in b.title)


def test_any_metric_can_be_asked_for(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, Imbalance("exp", 20))
    finish(tmp_path, "beta", NOISY, Imbalance("exp", 20), given={"peak_memory_bytes": 3_210_000_000})
    runs = arranged(tmp_path)
    table = comparison(runs, View(metrics=("all",)))
    shown = [block.title for block in table.blocks]
    assert len([title for title in shown if title.endswith("(%), last epoch")]) == 7
    tail = runs.raw.test_tail[0]
    assert cells(table, "Tail-class accuracy")["alpha", "symmetric 0.2, exp 20"].text == f"{100 * tail:.2f}"
    recall = runs.frame["record"][0].epochs[-1]["test"]["recall"]
    assert tail == pytest.approx(np.mean(recall[4:]))
    assert runs.raw.test_head[0] == pytest.approx(np.mean(recall[:3]))
    assert cells(table, "Detection of wrong labels, AUROC")["beta", "symmetric 0.2, exp 20"].text == "90.00"
    assert cells(table, "Cost")["beta", "Peak memory"].text == "3.21 GB"
    assert cells(table, "Cost")["alpha", "Peak memory"].text == "–"
    assert "Head: anger, disgust, fear. Tail: sadness, surprise, neutral." in table.notes
    assert any(note.startswith("Detection: ") for note in table.notes)
    metrics = {line["metric"] for line in csv.DictReader(io.StringIO(comparison(runs).csv()))}
    assert {"test_macro_f1", "best_test_tail", "detection_ap", "peak_memory_bytes", "test_gap"} <= metrics


def test_head_and_tail_are_named_for_each_imbalance(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, Imbalance("exp", 20))
    step = [400, 400, 400, 400, 20, 20, 20]
    finish(tmp_path, "alpha", NOISY, Imbalance("step", 20), given={"noise": {"clean_counts": step}})
    notes = comparison(arranged(tmp_path), View(metrics=("head", "tail"))).notes
    assert "Head (exp 20): anger, disgust, fear. Tail: sadness, surprise, neutral." in notes
    assert "Head (step 20): anger, disgust, fear, happiness. Tail: sadness, surprise, neutral." in notes


@pytest.mark.parametrize(
    ("field", "value", "answer"),
    [
        ("selections", ("best_tst",), "did you mean 'best_test'"),
        ("metrics", ("overal",), "did you mean 'overall'"),
        ("metrics", (), "no metric is named"),
        ("selections", (), "no selection is named"),
        ("test", "sign-flp", "did you mean 'sign-flip'"),
        ("interval", "bootstrp", "did you mean 'bootstrap'"),
        ("unit", "draws", "did you mean 'draw'"),
        ("spread", "intervall", "did you mean 'interval'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(field: str, value: Any, answer: str) -> None:
    with pytest.raises(SpecError, match=answer):
        View(**{field: value})
    assert "tail" in SHOWN


def test_labels_without_a_reference_are_those_of_injected_noise(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, given={"labels": "given"})
    finish(tmp_path, "beta", NOISY)
    table = comparison(arranged(tmp_path), View(metrics=("all",)))
    titles = [block.title for block in table.blocks]
    assert {
        "Memorised labels of injected noise (%)",
        "Detection of labels of injected noise, AUROC (%)",
        "Unchanged labels among those of each class (%)",
    } <= set(titles)
    assert "Labels of injected noise (%)" in next(b for b in table.blocks if b.title == "Training data").columns
    assert any("faces: the labels are as given" in note for note in table.notes)
    assert "wrong label" not in table.markdown().lower() and "correct" not in table.markdown().lower()


def test_nothing_is_said_of_labels_that_nobody_knows(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN, given={"labels": "given"})
    table = comparison(arranged(tmp_path), View(metrics=("all",)))
    (data,) = [block for block in table.blocks if block.title == "Training data"]
    assert data.columns == ("Training images", "Largest / smallest class")
    assert not [block for block in table.blocks if "labels among those" in block.title]
    text = table.markdown().lower()
    assert not [word for word in ("wrong labels", "wrong label ", "correct", "100.0") if word in text]
    assert "purity" not in table.csv()


def test_clean_runs_beside_noisy_ones_have_an_empty_cell(tmp_path: Path) -> None:
    for noise in (CLEAN, NOISY):
        finish(tmp_path, "alpha", noise, given={"labels": "given"})
    table = comparison(arranged(tmp_path))
    (data,) = [block for block in table.blocks if block.title == "Training data"]
    shares = {name: cells[1].text for name, cells in data.rows}
    assert data.columns[1] == "Labels of injected noise (%)" and shares == {"clean": "–", "symmetric 0.2": "20.00"}
    (purity,) = [block for block in table.blocks if block.title.startswith("Unchanged labels")]
    assert [name for name, _ in purity.rows] == ["symmetric 0.2"]


# --- footnotes -------------------------------------------------------------------------------------------------------


def test_marks_stand_in_every_block_and_are_explained(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY)
    finish(tmp_path, "beta", NOISY, given={"clean_labels_used": 70, "remarks": ["landmarks degraded", "other stage"]})
    finish(tmp_path, "gamma", NOISY, told=True, given={"ensemble": "mean of two networks", "remarks": ["other stage"]})
    finish(tmp_path, "delta", NOISY, given={"ensemble": "mean of three networks", "extra_images": "unlabelled faces"})
    table = comparison(arranged(tmp_path), View(metrics=("all",), baseline="alpha"))
    named = {"alpha", "beta‡ᵃᵇ", "gamma†¶ᵇ", "delta§¶"}
    for block in table.blocks:
        if block.corner == "Method":
            assert {name for name, _ in block.rows} == named, block.title
    assert table.legend == (
        "† is given the true noise rate.",
        "‡ is given labels that are known to be correct (70).",
        "§ is given images beyond the training set (unlabelled faces).",
        "¶ predicts with more than one network (delta: mean of three networks; gamma: mean of two networks).",
        "ᵃ landmarks degraded.",
        "ᵇ other stage.",
    )
    latex = table.latex()
    assert r"beta$^\ddagger$$^{a}$$^{b}$" in latex and r"delta$^\S$$^\P$" in latex
    assert latex.count("landmarks degraded") == latex.count(r"\begin{table}") == 1
    assert set(latex) <= set(map(chr, range(128))), "every sign has its LaTeX"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"weight": 2.0}}, "settings differ between conditions"),
        ({"code": "d" * 64}, "runs of 2 versions of the method's code"),
        ({"unlabelled": "e" * 64}, "the unlabelled images differ between conditions"),
        ({"landmarks": "e" * 64}, "the landmarks differ between conditions"),
    ],
)
def test_what_differs_between_conditions_marks_the_row(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    finish(tmp_path, "alpha", CLEAN)
    finish(tmp_path, "alpha", NOISY, **changes)
    finish(tmp_path, "beta", NOISY)
    table = comparison(arranged(tmp_path))
    assert rows_of(table, "Overall") == ["alphaᵃ", "beta"]
    assert table.legend == (f"ᵃ {said}; runs.csv lists them.",)


# --- rows and conditions ---------------------------------------------------------------------------------------------


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    finish(tmp_path, "alpha", CLEAN, recipe=Recipe(epochs=6, image_size=96))
    finish(tmp_path, "alpha", CLEAN, config={"weight": 2.0})
    table = comparison(arranged(tmp_path))
    assert table.blocks[0].columns == ("clean, 48 px", "clean, 96 px")
    assert rows_of(table, "Overall") == ["alpha (weight=1.0)", "alpha (weight=2.0)"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"code": "d" * 64}, ["alpha (code cccccccc)", "alpha (code dddddddd)"]),
        ({"unlabelled": "e" * 64}, ["alpha (unlabelled eeeeeeee)", "alpha (unlabelled none)"]),
        ({"config": {"weight": "1.0"}}, ["alpha (weight=1.0)", 'alpha (weight="1.0")']),
        ({"config": {"weight": 1.0 + 1e-12}}, ["alpha (weight=1.0)", "alpha (weight=1.000000000001)"]),
    ],
)
def test_variants_in_one_condition_are_rows_whatever_their_seeds(
    tmp_path: Path, changes: dict[str, Any], names: list[str]
) -> None:
    finish(tmp_path, "alpha", CLEAN, seed=0)
    finish(tmp_path, "alpha", CLEAN, seed=1, **changes)
    assert rows_of(comparison(arranged(tmp_path)), "Overall") == names


def test_rates_and_settings_that_differ_after_six_digits_are_written_out(tmp_path: Path) -> None:
    for rate in (0.3246001, 0.3246002, 0.4):
        finish(tmp_path, "alpha", Noise("symmetric", rate))
    assert arranged(tmp_path).conditions == ("symmetric 0.3246001", "symmetric 0.3246002", "symmetric 0.4")
    for lr in (0.001, 0.0010000001):
        finish(tmp_path / "lr", "alpha", CLEAN, recipe=Recipe(epochs=6, lr=lr))
    assert arranged(tmp_path / "lr").conditions == ("clean, lr 0.001", "clean, lr 0.0010000001")


def test_devices_that_differ_are_named(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN, environment={"device": "Processor A"})
    assert comparison(arranged(tmp_path)).notes[-1].endswith("Trained on Processor A.")
    finish(tmp_path, "alpha", NOISY, environment={"device": "Processor B"})
    table = comparison(arranged(tmp_path))
    assert table.notes[-1].endswith(
        "Trained on Processor A and Processor B. The runs are of different devices, which can move a short training "
        "by points. Times of different devices cannot be compared."
    )
    assert table.legend == (), "each cell is of one device"
    finish(tmp_path, "alpha", CLEAN, seed=1, environment={"device": "Processor B"})
    assert comparison(arranged(tmp_path)).legend == (
        "ᵃ runs of one cell are of different devices; runs.csv lists them.",
    )


def test_versions_of_torch_and_cpu_capabilities_that_differ_are_named(tmp_path: Path) -> None:
    for seed, (version, capability) in enumerate((("2.5.1", "AVX2"), ("2.6.0", "AVX512"))):
        environment = {"device": "X", "packages": {"torch": version}, "cpu_capability": capability}
        finish(tmp_path, "alpha", CLEAN, seed=seed, environment=environment)
    table = comparison(arranged(tmp_path))
    assert table.notes[-1].endswith(
        "Trained on X. The runs are of different versions of PyTorch (2.5.1, 2.6.0) and CPU capabilities (AVX2, "
        "AVX512), which can move a short training by points."
    )
    assert table.legend == ("ᵃ runs of one cell are of different versions of PyTorch; runs.csv lists them.",)


def test_rate_zero_is_clean_and_counted_once(tmp_path: Path) -> None:
    for noise in (CLEAN, Noise("symmetric", 0.0), Noise("pair", 0.0)):
        finish(tmp_path, "alpha", noise)
    assert not any(block.title.startswith("Correct") for block in comparison(arranged(tmp_path)).blocks), "all are"
    finish(tmp_path, "alpha", NOISY)
    table = comparison(arranged(tmp_path))
    assert table.blocks[0].columns == ("clean", "symmetric 0.2")
    assert "one run per cell" in table.caption
    assert any("2 runs with noise rate 0 repeated a clean run" in note for note in table.notes)


def test_settings_chosen_by_condition_stay_in_one_row(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    finish(tmp_path, "alpha", NOISY, config={"weight": 2.0})
    assert rows_of(comparison(arranged(tmp_path)), "Overall") == ["alphaᵃ"]


def test_refuses_nothing_and_mixed_protocols(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished runs"):
        arrange([])
    some_runs(tmp_path, seeds=1)
    first, *others = records(tmp_path)
    with pytest.raises(ValueError, match="protocol"):
        arrange([with_parts(first, spec={**first.spec, "protocol": 2}), *others])


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_pairs_enough_bold_is_what_is_not_significantly_worse(tmp_path: Path) -> None:
    for seed in range(9):
        for method, skill in (("near", 0.9), ("best", 0.9), ("far", 0.7)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    table = comparison(arranged(tmp_path), View(metrics=("overall",), baseline="far"))
    overall = cells(table, "Overall accuracy (%), last epoch")
    assert {name for (name, _), cell in overall.items() if cell.bold} == {"near", "best"}
    assert {name for (name, _), cell in overall.items() if cell.text.endswith("*")} == {"near", "best"}
    together = next(b for b in table.blocks if "all conditions together (9 blocks; Friedman's test: p " in b.title)
    assert together.columns == ("Mean", "Mean rank", "Difference from far [95 %]", "p (Holm)", "P(better)")
    rows = {name: [cell.text for cell in line] for name, line in together.rows}
    assert rows["far"][2:] == ["–"] * 3 and rows["best"][3:] == ["0.008*", "1.00"], "twice 2 / 2^9"
    assert table.caption.endswith("not significantly worse. * marks a significant difference from far.")
    for text in ("Blocks are not independent", "sign-flip permutation test", "or other draws of the training data"):
        assert text in words(table)
    lines = [line for line in csv.DictReader(io.StringIO(table.csv())) if line["baseline"] == "far"]
    assert {line["row"] for line in lines} == {"near", "best"}
    assert float(lines[0]["p"]) == 2 / 2**9 and float(lines[0]["p_holm"]) == 4 / 2**9


def test_too_few_pairs_have_no_star_and_the_reason(tmp_path: Path) -> None:
    for seed in range(5):
        for method, skill in (("good", 0.9), ("bad", 0.5)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    runs = arranged(tmp_path)
    table = comparison(runs, View(baseline="bad"))
    assert "*" not in "".join(cell.text for block in table.blocks for _, line in block.rows for cell in line)
    for each in (table, comparison(runs)):
        assert any("No test was made with 5 pairs, because 6 are needed" in note for note in each.notes)
    assert "no significance is claimed" in table.caption
    with pytest.raises(SpecError, match="unknown baseline 'bda'; did you mean 'bad'"):
        comparison(runs, View(baseline="bda"))


def test_a_test_that_cannot_succeed_is_no_test(tmp_path: Path) -> None:
    for seed in range(6):
        for method, skill in (("a", 0.9), ("b", 0.5), ("c", 0.4)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    table = comparison(arranged(tmp_path), View(metrics=("overall",)))
    bold = [name for (name, _), cell in cells(table, "Overall accuracy (%), last epoch").items() if cell.bold]
    assert bold == ["a"] and "no significance is claimed" in table.caption
    said = "With 6 pairs and 2 comparisons no corrected p-value can fall below 0.062"
    assert any(said in note and "7 pairs would be needed" in note for note in table.notes)


def test_seeds_of_a_draw_can_be_averaged_first(tmp_path: Path) -> None:
    for draw in range(6):
        for seed in range(2):
            for method, skill in (("a", 0.9), ("b", 0.7)):
                finish(tmp_path, method, CLEAN, seed=seed, data_seed=draw, skill=skill)
    runs = arranged(tmp_path)
    table = comparison(runs, View(metrics=("overall",), unit="draw", spread="interval"))
    assert any("all conditions together (6 blocks" in block.title for block in table.blocks)
    values = 100 * runs.raw[runs.raw.method == "a"].test_overall
    about = statistics.mean(values)
    half = 2.200985160 * statistics.stdev(values) / 12**0.5  # t(0.975, 11)
    assert cells(table, "Overall")["a", "clean"].text == f"{about:.2f} [{about - half:.2f}, {about + half:.2f}]"
    assert "95 % interval of the mean over runs (Student's t)" in words(table)
    assert "or other draws" not in words(table) and "averaged over training seeds" in words(table)


@pytest.mark.parametrize(
    ("draws", "seeds", "said"),
    [
        ((4,), (0, 1), "share one draw of the training data (data seed 4)."),
        ((0, 1), (3,), "held-out images; data seeds 0, 1) and share the training seed 3."),
        ((0, 1), (0, 1), "augmentation) and in the draw of the training data"),
    ],
    ids=["seeds", "draws", "both"],
)
def test_a_table_says_what_the_runs_of_a_cell_differ_in(
    draws: tuple[int, ...], seeds: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    for draw in draws:
        for seed in seeds:
            finish(tmp_path, "a", CLEAN, seed=seed, data_seed=draw)
    assert said in words(comparison(arranged(tmp_path)))


def test_critical_differences_need_three_methods_and_six_blocks(tmp_path: Path) -> None:
    for seed in range(6):
        for method, skill in (("a", 0.9), ("b", 0.7), ("c$", 0.3)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill, told=method == "a")
    runs = arranged(tmp_path)

    def drawn(part: pd.DataFrame) -> list[Any]:
        mine = Runs(part, part, tuple(sorted(set(part["row"]))), runs.conditions)
        metrics = (BY_NAME["overall"], BY_NAME["mean"])
        return [sketch.draw() for sketch in critical_differences(mine, groups(mine), metrics)]

    figures = drawn(runs.frame)
    assert len(figures) == 2
    texts = [text.get_text() for text in figures[0].axes[0].texts]
    assert {text.strip() for text in texts} == {"a†  1.00", "b  2.00", "3.00  c\\$"}
    below = " ".join(text.get_text() for text in figures[0].texts).replace("\n", " ")
    assert "Friedman's test over 6 blocks: p = 0.002" in below and "† is given" in below
    bars = [line for line in figures[0].axes[0].lines if line.get_linewidth() == 2.4]
    assert len(bars) == 2, "a and b do not differ, nor do b and c, but a and c do"
    assert not drawn(runs.frame[runs.frame["seed"] < 5]) and not drawn(runs.frame[runs.frame["row"] != "b"])


# --- files -----------------------------------------------------------------------------------------------------------


def test_notes_name_version_commit_and_budget(tmp_path: Path) -> None:
    environment = {"commit": "0123456789ab+", "packages": {"fer-bench": "9.8.7"}}
    finish(tmp_path, "alpha", NOISY, environment=environment)
    said = words(comparison(arranged(tmp_path)))
    for text in ("fer-bench 9.8.7, protocol version 1, commit 0123456789ab+ (+: with uncommitted changes)",
                 "from random initial weights", "6 epochs, batch size 64, adam, learning rate 0.001, exponential "
                 "schedule"):  # fmt: skip
        assert text in said


def test_write(tmp_path: Path) -> None:
    runs = some_runs(tmp_path)
    paths = write_table(comparison(runs), runs.raw, tmp_path / "report")
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.tex", "table.html", "runs.csv"]
    assert all(path.stat().st_size > 200 for path in paths)
    again = pd.read_csv(paths[-1])
    assert len(again) == len(runs.raw) and list(again) == list(runs.raw)
    for name in ("code", "fingerprint", "unlabelled", "landmarks", "device", "torch", "cpu_capability"):
        assert name in again, "footnotes and notes send the reader here"


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    formulas = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1"]
    frame = pd.DataFrame({"=evil": [*formulas, "a=b", -1.5, None], "number": [-0.1] * 8})
    again = pd.read_csv(io.StringIO(csv_text(frame)))
    assert list(again["'=evil"])[:-1] == [*(f"'{text}" for text in formulas), "a=b", "-1.5"]
    assert list(again["number"]) == [-0.1] * 8, "numbers stay numbers"
    finish(tmp_path, "alpha", CLEAN, environment={"device": "=1+1"})
    written = write_table(comparison(arranged(tmp_path)), arranged(tmp_path).raw, tmp_path / "report")
    assert list(pd.read_csv(written[-1])["device"]) == ["'=1+1"]
