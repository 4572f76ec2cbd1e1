"""Tables from finished runs: the numbers, what is escaped, and that nothing is cut or hidden."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import shutil
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fer_bench.cli.views.table import TableView
from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.report import tables
from fer_bench.report.arrange import arrange
from fer_bench.report.measures import SHOWN, View
from fer_bench.report.plots.critical_difference import critical_differences
from fer_bench.report.plots.style import Runs
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
RECIPE = Recipe(epochs=6)


def finish(
    out: Path,
    method: str,
    noise: Noise,
    imbalance: Imbalance = Imbalance(),  # noqa: B008
    *,
    seed: int = 0,
    skill: float = 0.9,
    told: bool = False,
    recipe: Recipe = RECIPE,
    size: int = len(CLASSES),
    given: dict[str, Any] | None = None,
    **changes: Any,
) -> RunFolder:
    """A finished run with invented numbers: a learner of this skill that memorises what it is given."""
    spec = RunSpec("faces", "f" * 64, method, "c" * 64, {"weight": 1.0}, noise, imbalance, seed=seed, recipe=recipe)
    spec = replace(spec, **changes)
    rate = 0.28 if noise.kind == "human" else noise.rate
    rng = np.random.default_rng([seed, int(1000 * rate), int(imbalance.factor), *method.encode()])
    wrong = round(1000 * rate)
    hard = np.linspace(0, 0.04 * np.log2(1 + imbalance.factor), size)
    records = []
    for epoch in range(1, recipe.epochs + 1):
        learnt = 1 - np.exp(-1.2 * epoch)
        memorised = float(np.clip((1 - skill) * 3 * epoch / recipe.epochs + rng.normal(0, 0.02), 0, 1))
        level = skill * learnt - 0.6 * rate * memorised
        recall = np.clip(level - hard + rng.normal(0, 0.015, size), 0.02, 0.99)
        confusion = np.round(np.outer((1 - recall) / (size - 1), np.ones(size)) * 200).astype(int)
        np.fill_diagonal(confusion, np.round(recall * 200).astype(int))
        right = (confusion.diagonal() / confusion.sum(1)).tolist()
        test = {
            "overall": float(confusion.trace() / confusion.sum()),
            "mean": float(np.mean(right)),
            "macro_f1": float(np.mean(right)),
            "worst": min(right),
            "nll": float(1 - level),
            "ece": 0.05,
            "recall": right,
            "confusion": confusion.tolist(),
        }
        fit = {"fit_noisy": 0.8, "fit_clean": 0.8, "memorised": memorised if wrong else None}
        records.append({"epoch": epoch, "test": test, "val": None, "train_fit": fit, "selection": None})
    folder = RunFolder.of(out, spec)
    folder.start(spec, {})
    folder.save_epochs(records)
    folder.finish(
        {
            "test": records[-1]["test"],
            "detection": {"auroc": 0.9 if wrong else None, "ap": 0.8 if wrong else None},
            "memorisation": records[-1]["train_fit"],
            "noise": {
                "realised_rate": rate,
                "purity": [1 - rate] * (size - 1) + [None],
                "clean_counts": [round(900 / imbalance.factor ** (c / (size - 1))) for c in range(size)],
            },
            "realised_rate": rate,
            "noisy_imbalance": imbalance.factor,
            "uses_noise_rate": told,
            "train_images": round(4000 / imbalance.factor**0.5),
            "parameters": 1_234_567,
            "images_forward": 24_000,
            "images_backward": 12_000,
            "skipped_steps": 0,
            "seconds": 61.0,
            **(given or {}),
        },
        {"test_logits": np.zeros((1, size))},
    )
    return folder


CLEAN, NOISY, HUMAN = Noise("none"), Noise("symmetric", 0.2), Noise("human")


def some_runs(out: Path, methods: tuple[str, ...] = ("alpha", "beta"), seeds: int = 3) -> pd.DataFrame:
    for method in methods:
        for noise in (CLEAN, NOISY, HUMAN):
            for seed in range(seeds):
                finish(out, method, noise, seed=seed, skill=0.9 - 0.05 * methods.index(method), told=method == "beta")
    return load_runs(out)


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


def terminal(table: tables.Table, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(TableView(table))
    return console.file.getvalue()  # type: ignore[attr-defined]


def cells(table: tables.Table, block: str) -> dict[tuple[str, str], tables.Cell]:
    found = next(b for b in table.blocks if b.title.startswith(block))
    return {(name, c): cell for name, row in found.rows for c, cell in zip(found.columns, row, strict=True)}


def test_cells_are_mean_and_sample_standard_deviation(tmp_path: Path) -> None:
    runs = some_runs(tmp_path)
    table = tables.comparison(runs)
    mine = runs[(runs.method == "alpha") & (runs.noise_kind == "symmetric")]
    for block, column in (("Overall", "test_overall"), ("Mean", "test_mean"), ("Wrong training", "memorised")):
        values = [100 * v for v in mine[column]]
        expected = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert cells(table, block)["alpha", "symmetric 0.2"].text == expected
    gap = [100 * (best - last) for best, last in zip(mine.best_test_overall, mine.test_overall, strict=True)]
    expected = f"{statistics.mean(gap):.2f} ± {statistics.stdev(gap):.2f}"
    assert cells(table, "Gap")["alpha", "symmetric 0.2"].text == expected
    assert "n = 3 runs per cell" in table.caption
    line = next(
        row
        for row in csv.DictReader(io.StringIO(table.csv()))
        if (row["metric"], row["method"], row["condition"]) == ("test_overall", "alpha", "symmetric 0.2")
    )
    assert float(line["mean"]) == pytest.approx(100 * mine.test_overall.mean(), abs=1e-12)
    assert (line["n"], line["unit"]) == ("3", "%")
    assert float(line["sd"]) == pytest.approx(100 * mine.test_overall.std(ddof=1), abs=1e-12)


def test_columns_rows_and_marks(tmp_path: Path) -> None:
    titles = {"alpha": "Alpha", "beta": "Beta"}
    table = tables.comparison(some_runs(tmp_path), titles, order=["beta"], classes={"faces": CLASSES})
    overall = table.blocks[0]
    assert overall.columns == ("clean", "human", "symmetric 0.2")
    assert [name for name, _ in overall.rows] == ["Beta†", "Alpha"]
    assert "† was told" in table.caption
    memorised = next(b for b in table.blocks if b.title.startswith("Wrong"))
    assert memorised.columns == ("human", "symmetric 0.2"), "clean labels have nothing to memorise"
    assert sum(cell.bold for cell in cells(table, "Overall").values()) == 3
    assert not any(cell.bold for cell in cells(table, "Wrong").values())
    assert "no test is made and only the best mean is bold" in table.caption
    assert cells(table, "Cost")["Alpha", "Parameters"].text == "1.23 M"
    assert cells(table, "Training data")["human", "Wrong labels, %"].text == "28.00"
    purity = cells(table, "Labels that are right")
    assert purity["symmetric 0.2", "anger"].text == "80.0"
    assert purity["symmetric 0.2", "neutral"].text == "–"


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    table = tables.comparison(some_runs(tmp_path, seeds=1))
    for text in (table.markdown(), table.latex(), table.html(), terminal(table)):
        assert "±" not in text and r"\pm" not in text
    assert "n = 1 run per cell" in table.caption and "deviation" not in table.caption


def test_missing_and_uneven_cells_say_so(tmp_path: Path) -> None:
    some_runs(tmp_path, ("alpha",))
    finish(tmp_path, "beta", NOISY)
    table = tables.comparison(load_runs(tmp_path), notes=["beta was skipped: it needs landmarks"])
    overall = cells(table, "Overall")
    assert overall["beta", "clean"].text == "–"
    assert overall["beta", "symmetric 0.2"].text.endswith("(n=1)")
    assert not overall["alpha", "clean"].bold, "the only value of a column is not its best"
    assert table.notes[0] == "beta was skipped: it needs landmarks"
    for text in (table.markdown(), table.html(), table.latex(), terminal(table)):
        assert "beta was skipped: it needs landmarks" in " ".join(text.split())


def test_nothing_is_cut_or_interpreted(tmp_path: Path) -> None:
    name = r"A <script>alert(1)</script> & 50% of_$x$ \cmd {#1} ~^ | *bold* [red]long[/red] " + "very " * 12 + "long"
    table = tables.comparison(some_runs(tmp_path), {"alpha": name}, notes=["<b>note</b> 100% | x"])
    page = _Page(table.html())
    assert "script" not in page.seen and "b" not in page.seen
    assert name in page.text
    assert "<script>" not in table.markdown() and "very long" in table.markdown()
    latex = table.latex()
    assert r"\& 50\% of\_\$x\$ \textbackslash{}cmd \{\#1\} \textasciitilde{}\textasciicircum{}" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == latex.count(r"\bottomrule")
    assert r"\toprule" in latex and "†" not in latex
    for width in (60, 110):
        shown = terminal(table, width)
        assert max(map(len, shown.splitlines())) <= width
        assert "…" not in shown
        first = next(b for b in table.blocks if b.title.startswith("Overall"))
        names = re.findall(r"A <script>.*?\bbeta", shown, re.S)
        words = set(re.sub(r"[\d.± ]+(?=\n)", " ", names[0]).split())
        assert {word for word in name.split() if len(word) < 20} <= words, first
        for cell in cells(table, "Overall").values():
            assert cell.text in shown
    for line in (lines := table.markdown().splitlines()):
        if line.startswith("|"):
            assert line.endswith("|")
    assert any("symmetric 0.2" in line for line in lines)


def test_selections_are_queries_and_the_oracle_says_so(tmp_path: Path) -> None:
    runs = some_runs(tmp_path, seeds=2)
    table = tables.comparison(runs, view=View(selections=("last", "best_test", "mean_last_5", "best_val")))
    titles = [block.title for block in table.blocks]
    assert titles[:3] == [
        "Overall accuracy, last epoch, %",
        "Overall accuracy, best epoch on the test set (oracle), %",
        "Overall accuracy, mean of the last 5 epochs, %",
    ]
    mine = runs[(runs.method == "beta") & (runs.noise_kind == "symmetric")]
    for title, column in (
        ("Overall accuracy, last", "test_overall"),
        ("Overall accuracy, best", "best_test_overall"),
        ("Mean accuracy (over classes), mean of", "mean_last_5_mean"),
    ):
        values = [100 * value for value in mine[column]]
        expected = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert cells(table, title)["beta†", "symmetric 0.2"].text == expected
    assert "This is an oracle" in table.caption
    assert any("best epoch on the validation set" in note and "no finished run" in note for note in table.notes)
    plain = tables.comparison(runs)
    assert "oracle" not in plain.blocks[0].title and plain.blocks[2].title.endswith("points of overall accuracy")
    assert all("oracle" in b.title for b in table.blocks if "best epoch on the test" in b.title)


def test_any_metric_can_be_asked_for(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, Imbalance("exp", 20))
    finish(tmp_path, "beta", NOISY, Imbalance("exp", 20), given={"peak_memory_bytes": 3_210_000_000})
    runs = load_runs(tmp_path)
    table = tables.comparison(runs, view=View(metrics=("all",)))
    shown = [block.title for block in table.blocks]
    assert len([t for t in shown if t.endswith(", %") and "last epoch" in t and "together" not in t]) == 7
    assert cells(table, "Accuracy on tail")["alpha", "symmetric 0.2, exp 20"].text == f"{100 * runs.test_tail[0]:.2f}"
    folder = RunFolder(Path(runs.path[0]))
    recall = folder.epochs()[-1]["test"]["recall"]
    assert runs.test_tail[0] == pytest.approx(np.mean(recall[4:]))
    assert runs.test_head[0] == pytest.approx(np.mean(recall[:3]))
    assert cells(table, "Detection of wrong labels, area")["beta", "symmetric 0.2, exp 20"].text == "90.00"
    assert cells(table, "Cost")["beta", "Peak memory"].text == "3.21 GB"
    assert cells(table, "Cost")["alpha", "Peak memory"].text == "–"
    for text in ("Head and tail: mean recall of the classes above and below the median", "Detection: "):
        assert text in table.caption
    metrics = {line["metric"] for line in csv.DictReader(io.StringIO(tables.comparison(runs).csv()))}
    assert {"test_macro_f1", "best_test_tail", "detection_ap", "peak_memory_bytes"} <= metrics, "the csv has all"


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


def test_marks_stand_in_every_block_and_are_explained(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY)
    finish(tmp_path, "beta", NOISY, given={"clean_labels_used": 70, "remarks": ["landmarks degraded", "other stage"]})
    finish(tmp_path, "gamma", NOISY, told=True, given={"ensemble": "mean of two networks", "remarks": ["other stage"]})
    finish(tmp_path, "delta", NOISY, given={"ensemble": "mean of three networks", "extra_images": "unlabelled faces"})
    runs = load_runs(tmp_path)
    table = tables.comparison(runs, view=View(metrics=("all",), baseline="alpha"))
    named = {"alpha", "beta‡ᵃᵇ", "gamma†¶ᵇ", "delta§¶"}
    for block in table.blocks:
        if block.corner == "Method":
            assert {name for name, _ in block.rows} == named, block.title
    for text in (
        "† was told the true noise rate",
        "‡ was given labels known to be right (70)",
        "§ was given images beyond the training set (unlabelled faces)",
        "¶ predicts with more than one network (delta: mean of three networks; gamma: mean of two networks)",
        "ᵃ landmarks degraded. ᵇ other stage.",
    ):
        assert text in table.caption
    latex = table.latex()
    assert r"beta$^\ddagger$$^{a}$$^{b}$" in latex and r"delta$^\S$$^\P$" in latex
    assert latex.count("landmarks degraded") == latex.count(r"\begin{table}"), "each float explains its signs"
    assert set(latex) <= set(map(chr, range(128))), "every sign has its LaTeX"


def test_with_pairs_enough_bold_is_what_the_test_does_not_tell_apart(tmp_path: Path) -> None:
    for seed in range(9):
        for method, skill in (("near", 0.9), ("best", 0.9), ("far", 0.7)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    table = tables.comparison(load_runs(tmp_path), view=View(metrics=("overall",), baseline="far"))
    overall = cells(table, "Overall accuracy, last epoch, %")
    assert {name for (name, _), cell in overall.items() if cell.bold} == {"near", "best"}
    assert {name for (name, _), cell in overall.items() if cell.text.endswith("*")} == {"near", "best"}
    together = next(b for b in table.blocks if "all 9 blocks together (Friedman's test: p " in b.title)
    assert together.columns == ("Mean", "Mean rank", "Difference to far [95 %]", "p (Holm)", "P(better)")
    rows = {name: [cell.text for cell in line] for name, line in together.rows}
    assert rows["far"][2:] == ["–"] * 3 and rows["best"][3:] == ["0.008*", "1.00"], "twice 2 / 2^9"
    for text in ("* differs from far by the same test, p < 0.05", "seeds on one draw are not independent data",
                 "1 condition x 1 draw of the training data x 9 training seeds", "or other draws"):  # fmt: skip
        assert text in table.caption
    lines = [line for line in csv.DictReader(io.StringIO(table.csv())) if line["baseline"] == "far"]
    assert {line["row"] for line in lines} == {"near", "best"}
    assert float(lines[0]["p"]) == 2 / 2**9 and float(lines[0]["p_holm"]) == 4 / 2**9


def test_too_few_pairs_have_no_star_and_the_reason(tmp_path: Path) -> None:
    for seed in range(5):
        for method, skill in (("good", 0.9), ("bad", 0.5)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    runs = load_runs(tmp_path)
    table = tables.comparison(runs, view=View(baseline="bad"))
    assert "*" not in "".join(cell.text for block in table.blocks for _, line in block.rows for cell in line)
    assert any("5 pairs and 6 are needed" in note for note in table.notes)
    assert "no significance is claimed" in table.caption
    assert any("5 pairs and 6 are needed" in note for note in tables.comparison(runs).notes)
    with pytest.raises(SpecError, match="unknown baseline 'bda'; did you mean 'bad'"):
        tables.comparison(runs, view=View(baseline="bda"))


def test_a_test_that_cannot_succeed_says_so(tmp_path: Path) -> None:
    for seed in range(6):
        for method, skill in (("a", 0.9), ("b", 0.5), ("c", 0.4)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill)
    table = tables.comparison(load_runs(tmp_path), view=View(metrics=("overall",)))
    assert all(cell.bold for cell in cells(table, "Overall accuracy, last epoch, %").values())
    assert any("With 6 pairs and 2 comparisons no p-value can fall below 0.062" in note for note in table.notes)
    assert any("7 pairs would be needed" in note for note in table.notes)


def test_seeds_of_a_draw_can_be_averaged_first(tmp_path: Path) -> None:
    for draw in range(6):
        for seed in range(2):
            for method, skill in (("a", 0.9), ("b", 0.7)):
                finish(tmp_path, method, CLEAN, seed=seed, data_seed=draw, skill=skill)
    runs = load_runs(tmp_path)
    table = tables.comparison(runs, view=View(metrics=("overall",), unit="draw", spread="interval"))
    assert any("all 6 blocks, means over seeds, together" in block.title for block in table.blocks)
    values = 100 * runs[runs.method == "a"].test_overall
    about = statistics.mean(values)
    half = 2.200985160 * statistics.stdev(values) / 12**0.5  # t(0.975, 11)
    assert cells(table, "Overall")["a", "clean"].text == f"{about:.2f} [{about - half:.2f}, {about + half:.2f}]"
    assert "95 % interval over runs (Student's t)" in table.caption
    assert "or other draws" not in table.caption


def test_the_caption_names_version_commit_and_budget(tmp_path: Path) -> None:
    folder = finish(tmp_path, "alpha", NOISY)
    (folder.path / "env.json").write_text('{"commit": "0123456789ab+", "packages": {"fer-bench": "9.8.7"}}')
    caption = tables.comparison(load_runs(tmp_path)).caption
    for text in ("fer-bench 9.8.7, protocol version 1, commit 0123456789ab+ (+: with changes", "random initial weights",
                 "6 epochs, batches of 64, adam with learning rate 0.001, exponential schedule"):  # fmt: skip
        assert text in caption


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")
def test_latex_compiles(tmp_path: Path) -> None:
    name = r"A & 50% of_$x$ \cmd {#1} ~^ | [b] <c> * \textbar"
    given = {"clean_labels_used": 7, "remarks": ["50% of_x"], "ensemble": "a & b", "extra_images": "#1"}
    for seed in range(6):
        for noise in (CLEAN, NOISY):
            finish(tmp_path, "alpha", noise, seed=seed, told=True, given=given)
            finish(tmp_path, "beta", noise, Imbalance("exp", 9), seed=seed, skill=0.6)
    noted = "not done: 50% of_runs {failed} † & ᵃ"
    table = tables.comparison(
        load_runs(tmp_path), {"alpha": name}, notes=[noted], view=View(metrics=("all",), baseline="beta")
    )
    assert r"\item not done: 50\% of\_runs \{failed\} $^\dagger$ \& $^{a}$" in table.latex()
    compiled(table, tmp_path)
    assert (tmp_path / "t.pdf").stat().st_size > 10_000


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")
def test_latex_ends_before_the_edge_of_the_page(tmp_path: Path) -> None:
    columns = ("Measured", *(f"Published, data set {place}" for place in range(8)), *"ABCDEFG")
    line = tuple(tables.Cell("88.75 ± 0.11 [abce]" if len(column) > 1 else "1", bold=True) for column in columns)
    block = tables.Block("b", "Condition, method", columns, (("symmetric 0.1, CE baseline", line),))
    table = tables.Table("t", (block,), "", (), None)
    said = compiled(table, tmp_path)
    margin = 597 - 134 - 345  # A4 less what is left of the text, less the text, in points
    assert all(float(beyond) < margin for beyond in re.findall(r"Overfull .hbox \(([\d.]+)pt", said)), said
    latex = table.latex()
    assert all(f"& {column} " in latex for column in columns), "no column is lost"
    assert latex.count("tabular") / 2 < 6, "short columns share a table"


def compiled(table: tables.Table, folder: Path) -> str:
    """What pdflatex says of a document with this table; it must accept it."""
    (folder / "t.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}"
        + table.latex()
        + r"\end{document}"
    )
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, errors="replace", timeout=100)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_critical_differences_need_three_methods_and_six_blocks(tmp_path: Path) -> None:
    for seed in range(6):
        for method, skill in (("a", 0.9), ("b", 0.7), ("c$", 0.3)):
            finish(tmp_path, method, CLEAN, seed=seed, skill=skill, told=method == "a")
    frame = arrange(load_runs(tmp_path))

    def drawn(part: pd.DataFrame) -> list[Any]:
        return [figure for _, figure in critical_differences(Runs(part, sorted(set(part["row"])), {}))]

    figures = drawn(frame)
    assert len(figures) == 2
    texts = [text.get_text() for text in figures[0].axes[0].texts]
    assert {text.strip() for text in texts} == {"a†  1.00", "b  2.00", "3.00  c\\$"}
    words = " ".join(figures[0].get_supxlabel().split())
    assert "Friedman's test over 6 blocks: p = 0.002" in words and "† was told" in words
    bars = [line for line in figures[0].axes[0].lines if line.get_linewidth() == 3]
    assert len(bars) == 2, "a-b and b-c are not told apart, a-c are"
    assert not drawn(frame[frame["seed"] < 5]) and not drawn(frame[frame["row"] != "b"])


def test_wide_tables_continue_below(tmp_path: Path) -> None:
    for rate in range(1, 10):
        finish(tmp_path, "alpha", Noise("symmetric", rate / 10), Imbalance("exp", 50))
    table = tables.comparison(load_runs(tmp_path))
    shown = terminal(table, 80)
    assert "(continued)" in shown
    assert all(cell.text in shown for cell in cells(table, "Overall").values())
    assert table.blocks[0].columns[0] == "symmetric 0.1, exp 50"


def test_names_and_headers_stay_whole_where_a_block_just_fits() -> None:
    columns = ("Parameters", "Images forward", "Images backward", "Seconds", "Skipped steps", "Told the noise rate")
    line = tuple(map(tables.Cell, ("294 k", "42 k", "42 k", "45.8 to 59.1", "0", "no")))
    table = tables.Table("t", (tables.Block("b", "Method", columns, (("balanced_softmax", line),)),), "", (), None)
    for width in range(40, 120):
        shown = terminal(table, width)
        assert max(map(len, shown.splitlines())) <= width
        words = shown.split()
        assert {"balanced_softmax", "backward", "59.1", "Skipped", "noise", "rate"} <= set(words), width


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    finish(tmp_path, "alpha", CLEAN, recipe=Recipe(epochs=6, image_size=96))
    finish(tmp_path, "alpha", CLEAN, config={"weight": 2.0})
    table = tables.comparison(load_runs(tmp_path))
    assert table.blocks[0].columns == ("clean, 48 px", "clean, 96 px")
    assert [name for name, _ in table.blocks[0].rows] == ["alpha (weight=1.0)", "alpha (weight=2.0)"]


def test_rate_zero_is_clean_and_counted_once(tmp_path: Path) -> None:
    for noise in (CLEAN, Noise("symmetric", 0.0), Noise("pair", 0.0), NOISY):
        finish(tmp_path, "alpha", noise)
    table = tables.comparison(load_runs(tmp_path))
    assert table.blocks[0].columns == ("clean", "symmetric 0.2")
    assert "n = 1 run per cell" in table.caption


def test_settings_chosen_by_condition_stay_in_one_row(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    finish(tmp_path, "alpha", NOISY, config={"weight": 2.0})
    table = tables.comparison(load_runs(tmp_path))
    assert [name for name, _ in table.blocks[0].rows] == ["alpha"]
    assert any("settings differ" in note for note in table.notes)


def test_refuses_nothing_and_mixed_protocols(tmp_path: Path) -> None:
    runs = some_runs(tmp_path)
    with pytest.raises(ValueError, match="no finished runs"):
        tables.comparison(runs[:0])
    runs.loc[0, "protocol"] = 2
    with pytest.raises(ValueError, match="protocol"):
        tables.comparison(runs)


def test_write(tmp_path: Path) -> None:
    runs = some_runs(tmp_path)
    paths = tables.write(runs, tmp_path / "report")
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.tex", "table.html", "runs.csv"]
    assert all(path.stat().st_size > 200 for path in paths)
    again = pd.read_csv(paths[-1])
    assert len(again) == len(runs) and list(again) == list(runs)
