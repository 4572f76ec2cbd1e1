"""Tables of papers: definitions, published numbers, and measured ones beside them. Only one test trains."""

from __future__ import annotations

import re
import shlex
import statistics
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench.cli.reproduce import reproduce
from fer_bench.core.errors import SpecError
from fer_bench.data.noise.kinds import KINDS
from fer_bench.models.networks import make_network
from fer_bench.plugins.registry import discover
from fer_bench.report.measures import SHOWN
from fer_bench.report.rendering import Table
from fer_bench.reproduce import definition, published
from fer_bench.reproduce import plan as grid
from fer_bench.reproduce.compare import Letters
from fer_bench.reproduce.definition import Definition
from fer_bench.reproduce.plan import Budget, Grid
from fer_bench.reproduce.table import paper_table
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import SELECTIONS
from fer_bench.sweep.plan import PlannedRun
from tests.helpers.commands import call

DOCS = Path(__file__).parents[3] / "docs" / "tables.md"
OWN = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.S).group(1)  # type: ignore[union-attr]
COMMANDS = re.findall(r"^fer-bench reproduce .*$", DOCS.read_text(), re.M)
CELLS = {
    "eac-backbone": 16, "idn-t1": 60, "idn-t2": 14, "lanet-t1": 45, "lanet-t3": 34, "mek-t5": 8, "nla-affectnet": 0,
    "nla-raf": 0, "nla-sweep": 0, "rul-t1": 18, "scn-t2": 10,
}  # fmt: skip


def load(name: str | Path) -> Definition:
    return definition.load(str(name), discover())


def own(folder: Path, text: str) -> Path:
    path = folder / "my_table.toml"
    path.write_text(text)
    return path


def finish(out: Path, run: PlannedRun, overall: float, best: float | None = None) -> None:
    """Invented results of a planned run: overall accuracy at the first and best, and at the last epoch."""
    folder, spec = RunFolder.of(out, run.spec), run.spec
    levels = (overall if best is None else best, overall)
    names = ("mean", "macro_f1", "worst", "nll", "ece")
    records = [
        {"epoch": epoch, "test": {"overall": level, **dict.fromkeys(names, level / 2)}, "val": None}
        for epoch, level in enumerate(levels, 1)
    ]
    folder.start(spec, {})
    folder.save_epochs(records)
    fit = {"fit_noisy": 0.5, "fit_clean": 0.5, "memorised": 0.5}
    final: dict[str, Any] = {
        "test": records[-1]["test"], "detection": {"auroc": None, "ap": None}, "memorisation": fit,
        "noise": {"realised_rate": spec.noise.rate, "purity": [1, 1, 1]}, "realised_rate": spec.noise.rate,
        "noisy_imbalance": 1.0, "uses_noise_rate": False, "train_images": 120, "parameters": 1, "images_forward": 1,
        "images_backward": 1, "skipped_steps": 0, "seconds": 1.0,
    }  # fmt: skip
    folder.finish(final, {"test_logits": np.zeros((1, 3))})


def cells(table: Table, title: str) -> dict[tuple[str, str], str]:
    block = next(b for b in table.blocks if b.title.startswith(title))
    return {
        (name, column): cell.text
        for name, row in block.rows for column, cell in zip(block.columns, row, strict=True)
    }  # fmt: skip


def reasons(planned: Grid) -> dict[str, str]:
    return {slot.row.name: slot.reason for slot in planned.slots}


@pytest.mark.parametrize("name", CELLS)
def test_every_table_of_a_paper_loads_with_its_published_numbers(name: str) -> None:
    table = load(name)
    found = [n for row in table.rows for column in table.columns if (n := table.number(row, column))]
    assert len(found) == CELLS[name]
    assert table.content.note or name == "lanet-t1"
    if not found:
        assert "no result of this paper was seen" in table.content.note


def test_no_table_is_left_out() -> None:
    assert set(definition.available()) == set(CELLS)


def test_published_numbers_are_seen_numbers() -> None:
    numbers = published.shipped()
    assert len(numbers) == 280
    assert all(n.source_url and n.paper and (n.overall_acc or n.mean_acc) for n in numbers)
    assert not [n for n in numbers if "NLA" in (n.paper, n.method)]
    assert {n.selection for n in numbers} == {"", "last", "best_val", "best_test"}


