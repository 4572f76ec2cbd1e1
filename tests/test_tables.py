"""Tables from finished runs: the numbers, what is escaped, and that nothing is cut or hidden."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fer_bench.report import tables
from fer_bench.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.store import RunFolder, load_runs

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
        fit = {"fit_given": 0.8, "fit_true": 0.8, "memorised": memorised if wrong else None}
        records.append({"epoch": epoch, "test": test, "val": None, "train_fit": fit, "selection": None})
    folder = RunFolder.of(out, spec)
    folder.start(spec, {})
    folder.save_epochs(records)
    folder.finish(
        {
            "test": records[-1]["test"],
            "detection": {"auroc": 0.9 if wrong else None, "ap": 0.8 if wrong else None},
            "memorisation": records[-1]["train_fit"],
            "noise": {"realised_rate": rate, "purity": [1 - rate] * (size - 1) + [None]},
            "realised_rate": rate,
            "observed_imbalance": imbalance.factor,
            "told_noise_rate": told,
            "train_images": round(4000 / imbalance.factor**0.5),
            "parameters": 1_234_567,
            "images_forward": 24_000,
            "images_backward": 12_000,
            "skipped_steps": 0,
            "seconds": 61.0,
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
    console.print(table.rich())
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
    assert "no significance is claimed" in table.caption
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


def test_wide_tables_continue_below(tmp_path: Path) -> None:
    for rate in range(1, 10):
        finish(tmp_path, "alpha", Noise("symmetric", rate / 10), Imbalance("exp", 50))
    table = tables.comparison(load_runs(tmp_path))
    shown = terminal(table, 80)
    assert "(continued)" in shown
    assert all(cell.text in shown for cell in cells(table, "Overall").values())
    assert table.blocks[0].columns[0] == "symmetric 0.1, exp 50"


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
