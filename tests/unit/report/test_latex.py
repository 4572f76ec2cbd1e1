"""Tables as LaTeX: one float that compiles, escapes what it holds, and loses nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from fer_bench.core.spec import Imbalance
from fer_bench.report.measures import View
from fer_bench.report.rendering import Block, Cell, Table
from fer_bench.report.tables import comparison
from tests.helpers.runs import CLEAN, NOISY, arranged, finish, some_runs

NO_LATEX = pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")


def block(title: str, columns: tuple[str, ...], rows: int = 2, text: str = "88.75 ± 0.11", main: bool = True) -> Block:
    cells = tuple(Cell(text) for _ in columns)
    return Block(title, "Method", columns, tuple((f"method {row}", cells) for row in range(rows)), main)


def table(*blocks: Block, notes: tuple[str, ...] = (), legend: tuple[str, ...] = ()) -> Table:
    return Table("t", blocks, "A caption.", notes, pd.DataFrame(), legend, "My sweep_1")


def test_results_are_one_float_with_caption_label_and_notes(tmp_path: Path) -> None:
    made = comparison(some_runs(tmp_path))
    latex = made.latex()
    for part in (r"\begin{table}", r"\end{table}", r"\caption{", r"\label{tab:results}", r"\begin{minipage}"):
        assert latex.count(part) == 1, part
    assert latex.index(r"\caption") < latex.index(r"\begin{tabular}") < latex.index("is given the true noise rate")
    assert "Trained on" in latex or "commit not recorded" in latex, "the notes are in the float"
    assert latex.index("is given the true noise rate") < latex.index(r"\end{table}")
    for head in ("Overall accuracy", "Mean accuracy over classes", "Memorised wrong labels"):
        assert re.search(rf"\\multicolumn{{\d}}{{c}}{{[^&]*{head}", latex), head
    assert "Cost of one run" in latex.splitlines()[1] and latex.splitlines()[1].startswith("%")
    assert "Peak memory" not in latex


def test_blocks_of_the_same_rows_stand_beside_each_other() -> None:
    made = table(block("One", ("a", "b")), block("Two", ("c",)), block("Three", ("d",), rows=3)).latex()
    assert made.count(r"\begin{tabular}") == 2 and made.count(r"\begin{table}") == 1
    assert r"& \multicolumn{2}{c}{One} & \multicolumn{1}{c}{Two} \\" in made
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}" in made
    assert r"Method & a & b & c \\" in made and r"method 1 & 88.75 $\pm$ 0.11 & 88.75" in made
    assert r"\label{tab:my-sweep-1}" in made


def test_wide_blocks_of_the_same_columns_share_a_header() -> None:
    columns = tuple(f"column {number}" for number in range(6))
    made = table(*(block(title, columns) for title in ("One", "Two"))).latex()
    assert made.count(r"\begin{tabular}") == 1 and made.count("column 5") == 1
    assert made.index("column 5") < made.index(r"\multicolumn{7}{l}{\textit{One}} \\") < made.index(r"\textit{Two}")
    assert made.count("method 1 &") == 2 and "cmidrule" not in made


def test_no_column_is_lost_and_long_headers_break() -> None:
    columns = tuple(f"data set, symmetric noise 0.{number}" for number in range(12))
    made = table(block("One", columns), block("Costs", ("zz",), main=False)).latex()
    assert made.count(r"\begin{table}") == 1 and made.count(r"\begin{tabular}") == 2, "too wide for one tabular"
    assert all(f"noise 0.{number}}}" in made or f"0.{number}}}" in made for number in range(12))
    assert r"\shortstack[r]{data set, \\ symmetric" in made and "zz" not in made


def test_what_does_not_fit_on_a_page_continues() -> None:
    made = table(*(block(f"Block {n}", ("a",) * 7, rows=30) for n in range(3)), notes=("The end.",)).latex()
    assert made.count(r"\begin{table}") == 2 and made.count(r"\label") == 1
    assert r"\caption{Continuation of Table~\ref{tab:my-sweep-1}.}" in made
    assert made.count("The end.") == 1 and made.index("The end.") > made.index("Continuation")


def _full(tmp_path: Path) -> Table:
    name = r"A & 50% of_$x$ \cmd {#1} ~^ | [b] <c> * \textbar"
    given = {"clean_labels_used": 7, "remarks": ["50% of_x"], "ensemble": "a & b", "extra_images": "#1"}
    for seed in range(6):
        for noise in (CLEAN, NOISY):
            finish(tmp_path, "alpha", noise, seed=seed, told=True, given=given, config={"name": name})
            finish(tmp_path, "alpha", noise, seed=seed, told=True, given=given)
            finish(tmp_path, "beta", noise, Imbalance("exp", 9), seed=seed, skill=0.1)
    noted = "not done: 50% of_runs {failed} † & ᵃ"
    return comparison(arranged(tmp_path), View(metrics=("all",), baseline="beta"), [noted])


@pytest.mark.slow
def test_everything_is_escaped(tmp_path: Path) -> None:
    made = _full(tmp_path).latex()
    assert r"not done: 50\% of\_runs \{failed\} $^\dagger$ \& $^{a}$" in made
    assert r"$\downarrow$" in made and set(made) <= set(map(chr, range(128)))
    assert made.count("{") - made.count(r"\{") == made.count("}") - made.count(r"\}"), "braces are closed"
    for body in re.findall(r"\\begin{tabular}{(l r*|lr*)}(.*?)\\end{tabular}", made, re.S):
        lines = [line for line in body[1].splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        cells = {len(re.findall(r"(?<!\\)&", re.sub(r"\\shortstack\[.\]{[^}]*}", "", line))) for line in lines}
        assert cells == {len(body[0]) - 1}, "each line has a cell for each column"


@pytest.mark.slow
@NO_LATEX
def test_latex_compiles(tmp_path: Path) -> None:
    compiled(_full(tmp_path), tmp_path)
    assert (tmp_path / "t.pdf").stat().st_size > 10_000


@NO_LATEX
def test_latex_ends_before_the_edge_of_the_text(tmp_path: Path) -> None:
    columns = ("Measured", *(f"Published, data set {place}" for place in range(8)), *"ABCDEFG")
    said = compiled(table(block("One", columns, text="88.75 ± 0.11 [abce]")), tmp_path)
    assert "Overfull" not in said, said


def compiled(made: Table, folder: Path) -> str:
    """What pdflatex says of a document with this table; it must accept it."""
    (folder / "t.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}\begin{document}"
        + made.latex()
        + r"\end{document}"
    )
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, errors="replace", timeout=100)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