def test_cells_have_the_numbers_of_their_paper() -> None:
    table = load("lanet-t1")
    rows = {row.name: row for row in table.rows}
    column = next(c for c in table.columns if (c.label, c.noise.rate) == ("RAF-DB", 0.2))
    assert table.number(rows["EAC"], column).overall_acc == 86.05  # type: ignore[union-attr]
    mine = table.number(rows["LA-Net"], column)
    assert mine and (mine.overall_acc, mine.std, mine.selection) == (87.12, 0.16, "best_test")
    table = load("mek-t5")
    column = next(c for c in table.columns if c.backbone == "resnet18")
    number = table.number(table.rows[1], column)
    assert number and (number.value("overall"), number.value("mean"), number.pretrain) == (89.77, 82.44, "MS-Celeb-1M")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("metrics =", "metric =", "has no setting 'metric'; did you mean 'metrics'"),
        ('title = "Two methods under label noise"', "", "title is missing"),
        ('"overall", "mean"', '"overal"', "did you mean 'overall'"),
        ('baseline = "Cross-entropy"', 'baseline = "Cross"', "baseline = 'Cross'; did you mean 'Cross-entropy'"),
        ('preset = "quick"', 'preset = "quik"', "[recipe]: unknown preset 'quik'; did you mean 'quick'"),
        ("epochs = 10", "epoch = 10", "no setting 'epoch'; did you mean 'epochs'"),
        (
            'data = "synthetic" #',
            'data = "synthetik" #',
            "[[columns]] 1.data = 'synthetik' is neither",
        ),
        ('noise = "symmetric"\nrates = [0.2]', 'noise = "symetric"\nrates = [0.2]', "did you mean 'symmetric'"),
        ("rates = [0.2]", "rates = [1.2]", "[[columns]] 1.rates"),
        ("rates = [0.2]", "", "noise 'symmetric' needs rates"),
        ("imbalance = [20]", "imbalance = [0.5]", "[[columns]] 2.imbalance"),
        ("imbalance = [20]", "imbalanc = [20]", "[[columns]] 2 has no setting 'imbalanc'; did you mean 'imbalance'"),
        ('method = "ce"', 'method = "cce"', "[[rows]] 1.method: unknown method 'cce'; did you mean 'ce'"),
        ("{ tau = 0.5 }", "{ tao = 0.5 }", "[[rows]] 2: balanced_softmax has no setting 'tao'"),
        ('name = "Their method"', 'name = "Cross-entropy"', "two [[rows]] have one name"),
        ('paper = "My paper"', 'papr = "My paper"', "'papr'"),
        ('noise = "symmetric"', 'backbone = "resnet19"\nnoise = "symmetric"', "unknown backbone 'resnet19'"),
        ('method = "Their method"', 'method = "Cross-entropy"', "2 published numbers fit"),
        ("std = 0.4", "sd = 0.4", "[[numbers]] 2 has no setting 'sd'"),
        ('metrics = ["overall", "mean"]', "metrics = []", "metrics is empty"),
        ("metrics =", 'layout = "rows"\nmetrics =', "layout"),
        ('noise = "symmetric"\nrates', 'noise = "asym"\nrates', "noise = 'asym': 'asym' noise is several kinds"),
        ('noise_type = "symmetric"', 'noise_type = "symetric"', "[[numbers]] 1.noise_type = 'symetric'"),
        ("imbalance = [20]", 'noise = "sym"\nrates = [0.2]', "two [[columns]] are the same: symmetric 0.2"),
        ("{ tau = 0.5 }", '{ lr = "high" }', "[[rows]] 2.settings.lr"),
    ],
)
def test_a_wrong_definition_names_file_value_and_nearest(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OWN
    path = own(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(SpecError) as error:
        load(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_number_of_another_data_set_is_not_matched(tmp_path: Path) -> None:
    table = load(own(tmp_path, OWN.replace('data = "synthetic" #', 'data = "ferplus" #')))
    assert not [1 for row in table.rows for column in table.columns if table.number(row, column)]


def test_an_unknown_table_and_an_unknown_published_value(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown table 'lanet_t1'; did you mean"):
        load("lanet_t1")
    text = OWN.replace("imbalance = [20]", 'imbalance = [20]\npublished = { dataset = "RAFDB" }')
    with pytest.raises(SpecError, match="dataset = 'RAFDB': no published number has it; did you mean 'RAF-DB'"):
        load(own(tmp_path, text))


@pytest.fixture
def faces_table(tmp_path: Path, faces_folder: Path) -> Definition:
    """The table of the documentation, on a folder of three classes with five seeds."""
    text = OWN.replace('dataset = "synthetic"', 'dataset = "Faces"').replace('"synthetic"', f'"{faces_folder}"')
    text = text.replace('paper = "My paper"', 'paper = "My paper"\ndataset = "Faces"').replace("imbalance = [20]", "")
    known = 'overall_acc = 70.0\nnum_classes = 7\nbackbone = "FerRes8"\nselection = "best_test"'
    text = text.replace("overall_acc = 70.0", known)
    return load(own(tmp_path, text))


def test_measured_published_difference_and_gain(tmp_path: Path, faces_table: Definition) -> None:
    planned = grid.prepare(faces_table, Budget())
    (plan,) = planned.plans
    assert len(plan.runs) == 2 * 2 * 3  # methods, conditions, seeds
    base, other = (0.61, 0.64, 0.68), (0.70, 0.71, 0.79)
    for run in plan.runs:
        if run.spec.noise.rate:
            level = (base if run.spec.method == "ce" else other)[run.spec.seed]
            finish(tmp_path, run, level, best=0.9)
    table, runs = paper_table(planned, tmp_path)
    assert len(runs) == 6
    found = cells(table, "Overall accuracy")
    noisy = "symmetric 0.2"
    mean, sd = 100 * statistics.mean(base), 100 * statistics.stdev(base)
    assert found["Cross-entropy", noisy] == f"{mean:.2f} ± {sd:.2f}"
    assert found["Cross-entropy", f"{noisy}, published"].startswith("70.00 [")
    assert ("Cross-entropy", "clean, published") not in found, "no published number was seen there"
    less = cells(table, "Overall accuracy: measured less published")
    assert less["Cross-entropy", noisy].startswith(f"{mean - 70:+.2f} [")
    assert {column for _, column in less} == {noisy}
    gains = [100 * (b - a) for a, b in zip(base, other, strict=True)]
    gained = cells(table, "Gain over the baseline (points of overall accuracy)")
    expected = f"{statistics.mean(gains):+.2f} ± {statistics.stdev(gains):.2f}"
    assert gained["Balanced Softmax, half", noisy] == expected
    assert gained["Their method", f"{noisy}, published"] == "+5.50"
    assert found["Their method", noisy] == "not measured"
    assert found["Their method", f"{noisy}, published"] == "75.50 ± 0.40"
    assert found["Cross-entropy", "clean"] == "–"  # planned, not trained
    bold = {(name, cell.text) for block in table.blocks for name, row in block.rows for cell in row if cell.bold}
    assert {name for name, _ in bold} == {"Balanced Softmax, half"} and len(bold) == 2, "for each metric"
    assert "over 3 runs with different training seeds, last epoch of 10; bold: the best mean." in table.caption
    assert "Settings by row: Balanced Softmax, half: tau=0.5." in table.notes
    notes = " ".join(table.below)
    assert "Not measured: Their method: fer-bench has no such method" in notes
    assert "clean: not trained yet" in notes
    for text in (
        "3 classes here, 7 in the paper",
        "random initial weights here, weights of the paper unknown",
        "last epoch here, best epoch on the test set (oracle) in the paper",
    ):
        assert text in notes and text in table.html()
        assert table.latex().count(text) == table.latex().count(r"\begin{table}") == 1
    assert "network" not in notes
    assert "Training: 120 images, 10 epochs, batch size 64, adam, learning rate 0.0025" in notes
    assert "Backbone: ferres8 from random initial weights, images of 48 px." in notes and "Data seed 0." in notes
    assert "reduced" not in table.title and "Reduced" not in notes and "commit" in notes
    numbers = table.numbers.set_index(["metric", "row", "noise"])
    assert numbers.loc[("overall", "Cross-entropy", "symmetric 0.2"), "difference"] == pytest.approx(mean - 70)
    assert numbers.loc[("mean", "Cross-entropy", "symmetric 0.2"), "mean"] == pytest.approx(mean / 2)


def test_another_selection_is_another_epoch_and_says_oracle(tmp_path: Path, faces_table: Definition) -> None:
    planned = grid.prepare(faces_table, Budget(seeds=[0], select="best_test"))
    for run in planned.plans[0].runs:
        finish(tmp_path, run, 0.6, best=0.9)
    table, _ = paper_table(planned, tmp_path)
    assert cells(table, "Overall")["Cross-entropy", "clean"] == "90.00"
    assert "best epoch on the test set (oracle) of 10" in table.caption
    assert "reduced" in table.title and "n = 1 instead of 3" in table.notes[0]


def test_an_unknown_selection_is_an_error(faces_table: Definition) -> None:
    with pytest.raises(SpecError, match="'best_tset'; did you mean 'best_test'"):
        grid.prepare(faces_table, Budget(select="best_tset"))


def test_on_other_data_nothing_is_subtracted_and_all_is_stamped(tmp_path: Path, faces_folder: Path) -> None:
    planned = grid.prepare(load("lanet-t1"), Budget(on=str(faces_folder), seeds=[0], epochs=2, train_size=30))
    (plan,) = planned.plans
    assert len(plan.runs) == 4 * 3  # once for all three data sets of the paper
    assert {run.spec.recipe.epochs for run in plan.runs} == {2} and planned.name == "lanet-t1-on-faces"
    for run in plan.runs:
        finish(tmp_path, run, 0.5)
    table, _ = paper_table(planned, tmp_path)
    assert all("Difference" not in column for block in table.blocks for column in block.columns)
    found = cells(table, "Overall accuracy (%); measured on faces")
    assert found["symmetric 0.3, EAC", "Published, FERPlus"].startswith("85.44 [")
    gained = cells(table, "Gain")
    assert gained["symmetric 0.3, EAC", "Published, RAF-DB"].startswith("+8.92 [")
    assert gained["symmetric 0.3, EAC", "Measured"] == "+0.00 (n=1)"
    notes = " ".join(table.below)
    for text in ("measured on faces, published on RAF-DB", "3 classes here, 7 in the paper",
                 "network ferres8 here, network of the paper unknown",
                 "last epoch here, choice of epoch of the paper unknown",
                 "Not measured: LA-Net on faces: needs 19 landmarks"):  # fmt: skip
        assert text in notes
    assert "(reduced: on faces, preset quick, 2 epochs, 30 training images, n = 1)" in table.title
    for text in ("faces instead of RAF-DB, FERPlus, AffectNet", "backbone ferres8 instead of resnet18",
                 "epochs 2 instead of 60", "a subset of 30 training images", "n = 1 instead of 3"):  # fmt: skip
        assert text in table.notes[0]


@pytest.mark.slow
def test_networks_stay_where_they_are_compared(faces_folder: Path) -> None:
    table = load("eac-backbone")
    kept = grid.prepare(table, Budget(on=str(faces_folder), seeds=[0]))
    (plan,) = kept.plans
    assert {run.spec.recipe.backbone for run in plan.runs} == {"mobilenetv2_100", "resnet50"}
    assert len(plan.runs) == 16 and {run.spec.recipe.image_size for run in plan.runs} == {48}
    one = grid.prepare(table, Budget(on=str(faces_folder), seeds=[0], backbone="ferres8"))
    assert len(one.plans[0].runs) == 8
    assert "backbone ferres8 instead of resnet50" in one.reductions()


def test_missing_data_and_weights_leave_the_published_numbers(tmp_path: Path) -> None:
    planned = grid.prepare(load("idn-t2"), Budget(data_root=tmp_path))
    assert not planned.plans
    assert "resnet18 needs the weights MS-Celeb-1M: give a checkpoint with --pretrained" in reasons(planned)["SCN"]
    planned = grid.prepare(load("idn-t2"), Budget(data_root=tmp_path, pretrained=["none"]))
    assert "needs the weights" not in reasons(planned)["SCN"]
    assert "does not exist" in reasons(planned)["SCN"] and "fer-bench datasets ferplus" in reasons(planned)["SCN"]
    table, runs = paper_table(planned, tmp_path)
    assert runs.empty and "Nothing is measured yet" in table.caption
    assert cells(table, "Overall accuracy (%): RAF-DB")["SCN", "Published"].startswith("88.14")
    assert (
        cells(table, "Gain over the baseline (points of overall accuracy): RAF-DB")["SCN", "Published"] == "+3.07 [a]"
    )


def weights_file(folder: Path, backbone: str) -> Path:
    """A checkpoint that the network takes; its numbers mean nothing."""
    path = folder / "net.pth"
    torch.save(make_network(backbone, 7, seed=0, role="file", pretrained="", weights=None).state_dict(), path)
    return path


@pytest.mark.slow
def test_weights_belong_to_a_network(tmp_path: Path, faces_table: Definition) -> None:
    table, file = load("eac-backbone"), weights_file(tmp_path, "resnet50")
    with pytest.raises(SpecError, match="several networks; give BACKBONE=FILE for each of mobilenetv2_100, resnet50"):
        grid.prepare(table, Budget(pretrained=[str(file)], data_root=tmp_path))
    planned = grid.prepare(table, Budget(pretrained=[f"resnet50={file}"], data_root=tmp_path))
    said = {slot.recipe.backbone: "needs the weights" in slot.reason for slot in planned.slots}
    assert said == {"mobilenetv2_100": True, "resnet50": False}  # none is started from random weights unasked
    with pytest.raises(SpecError, match="no such file"):
        grid.prepare(faces_table, Budget(pretrained=[str(tmp_path / "none.pth")]))


def test_columns_without_pre_training_never_get_weights(tmp_path: Path, faces_folder: Path) -> None:
    file = weights_file(tmp_path, "ferres8")
    planned = grid.prepare(load("scn-t2"), Budget(on=str(faces_folder), seeds=[0], pretrained=[str(file)]))
    assert len(planned.plans) == 2 and planned.sweep_names("x")[1][0] == "x-faces-2"
    for slot in planned.slots:
        assert slot.recipe.pretrained.startswith("sha256:") == (slot.column.weights != "none")


def test_noise_that_the_data_cannot_have_is_a_reason(tmp_path: Path, faces_table: Definition) -> None:
    text = faces_table.path.read_text().replace('noise = "symmetric"\nrates = [0.2]', 'noise = "human"', 1)
    planned = grid.prepare(load(own(tmp_path, text)), Budget(seeds=[0]))
    said = [slot.reason for slot in planned.slots if slot.row.method == "ce"]
    assert "needs human" in said[0] and said[1] == ""


def test_columns_of_several_data_sets_stand_in_one_block(tmp_path: Path, faces_folder: Path) -> None:
    """Whatever tells two columns apart is in their names, also two sizes of the images, or two folders of one name."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / faces_folder.name).symlink_to(faces_folder)
    columns = "".join(
        f'[[columns]]\ndata = "{data}"\nimage_size = {size}\nnoise = "Sym"\nrates = [0.2, 0.4]\n'
        for data, size in ((faces_folder, 32), (faces_folder, 48), (tmp_path / "other" / faces_folder.name, 48))
    )
    text = (
        'title = "Mine"\nmetrics = ["worst", "nll", "gap", "memorised"]\nbaseline = "CE"\nseeds = [0]\n'
        '[recipe]\npreset = "quick"\nepochs = 2\n'
        f'{columns}[[rows]]\nname = "CE"\nmethod = "ce"\n'
        '[[rows]]\nname = "CE, slow"\nmethod = "ce"\nsettings = { lr = 1e-4 }\n'
    )
    planned = grid.prepare(load(own(tmp_path, text)), Budget())
    names = planned.table.column_names
    assert len(set(names)) == 6 and all("symmetric 0." in name and " px" in name for name in names)
    assert sum("other/faces)" in name for name in names) == 2
    runs = {run.spec.key: run for plan in planned.plans for run in plan.runs}
    assert len(runs) == 8, "the folders have the same images, so they share runs"
    assert sum(run.name.startswith("ce (lr=0.0001), symmetric") for run in runs.values()) == 4
    for run in runs.values():
        finish(tmp_path, run, 0.5 + 0.1 * (run.spec.recipe.lr == 1e-4) + 0.01 * (run.spec.recipe.image_size == 48), 0.7)
    table, frame = paper_table(planned, tmp_path)
    assert len(frame) == 8 and len(table.blocks) == 8, "a block for each metric, and one for its differences"
    assert table.latex().count(r"\begin{table}") == 1
    worst = cells(table, "Worst-class accuracy (%)")
    small, large = (next(n for n in names if f"{size} px" in n and "0.4" in n) for size in (32, 48))
    assert [worst["CE", small], worst["CE", large], worst["CE, slow", small]] == ["25.00", "25.50", "30.00"]
    assert cells(table, "Gain over the baseline (points of worst-class")["CE, slow", small] == "+5.00"
    assert cells(table, "Negative log-likelihood (nats)")["CE", small] == "0.250", "three decimals"
    assert cells(table, "Difference from the baseline (nats of")["CE, slow", small] == "+0.050"
    assert cells(table, "Gap to the oracle epoch")["CE", small] == "20.00"
    assert {cell.bold for name, row in table.blocks[0].rows for cell in row if name == "CE"} == {False}
    assert not any(cell.bold for _, row in table.blocks[-2].rows for cell in row), "memorised is 50 % everywhere"
    assert table.caption.startswith("Measured on ") and "one run per cell, last epoch of 2; bold" in table.caption


def test_a_metric_of_all_and_runs_at_chance(tmp_path: Path, faces_table: Definition) -> None:
    text = faces_table.path.read_text().replace('"overall", "mean"', '"all"')
    planned = grid.prepare(load(own(tmp_path, text)), Budget(seeds=[0]))
    for run in planned.plans[0].runs:
        finish(tmp_path, run, 0.9)
    table, _ = paper_table(planned, tmp_path)
    titles = [block.title for block in table.blocks]
    assert "Macro F1 (%)" in titles and "Expected calibration error (%)" in titles
    assert not any("↓" in cell.text for block in table.blocks for _, row in block.rows for cell in row)


def test_lines_that_differ_in_the_size_of_images_are_two(tmp_path: Path, faces_folder: Path) -> None:
    columns = "".join(f'[[columns]]\ndata = "{faces_folder}"\nimage_size = {size}\n' for size in (32, 48))
    text = (
        'title = "Mine"\nlayout = "lines"\nseeds = [0]\n[recipe]\npreset = "quick"\n'
        f'{columns}[[rows]]\nname = "CE"\nmethod = "ce"\n'
    )
    planned = grid.prepare(load(own(tmp_path, text)), Budget())
    for plan in planned.plans:
        for run in plan.runs:
            finish(tmp_path, run, run.spec.recipe.image_size / 100)
    found = cells(paper_table(planned, tmp_path)[0], "Overall accuracy")
    assert (found["32 px, CE", "Measured"], found["48 px, CE", "Measured"]) == ("32.00 (n=1)", "48.00 (n=1)")


def test_footnote_letters_never_run_out() -> None:
    marks = Letters()
    letters = [marks([f"text {i}"]) for i in range(60)]
    assert len(set(letters)) == 60 and letters[0] == " [a]" and letters[52] == " [(52)]"
    assert marks(["text 1", "text 0"]) == " [ab]" and marks([]) == ""


def test_a_gain_over_another_network_is_no_gain(tmp_path: Path, faces_folder: Path) -> None:
    table = load("lanet-t3")
    rows = tuple(replace(r, baseline="CE baseline") if r.name == "CE baseline (ResNet-50)" else r for r in table.rows)
    planned = grid.prepare(replace(table, rows=rows), Budget(on=str(faces_folder), seeds=[0]))
    for run in planned.plans[0].runs:
        finish(tmp_path, run, 0.5)
    content, _ = paper_table(planned, tmp_path)
    gained = cells(content, "Gain")
    assert gained["CE baseline (ResNet-50)", "Measured"] == "–" and gained["SCN", "Measured"] == "+0.00 (n=1)"


def test_the_documentation_lists_every_key_and_value() -> None:
    listed = DOCS.read_text().split("| in | key | values |")[1].split("\n\n")[0]
    keys = [
        each.name
        for part in (definition.Content, definition.Columns, definition.Row, published.Number)
        for each in fields(part)
        if each.name != "recipe"  # [recipe] stands there
    ]
    ends = ("_loss", "_margin", "_mean_probability", "_mean_margin")
    metrics = {next((name.removesuffix(end) for end in reversed(ends) if name.endswith(end)), name) for name in SHOWN}
    for name in (*keys, *metrics, *ends, *KINDS, *SELECTIONS):
        assert f"`{name}`" in listed, name


def test_commands_of_the_documentation_are_understood() -> None:
    assert len(COMMANDS) > 5
    for line in COMMANDS:
        reproduce.make_context("reproduce", shlex.split(line)[2:])


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.xdist_group("e2e")
def test_own_table_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own(tmp_path, OWN)
    (line,) = [c for c in COMMANDS if c.startswith("fer-bench reproduce my_table.toml")]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return call(*shlex.split(line)[1:], *more, "--device", "cpu", "--jobs", "1")

    first = run()
    assert first.returncode == 0, first.stderr
    assert "[4/4]" in first.stdout and "Not measured: Their method" in first.stdout.replace("\n", " ")
    folder = tmp_path / "results" / "reproduce" / "my_table"
    files = {
        name: (folder / name).read_text() for name in ("table.md", "table.csv", "table.tex", "table.html", "runs.csv")
    }
    assert "75.50 ± 0.40" in files["table.md"] and "Reduced: " in files["table.html"]
    assert len(files["runs.csv"].splitlines()) == 1 + 4
    again = run()
    assert again.returncode == 0 and "/4]" not in again.stdout
    assert {name: (folder / name).read_text() for name in files} == files
    assert call("reproduce", "my_table.tml").returncode == 2
